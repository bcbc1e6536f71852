//! Where messages live: the contract of every engine, and the engines.
//!
//! The conformance suite beside this file is the definition of the contract in cases; the
//! embedded engine is its reference. Engines know nothing of sessions, frames or rooms.

/// What a decorator with a field `engine` leaves to it: all that is no `async fn`.
macro_rules! as_the_engine {
    () => {
        fn name(&self) -> &'static str {
            self.engine.name()
        }

        fn durability(&self) -> Durability {
            self.engine.durability()
        }

        fn epoch(&self, conv: ConvId) -> Epoch {
            self.engine.epoch(conv)
        }

        fn renewals(&self) -> Option<watch::Receiver<u64>> {
            self.engine.renewals()
        }

        fn lost_data(&self) -> Option<Lost> {
            self.engine.lost_data()
        }

        fn clock_skew_ms(&self) -> Option<i64> {
            self.engine.clock_skew_ms()
        }

        fn health(&self) -> Result<(), EngineError> {
            self.engine.health()
        }

        fn append(&self, append: Append) -> BoxFuture<'static, Result<AppendOutcome, EngineError>> {
            self.engine.append(append)
        }
    };
}

mod archive;
pub mod cassandra;
#[cfg(test)]
pub(crate) mod conformance;
mod decision;
mod index;
mod lineage;
pub mod local;
mod log;
mod operations;
pub mod redis;
pub mod riak;
mod shared_reads;
mod status;
mod timed;
mod writer;

pub use archive::{Archive, Entry, Restored, RestoredMember};
pub use operations::Operation;
pub use shared_reads::SharedReads;
pub use status::{Examined, SKEW_MAX};
pub use timed::Timed;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::model::{
    AckSet, Cid, ConvId, Count, Durability, Epoch, GroupAct, GroupRefusal, Message, MessageType,
    Order, Place, Roster, Seq, UnreadCounts, UserName,
};

