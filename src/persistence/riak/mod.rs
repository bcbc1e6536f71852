//! RIAK: messages in a Riak KV 3 of one node or many, over its HTTP API.
//!
//! A conversation is a log of objects, numbered from 1 ([`entry`]): a batch of messages, or a change of a group. Whoever writes the next
//! number first has it ([`store`]); what becomes of appends is decided over the log read to its end ([`super::decision`], [`commit`]), which a
//! node remembers ([`conversation`]). Acknowledgements and lists are objects that are united, whoever wrote them ([`shared`], [`acks`],
//! [`list`]). That only one of several writers is the first holds only where a node says so by what it does ([`facts`]): elsewhere
//! one server must be alone with the store ([`RiakPersistence::alone_because`]), which its tenancy sees to.
//!
//! # What is missing
//!
//! - Nobody has run it against a real node. The suite runs it against a stand-in; with a node:
//!   `RIAK_URL=http://127.0.0.1:8098 cargo test --release --lib conformance::riak_node`.
//! - A conversation that a node does not remember is read from its first entry, and is in memory as a whole.
//! - An entry that is gone is noticed by nodes that knew it. One at the end of a log, which nobody remembers, is not: its number is
//!   then given again in the same life.
//! - A write that reached less than a quorum, and was overlooked by another writer, can come to light later. The value that the next
//!   entry follows stays; at the end of a log the one with the least digest does, whoever was told what.
//! - `export` lists users by their keys, as one replica of each has them: it may miss what that one has not heard of. Bitcask cannot list keys at all.
//! - No TLS, no login.

mod acks;
mod archive;
mod commit;
mod conversation;
mod entry;
mod facts;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod life;
mod list;
mod shared;
mod start;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::commit::Committer;
use self::conversation::Snapshot;
pub use self::start::{OpenError, RiakSettings, examine, open};
use self::store::Store;
use super::lineage::Life;
use super::writer::Writer;
use super::{
    AckOutcome, AckRequest, Append, AppendOutcome, EngineError, Following, GroupOutcome,
    GroupRequest, LatePage, Lost, Mine, OpenQuery, Opened, Page, Persistence, RangeQuery, Rostered,
    Summary, log,
};
use crate::model::{AckError, ConvId, Durability, Epoch, LIMITS, Place, Seq, UserName};

/// Every call is answered within this; below `answer_ms_max`.
pub(super) const ANSWER_TIME: Duration = Duration::from_millis(4_200);
/// Conversations of a list that are asked at once.
const AT_ONCE: usize = 64;

/// The engine.
pub struct RiakPersistence {
    store: Arc<Store>,
    writer: Writer<Committer>,
    tasks: TaskTracker,
    stop: CancellationToken,
    alone_because: Option<String>,
    /// Ends the work also when nobody calls `close`.
    _guard: DropGuard,
}

impl RiakPersistence {
    fn current_epoch(&self) -> Epoch {
        // Known since `open`.
        self.store.lineage.known().map_or_else(Epoch::generate, |(life, _)| life.epoch.clone())
    }

    /// What to change on the node for a stronger durability class; empty where there is none.
    pub fn advice(&self) -> String {
        self.store.status.advice()
    }

    /// Why no second server may use the store, and what to change on the node; `None` where any number may.
    pub fn alone_because(&self) -> Option<&str> {
        self.alone_because.as_deref()
    }

