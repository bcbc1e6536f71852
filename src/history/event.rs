//! The lines of a history.

use serde::{Deserialize, Serialize};

use super::item::Item;
use crate::model::Seq;
use crate::protocol::ErrorCode;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the history, from 0, without gaps.
    pub index: u64,
    /// When, on the harness's one monotonic clock; never decreasing.
    pub time_ns: u64,
    /// Whose operation: one lane of one session.
    pub process: u64,
    /// The session (one connection, from `hello` to its end) that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// The server process, as `hello` named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Which conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv: Option<String>,
    /// Begin or end of what, with its value.
    #[serde(flatten)]
    pub act: Act,
}

/// `type`, `f` and `value` of a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Act {
    /// An operation begins.
    Invoke {
        /// The operation and what is asked.
        #[serde(flatten)]
        asked: Asked,
    },
    /// An operation succeeded, or something happened.
    Ok {
        /// The operation and what was answered.
        #[serde(flatten)]
        seen: Seen,
    },
    /// An operation certainly did not and will not happen.
    Fail {
        /// Which operation.
        f: Function,
        /// Why.
        error: Failure,
    },
    /// An operation may have happened, or may yet.
    Info {
        /// Which operation.
        f: Function,
        /// What is known of the reason.
        error: Failure,
    },
}

/// The operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are the methods of the protocol")]
pub enum Function {
    Send,
    Read,
    Open,
    Ack,
    List,
    Leave,
    Create,
    Invite,
    Remove,
    Quit,
}

/// Why an operation did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The server's error code; absent when the connection broke or no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// For people.
    pub message: String,
}

/// `f` and `value` of an invoke.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "f", content = "value", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are those of the protocol's methods")]
pub enum Asked {
    Send { cid: String, digest: String, ts: Option<u64> },
    Read(ReadAsked),
    Open { limit: usize, resume: Option<(String, Seq)>, echo: bool, push: bool },
    Ack { up_to: Option<Seq>, ranges: Vec<(Seq, Seq)> },
    List { first_page: bool },
    Leave {},
    Create {},
    Invite { user: String },
    Remove { user: String },
    Quit {},
}

impl Asked {
    /// Which operation it is.
    pub fn function(&self) -> Function {
        match self {
            Self::Send { .. } => Function::Send,
            Self::Read(_) => Function::Read,
            Self::Open { .. } => Function::Open,
            Self::Ack { .. } => Function::Ack,
            Self::List { .. } => Function::List,
            Self::Leave {} => Function::Leave,
            Self::Create {} => Function::Create,
            Self::Invite { .. } => Function::Invite,
            Self::Remove { .. } => Function::Remove,
            Self::Quit {} => Function::Quit,
        }
    }
}

/// What a `read` asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAsked {
    /// Which kind.
    pub kind: ReadKind,
    /// Most messages.
    pub limit: usize,
    /// Counts the pages of one paged read, from 0; `chain` says which read.
    pub page: u64,
    /// All pages of one read share this number.
    pub chain: u64,
    /// One of the last reads, after everything was quiet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
}

/// The three kinds of `read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are those of the protocol's read")]
pub enum ReadKind {
    Range { from: u64, to: u64, descending: bool },
    After { after_seq: Seq },
    Late {},
}

/// `f` and `value` of an ok.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "f", content = "value", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are those of the protocol's replies")]
pub enum Seen {
    Send {
        seq: Seq,
        ts: u64,
        late: bool,
        dup: bool,
        epoch: String,
    },
    Read {
        epoch: String,
        items: Vec<Item>,
        complete: bool,
    },
    Open(Box<OpenSeen>),
    Ack {
        up_to: Seq,
        ranges: Vec<(Seq, Seq)>,
    },
    List {
        entries: Vec<ListSeen>,
        complete: bool,
    },
    Leave {},
    Create {
        group: String,
    },
    Invite {},
    Remove {},
    Quit {},
    /// The user was told to be a member no more: the stream is closed.
    Removed {},
    /// A pushed message.
    Recv {
        epoch: String,
        item: Item,
    },
    /// A session began.
    Connect {
        session: String,
        durability: String,
    },
    /// A session ended; `code` of the close frame where there was one.
    Close {
        code: Option<u16>,
        by_us: bool,
    },
    /// A conversation's stream was replaced.
    Reset {
        epoch: String,
    },
    /// Something was broken or healed, by us.
    Nemesis {
        act: String,
        on: NemesisTarget,
        target: String,
        phase: NemesisPhase,
    },
    /// After everything was healed, nobody was let in there.
    Unreachable {
        address: String,
        error: String,
    },
    /// What the servers say that they stored since the history began; by the counters of those that ran all the time.
    Counted {
        messages: u64,
    },
}

/// What kind of thing an act of the nemesis is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NemesisTarget {
    /// A server of ours.
    Node,
    /// A link between two of them, or a client and one.
    Link,
    /// A service that engines use.
    Service,
    /// All of them.
    Everything,
}

/// Where an act of the nemesis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NemesisPhase {
    /// From here on it may be felt.
    Begins,
    /// It is undone.
    Ends,
    /// Everything is whole: from here on everything must be answered.
    Healed,
}

/// What `open` answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenSeen {
    /// The life of the store.
    pub epoch: String,
    /// Number of the newest message.
    pub head: Seq,
    /// The page, or the resumed messages.
    pub items: Vec<Item>,
    /// Unread late messages beside the page; absent when resumed.
    pub late: Option<Vec<Item>>,
    /// There are more late ones than `late` holds.
    pub late_more: bool,
    /// Acknowledged up to here.
    pub acked_up_to: Seq,
    /// Acknowledged above.
    pub acked_ranges: Vec<(Seq, Seq)>,
    /// Unread count.
    pub unread: usize,
    /// There may be more.
    pub unread_more: bool,
    /// Unread late count.
    pub unread_late: usize,
    /// Unread on-time messages before the page.
    pub unread_before: Option<usize>,
    /// Whether the reply admits a gap.
    pub gap: Option<bool>,
    /// There is nothing older (no `next`).
    pub complete: bool,
    /// Whether the resume was granted.
    pub recovered: Option<bool>,
}

/// One entry of `list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSeen {
    /// The conversation.
    pub conv: String,
    /// Its head.
    pub head: Seq,
    /// Unread count.
    pub unread: usize,
    /// Its newest message.
    pub newest: Item,
}