/// A store of conversations.
///
/// **Ordering.** Per conversation all appends are totally ordered; `seq` counts them without gaps.
/// Nothing is promised between conversations.
///
/// **Freshness.** A call that starts after another was answered sees its effect, on every node.
/// What one call returns is of one moment: it holds exactly the messages up to the `head` it names.
///
/// **Errors.** [`EngineError`] says of each kind whether it is definite. A call that is dropped
/// before it is answered may or may not take effect.
///
/// **Limits.** Engines bound every reply by the request's `limit` and by
/// [`LIMITS.page_bytes_max`](crate::model::LIMITS) (measured by [`Message::wire_bytes`]), whichever
/// comes first, but return at least one message when there is one. In `open` the page comes first,
/// late messages get what is left (then `late_next` says where to go on).
#[async_trait]
pub trait Persistence: Send + Sync + 'static {
    /// The engine's name as users configure it: `LOCAL`, `REDIS`, `CASSANDRA`.
    fn name(&self) -> &'static str;

    /// The durability class of an `ok`, as found on the real service.
    fn durability(&self) -> Durability;

    /// The life of the store that the numbers of this conversation belong to. A store whose parts can come back with less each on its own has
    /// a life for each part. Of an engine with [`renewals`](Self::renewals) it may change.
    fn epoch(&self, conv: ConvId) -> Epoch;

    /// Tells of each new epoch that begins while the engine is open, in any part of the store, once [`epoch`](Self::epoch) answers it: the
    /// number counts them. `None`: epochs stay what they were. Streams of the old one cannot be continued.
    fn renewals(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// When this engine last noticed that the store, or a part of it, came back with less than it had acknowledged; `None`: never
    /// since it was opened.
    fn lost_data(&self) -> Option<Lost> {
        None
    }

    /// How far the store's clock is ahead of this node's, negative for behind, where that is more than the engine can do with:
    /// the store stamps messages, and the node judges times. `None` otherwise.
    fn clock_skew_ms(&self) -> Option<i64> {
        None
    }

    /// `Err` with the reason when the engine cannot take writes now; for readiness.
    fn health(&self) -> Result<(), EngineError>;

    /// Stores a message, once.
    ///
    /// In one atomic step: in a group, a sender who is no member is refused
    /// ([`AppendOutcome::NotMember`], whatever else is wrong with it); a known `(conv, sender, cid)` answers its first outcome (`dup`) or
    /// [`AppendOutcome::Conflict`], before `ts` is judged; otherwise `ts` is judged, `seq` given,
    /// lateness decided against the highest `ts` committed before, and all of it stored at
    /// the engine's durability class. A refusal takes no `seq`, raises no highest `ts` and leaves the
    /// `cid` free.
    ///
    /// **Order is fixed by the call, not by polling:** of two appends to one conversation called one after the
    /// other, those that are stored are stored in that order. The engine serialises; callers need no lock. The call itself
    /// never blocks: a full queue answers [`EngineError::Overloaded`].
    fn append(&self, append: Append) -> BoxFuture<'static, Result<AppendOutcome, EngineError>>;

    /// Opens a conversation for a user (a send in a direct chat does as much): makes it theirs if it was not (create-if-absent, decided
    /// once even in a race: in a direct chat the acknowledgement starts at 0, elsewhere at the
    /// `head` of that moment), and answers the page, or the resumed messages. A group became theirs by their
    /// invitation; whether they may open it is for the caller to ask ([`Persistence::roster`]), like for every read.
    async fn open(&self, query: OpenQuery) -> Result<Opened, EngineError>;

    /// History between two times, both inclusive, in the asked order, strictly beyond `start`.
    async fn range(&self, query: RangeQuery) -> Result<Page, EngineError>;

    /// Messages with `seq` above `after`, ascending, of the life that the answer names: a number means nothing in another one.
    async fn after(&self, conv: ConvId, after: Seq, limit: usize)
    -> Result<Following, EngineError>;

    /// The unread late messages of `user` with `seq` above `after`, ascending. Looks at no more than
    /// [`Limits::SCAN_MAX`](crate::model::Limits::SCAN_MAX) late messages: a page may be short, even empty, with `next` there.
    async fn unread_late(
        &self,
        conv: ConvId,
        user: &UserName,
        after: Seq,
        limit: usize,
    ) -> Result<LatePage, EngineError>;

    /// Merges an acknowledgement: monotone, commutative, idempotent, durable like a message. Only
    /// of a user who has opened the conversation: the first open decides where it starts.
    async fn ack(&self, request: AckRequest) -> Result<AckOutcome, EngineError>;

    /// Changes who is in a group ([`Roster::after`]), durably, in one atomic step that is totally ordered with all appends to it: what is
    /// appended after the answer is decided by the new roster, on every node. Who is invited, and who makes the
    /// group, has the conversation in their index from then on. Safe to repeat.
    async fn regroup(&self, request: GroupRequest) -> Result<GroupOutcome, EngineError>;

    /// Who is in a group now; empty for a conversation that is no group. Of this moment or later, like every read: what another
    /// call answered before is among what its members may see.
    async fn roster(&self, conv: ConvId) -> Result<Rostered, EngineError>;

    /// The conversations of `user` that are not empty, of the
    /// [`LIMITS.list_max`](crate::model::LIMITS) that became theirs last, in no particular order; also groups that they were
    /// members of.
    async fn mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError>;

    /// What `list` shows of one conversation.
    async fn summary(&self, conv: ConvId, user: &UserName) -> Result<Summary, EngineError>;

    /// Ends cleanly: everything called before is stored or refused when this returns.
    async fn close(&self);
}

/// That a store came back with less than it had acknowledged, or may have.
#[derive(Debug, Clone)]
pub struct Lost {
    /// When it was noticed.
    pub at: Instant,
    /// The life that began with it.
    pub epoch: Epoch,
}