    /// Asks the rules over a conversation as it is now, and what users have acknowledged.
    async fn ask<R: Send>(
        &self,
        conv: ConvId,
        users: &[&UserName],
        rules: impl FnOnce(&Snapshot<'_>, &Life) -> R + Send,
    ) -> Result<R, EngineError> {
        in_time(async {
            let known = self.store.conversation(conv);
            let mut known = known.lock().await;
            let (life, acks) = self.store.fresh_for(conv, &mut known, users).await?;
            Ok(rules(&Snapshot::new(&known, &acks), &life))
        })
        .await
    }

    /// One of a user's list: `None` where it is empty or not theirs.
    async fn mine_of(
        &self,
        user: &UserName,
        place: &Arc<Place>,
    ) -> Result<Option<Mine>, EngineError> {
        let conv = place.conv_id();
        let Some(at) = self.store.newest_at(conv).await? else { return Ok(None) };
        // The first message of a direct chat made it both users'; who is in a group is for the caller to ask.
        if matches!(**place, Place::Channel(_)) {
            let object = acks::place(conv, user);
            let acks: acks::Acks = shared::read(&self.store.node, &object).await?;
            if acks.joined.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(Mine { conv, place: Arc::clone(place), at }))
    }

    async fn open_or_wait(&self, query: OpenQuery) -> Result<Opened, EngineError> {
        let OpenQuery { conv, place, user, .. } = &query;
        let (node, object) = (&self.store.node, acks::place(*conv, user));
        let peer = place.peer_of(user).filter(|peer| *peer != user);
        let users: Vec<&UserName> = std::iter::once(user).chain(peer).collect();
        let known = self.store.conversation(*conv);
        let mut known = known.lock().await;
        let (mut life, mut acks) = self.store.fresh_for(*conv, &mut known, &users).await?;
        let mut became = false;
        if acks.get(user).is_none_or(|acks| acks.joined.is_none()) {
            let is_direct = matches!(**place, Place::Direct(..));
            let is_group = matches!(**place, Place::Group(_));
            // A group became theirs when they were invited, a direct chat by its first message.
            if !is_group && (!is_direct || known.head() == Seq::ZERO) {
                let stamp = self.store.index.stamp(0);
                self.store.lists.add(node, user, place, stamp).await?;
            }
            let start = if is_direct { Seq::ZERO } else { known.head() };
            let tag = rand::random();
            let join = |acks: &mut acks::Acks| {
                acks.joined.get_or_insert((start, life.generation));
                let became = !is_group && acks.become_mine(tag);
                (became, acks.clone())
            };
            let joined;
            (became, joined) = shared::change(node, &object, join).await?;
            self.store.index.note(*conv, user, &life);
            if joined.top(life.generation) > known.head() {
                // Another one was first, who had seen more.
                (life, acks) = self.store.fresh_for(*conv, &mut known, &users).await?;
            } else {
                acks.insert(user.clone(), joined);
            }
        }
        let opened = sure(log::open(&Snapshot::new(&known, &acks), &query, &life.epoch));
        Ok(Opened { became, ..opened })
    }

    async fn ack_or_wait(&self, request: AckRequest) -> Result<AckOutcome, EngineError> {
        let AckRequest { conv, user, up_to, ranges } = &request;
        let known = self.store.conversation(*conv);
        let mut known = known.lock().await;
        let (life, _) = self.store.fresh_for(*conv, &mut known, &[user]).await?;
        let (node, object, head) = (&self.store.node, acks::place(*conv, user), known.head());
        let merge = |acks: &mut acks::Acks| {
            let before = acks.set(&known).unwrap_or_default();
            let merged = before.merged(*up_to, ranges, head, LIMITS.acked_ranges_max)?;
            if merged != before {
                acks.say(life.generation, &merged);
            }
            Ok(merged)
        };
        let acked = match shared::change(node, &object, merge).await? {
            Ok(acked) => acked,
            Err(AckError::AboveHead) => return Ok(AckOutcome::AboveHead),
            Err(AckError::TooManyRanges) => return Ok(AckOutcome::TooManyRanges),
        };
        let of_user = HashMap::from([(user.clone(), Some(acked.clone()))]);
        let snapshot = Snapshot { conversation: &known, acked: of_user };
        Ok(AckOutcome::Merged { acked, unread: sure(log::unread(&snapshot, user)) })
    }

    async fn mine_or_wait(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        let list: list::List = shared::read(&self.store.node, &list::place(user)).await?;
        let mut listed: Vec<_> = list.0.into_values().collect();
        listed.sort_by_key(|listed| std::cmp::Reverse(listed.since_us));
        let places: Vec<_> = listed.into_iter().map(|listed| listed.place).collect();
        let asked: Vec<_> = places.iter().map(|place| self.mine_of(user, place).boxed()).collect();
        let mut found = stream::iter(asked).buffered(AT_ONCE);
        let mut mine = Vec::new();
        while let Some(entry) = found.next().await {
            mine.extend(entry?);
            if mine.len() == LIMITS.list_max {
                break;
            }
        }
        Ok(mine)
    }
}

/// Ends a call that takes too long; it may have been done.
async fn in_time<T>(
    work: impl Future<Output = Result<T, EngineError>> + Send,
) -> Result<T, EngineError> {
    // Boxed: it holds whole requests.
    timeout(ANSWER_TIME, Box::pin(work)).await.unwrap_or_else(|_| {
        Err(EngineError::Timeout("riak: the node is slow, or many ask for the same".to_owned()))
    })
}

/// What cannot fail.
fn sure<T>(outcome: Result<T, std::convert::Infallible>) -> T {
    outcome.unwrap_or_else(|never| match never {})
}

#[async_trait]
impl Persistence for RiakPersistence {
    fn name(&self) -> &'static str {
        "RIAK"
    }