/// A message to store.
#[derive(Debug, Clone)]
pub struct Append {
    /// The conversation; the id of `place`.
    pub conv: ConvId,
    /// What it is, for the users it becomes theirs by a first message.
    pub place: Arc<Place>,
    /// Who sends.
    pub sender: UserName,
    /// The sender's name for the message.
    pub cid: Cid,
    /// Kind of content.
    pub kind: MessageType,
    /// The content.
    pub content: String,
    /// The client's clock, ms; `None`: the engine stamps max(now, highest `ts`), never late.
    pub ts: Option<u64>,
    /// How far `ts` may be ahead of the engine's clock, ms.
    pub future_skew_ms_max: u64,
    /// It was stored elsewhere and comes here as it was there; `None` for what is sent now.
    pub restored: Option<Restored>,
}

/// What became of an [`Append`].
#[derive(Debug, Clone)]
pub enum AppendOutcome {
    /// It is stored.
    Stored(Stored),
    /// The same `cid` is stored with another type or content. Definite.
    Conflict,
    /// `ts` is too far ahead. Definite.
    TsInFuture,
    /// The sender is no member of the group, or there is none. Definite.
    NotMember,
    /// A [`Restored`] message whose number is not the next. Definite.
    NotNext,
}

/// A stored message.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The message, as every reader sees it.
    pub message: Arc<Message>,
    /// It was there already.
    pub dup: bool,
    /// The life of the store that `seq` belongs to.
    pub epoch: Epoch,
    /// Users that the conversation became theirs by this message.
    pub became: Vec<UserName>,
    /// Version of the group's roster when it was stored, or a later one; 0 elsewhere.
    pub roster: u64,
}

/// What `open` asks for.
#[derive(Debug, Clone)]
pub struct OpenQuery {
    /// The conversation; the id of `place`.
    pub conv: ConvId,
    /// What it is.
    pub place: Arc<Place>,
    /// Who opens.
    pub user: UserName,
    /// Messages on the page; 0 for counts only.
    pub limit: usize,
    /// Bridge from here, if possible.
    pub resume: Option<(Epoch, Seq)>,
}

/// What `open` answers; all of one moment. Engines also build it of what they know of messages before they fetch them.
#[derive(Debug, Clone)]
pub struct Opened<M = Arc<Message>> {
    /// The life of the store.
    pub epoch: Epoch,
    /// Number of the newest message; 0 when there is none.
    pub head: Seq,
    /// What the user has acknowledged.
    pub acked: AckSet,
    /// What the user has not; `before` is 0 when resumed.
    pub unread: UnreadCounts,
    /// The page, or the bridge.
    pub view: OpenView<M>,
    /// The conversation became this user's by this call.
    pub became: bool,
    /// A direct chat of two that both have opened or written in.
    pub mutual: bool,
}

/// The messages in an [`Opened`].
#[derive(Debug, Clone)]
pub enum OpenView<M = Arc<Message>> {
    /// Exactly the messages after the resume point, ascending by `seq`.
    Recovered(Vec<M>),
    /// A fresh page.
    Page {
        /// The newest by `(ts, seq)`, ascending.
        items: Vec<M>,
        /// There is something older than `items`.
        older: bool,
        /// Unread late messages that are not among `items`, ascending by `seq`.
        late: Vec<M>,
        /// More of them: continue with [`Persistence::unread_late`] after this number.
        late_next: Option<Seq>,
    },
}

/// A history read.
#[derive(Debug, Clone)]
pub struct RangeQuery {
    /// The conversation.
    pub conv: ConvId,
    /// Lowest `ts`, ms.
    pub from: u64,
    /// Highest `ts`, ms.
    pub to: u64,
    /// Direction.
    pub order: Order,
    /// Only what is strictly beyond this, in that direction.
    pub start: Option<(u64, Seq)>,
    /// Most messages.
    pub limit: usize,
}

/// Some messages, and whether there are more.
#[derive(Debug, Clone)]
pub struct Page<M = Arc<Message>> {
    /// The messages in the asked order.
    pub items: Vec<M>,
    /// There are more beyond the last.
    pub more: bool,
}

/// What follows a number.
#[derive(Debug, Clone)]
pub struct Following {
    /// The life of the store that the messages belong to.
    pub epoch: Epoch,
    /// The messages, ascending by `seq`.
    pub page: Page,
}

/// Some unread late messages, and where to go on.
#[derive(Debug, Clone)]
pub struct LatePage<M = Arc<Message>> {
    /// The messages, ascending by `seq`.
    pub items: Vec<M>,
    /// Go on after this number; `None`: that was all.
    pub next: Option<Seq>,
}

/// An acknowledgement.
#[derive(Debug, Clone)]
pub struct AckRequest {
    /// The conversation.
    pub conv: ConvId,
    /// Whose.
    pub user: UserName,
    /// Everything at or below; 0 for nothing.
    pub up_to: Seq,
    /// Half-open ranges, each `1 ≤ lo < hi`.
    pub ranges: Vec<(Seq, Seq)>,
}

/// What became of an [`AckRequest`].
#[derive(Debug, Clone)]
pub enum AckOutcome {
    /// Merged and durable.
    Merged {
        /// The union.
        acked: AckSet,
        /// What is unread now.
        unread: Count,
    },
    /// It reaches above the head; nothing changed.
    AboveHead,
    /// More ranges than `acked_ranges_max`; nothing changed.
    TooManyRanges,
}

/// A change of a group.
#[derive(Debug, Clone)]
pub struct GroupRequest {
    /// The conversation; the id of `place`.
    pub conv: ConvId,
    /// The group.
    pub place: Arc<Place>,
    /// Who asks.
    pub by: UserName,
    /// For what.
    pub act: GroupAct,
}

/// What became of a [`GroupRequest`].
#[derive(Debug, Clone)]
pub enum GroupOutcome {
    /// It is so now.
    Done {
        /// The roster as it is now.
        now: Rostered,
        /// The conversation became theirs by this.
        became: Option<UserName>,
    },
    /// Nothing changed.
    Refused(GroupRefusal),
}

/// Who is in a group.
#[derive(Debug, Clone)]
pub struct Rostered {
    /// The life of the store that versions and numbers belong to.
    pub epoch: Epoch,
    /// The members.
    pub roster: Arc<Roster>,
}

/// A conversation in a user's index.
#[derive(Debug, Clone)]
pub struct Mine {
    /// Its id.
    pub conv: ConvId,
    /// What it is.
    pub place: Arc<Place>,
    /// Commit time of its newest message, ms.
    pub at: u64,
}

/// What `list` shows of one conversation.
#[derive(Debug, Clone)]
pub struct Summary<M = Arc<Message>> {
    /// The message with the highest `seq`; `None` in an empty conversation.
    pub newest: Option<M>,
    /// What the user has not read.
    pub unread: Count,
    /// Up to where the user has acknowledged everything; `None`: never opened, nor written to.
    pub acked_up_to: Option<Seq>,
}

/// Why an engine did not answer. The text is for operators.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// Certainly not done: the engine cannot be reached or is shutting down.
    #[error("{0}")]
    Unavailable(String),
    /// Certainly not done: too much is waiting already.
    #[error("{0}")]
    Overloaded(String),
    /// Certainly not done: the disk is at its reserve.
    #[error("{0}")]
    StorageFull(String),
    /// Certainly not done: the engine takes no writes.
    #[error("{0}")]
    ReadOnly(String),
    /// No answer in time: it may have happened or may yet happen.
    #[error("{0}")]
    Timeout(String),
    /// It went wrong in the middle: it may have happened.
    #[error("{0}")]
    Internal(String),
}

impl EngineError {
    /// Whether it certainly did not and will not happen.
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Timeout(_) | Self::Internal(_))
    }
}