    fn durability(&self) -> Durability {
        self.store.status.durability()
    }

    fn epoch(&self, _: ConvId) -> Epoch {
        self.current_epoch()
    }

    fn renewals(&self) -> Option<watch::Receiver<u64>> {
        Some(self.store.lineage.renewals())
    }

    fn lost_data(&self) -> Option<Lost> {
        self.store.lineage.lost()
    }

    fn clock_skew_ms(&self) -> Option<i64> {
        self.store.status.clock_skew_ms()
    }

    fn health(&self) -> Result<(), EngineError> {
        self.store.status.health()
    }

    fn append(&self, append: Append) -> BoxFuture<'static, Result<AppendOutcome, EngineError>> {
        let stamp = self.store.index.stamp(0);
        match self.writer.send(append, stamp) {
            Ok(listener) => listener.map(|answer| answer.unwrap_or_else(|_| Err(broken()))).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    async fn open(&self, query: OpenQuery) -> Result<Opened, EngineError> {
        in_time(self.open_or_wait(query)).await
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, EngineError> {
        let rules = |snapshot: &Snapshot<'_>, _: &Life| sure(log::Log::range(snapshot, &query));
        self.ask(query.conv, &[], rules).await
    }

    async fn after(
        &self,
        conv: ConvId,
        after: Seq,
        limit: usize,
    ) -> Result<Following, EngineError> {
        self.ask(conv, &[], |snapshot, life| Following {
            epoch: life.epoch.clone(),
            page: sure(log::after(snapshot, after, limit)),
        })
        .await
    }

    async fn unread_late(
        &self,
        conv: ConvId,
        user: &UserName,
        after: Seq,
        limit: usize,
    ) -> Result<LatePage, EngineError> {
        self.ask(conv, &[user], |snapshot, _| sure(log::unread_late(snapshot, user, after, limit)))
            .await
    }

    async fn ack(&self, request: AckRequest) -> Result<AckOutcome, EngineError> {
        in_time(self.ack_or_wait(request)).await
    }

    async fn regroup(&self, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
        let stamp = self.store.index.stamp(0);
        self.writer.change(request, stamp)?.await.unwrap_or_else(|_| Err(broken()))
    }

    async fn roster(&self, conv: ConvId) -> Result<Rostered, EngineError> {
        self.ask(conv, &[], |snapshot, life| Rostered {
            epoch: life.epoch.clone(),
            roster: Arc::clone(&snapshot.conversation.roster),
        })
        .await
    }

    async fn mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        in_time(self.mine_or_wait(user)).await
    }

    async fn summary(&self, conv: ConvId, user: &UserName) -> Result<Summary, EngineError> {
        self.ask(conv, &[user], |snapshot, _| sure(log::summary(snapshot, user))).await
    }

    async fn close(&self) {
        self.writer.close();
        self.tasks.close();
        // What waits is written while the node is still asked.
        self.tasks.wait().await;
        self.stop.cancel();
    }
}

fn broken() -> EngineError {
    EngineError::Internal("riak: an entry broke off".to_owned())
}
