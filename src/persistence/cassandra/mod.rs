//! CASSANDRA: messages in a Cassandra of one node or many; any number of servers.
//!
//! A conversation is a row of buckets, each a partition of a fixed count of numbers. Appends that wait share one conditional batch
//! ([`writer`](super::writer), [`decision`], [`commit`], [`batch`]); a full bucket never changes again, and what reads need to know of it is written before
//! the next begins ([`seal`]). Reads bring the last bucket up to date with one read of a quorum ([`ends`]), ask the rules of
//! [`log`](super::log) over what is at hand ([`snapshot`], [`merge`]), and fetch only what is shown ([`reader`], [`buckets`]).
//! Who is in a group stands beside the end of its conversation and changes on the same condition ([`rosters`], [`changes`]).
//! Acknowledgements need no condition but for their ranges ([`acks`]). Which life the store is in is asked of every new
//! session, and each second ([`life`], [`calls`]).

mod acks;
mod archive;
mod batch;
mod buckets;
mod calls;
mod changes;
mod codec;
mod commit;
mod crash;
mod decision;
mod dialer;
mod ends;
mod facts;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod layout;
mod life;
mod link;
mod merge;
mod mine;
mod names;
mod reader;
mod rosters;
mod seal;
mod skeleton;
mod snapshot;
mod statements;
mod store;
mod tail;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::acks::Merged;
use self::calls::Calls;
use self::commit::Committer;
use self::dialer::{DialError, Dialer};
use self::layout::BUCKET_ROWS;
use self::link::{CallError, Link};
use self::store::Store;
use super::lineage::Lineage;
use super::status::Status;
use super::writer::Writer;
use super::{
    AckOutcome, AckRequest, Append, AppendOutcome, EngineError, Examined, Following, GroupOutcome,
    GroupRequest, LatePage, Lost, Mine, OpenQuery, Opened, Page, Persistence, RangeQuery, Rostered,
    Summary, log,
};
use crate::cassandra_link::Cluster;
use crate::model::{AckError, ConvId, Durability, Epoch, Place, Seq, UserName};

/// The tables, in the order of their versions: made by `init-env`, never by the engine.
pub const SCHEMA: [(u32, &str); 2] =
    [(1, include_str!("schema/001.cql")), (2, include_str!("schema/002.cql"))];

/// What the engine can be told.
#[derive(Debug, Clone)]
pub struct CassandraSettings {
    /// Where the nodes are.
    pub cluster: Cluster,
    /// Where the tables are: letters, digits and `_`.
    pub keyspace: String,
    /// Messages in a bucket, where the store is new.
    pub bucket_rows: u64,
}

impl CassandraSettings {
    /// The usual ones.
    pub fn new(cluster: Cluster, keyspace: String) -> Self {
        Self { cluster, keyspace, bucket_rows: BUCKET_ROWS }
    }
}

/// Why the engine cannot start. Each text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum OpenError {
    #[error("the nodes of CASSANDRA_HOSTS={hosts} do not answer as they should: {reason}")]
    Connect { hosts: String, reason: String },
    #[error("{0}")]
    Setup(String),
}

/// How long a start waits for the nodes.
const START_TIME: Duration = Duration::from_secs(15);
/// Pause between two attempts of a start.
const START_PAUSE: Duration = Duration::from_millis(250);
/// How often an acknowledgement is tried beside others.
const ACK_TRIES: u8 = 32;

/// The engine.
pub struct CassandraPersistence {
    store: Arc<Store>,
    lineage: Arc<Lineage>,
    writer: Writer<Committer>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends the work also when nobody calls `close`.
    _guard: DropGuard,
}

/// What the nodes say of themselves and of their clock. Nothing is written there, no life begun.
pub async fn examine(settings: CassandraSettings) -> Result<Examined, OpenError> {
    let hosts = settings.cluster.hosts.join(",");
    let (lineage, status) = (Lineage::new("cassandra"), Status::new("cassandra"));
    match Dialer::new(settings, Arc::new(lineage), Arc::new(status)).examine().await {
        Ok(examined) => Ok(examined),
        Err(DialError::Setup(text)) => Err(OpenError::Setup(text)),
        Err(DialError::Now(reason)) => Err(OpenError::Connect { hosts, reason }),
    }
}

/// Connects, and learns which life the store is in.
pub async fn open(settings: CassandraSettings) -> Result<Arc<CassandraPersistence>, OpenError> {
    let hosts = settings.cluster.hosts.join(",");
    let lineage = Arc::new(Lineage::new("cassandra"));
    let status = Arc::new(Status::new("cassandra"));
    let dialer = Arc::new(Dialer::new(settings, Arc::clone(&lineage), Arc::clone(&status)));
    let deadline = Instant::now() + START_TIME;
    let first = loop {
        match dialer.dial().await {
            Ok(link) => break link,
            Err(DialError::Setup(text)) => return Err(OpenError::Setup(text)),
            Err(DialError::Now(reason)) if Instant::now() > deadline => {
                return Err(OpenError::Connect { hosts, reason });
            }
            // They may be starting, too.
            Err(DialError::Now(_)) => tokio::time::sleep(START_PAUSE).await,
        }
    };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let (calls, work) = Calls::new(dialer, first, stop.clone());
    tokio::spawn(work);
    let store = Arc::new(Store::new(calls, status));
    let committer = Arc::new(Committer::new(Arc::clone(&store), tasks.clone()));
    let writer = Writer::new(committer, tasks.clone());
    Ok(Arc::new(CassandraPersistence {
        store,
        lineage,
        writer,
        tasks,
        _guard: stop.clone().drop_guard(),
        stop,
    }))
}

impl CassandraPersistence {
    fn current_epoch(&self) -> Epoch {
        // Known since `open`.
        self.lineage.known().map_or_else(Epoch::generate, |(life, _)| life.epoch.clone())
    }

    /// What to change on the nodes for a stronger durability class; empty where there is none.
    pub fn advice(&self) -> String {
        self.store.status.advice()
    }

    /// Makes the conversation the user's if it is not, and answers the page. May be done twice.
    async fn open_once(&self, link: &Link, query: &OpenQuery) -> Result<Opened, CallError> {
        let OpenQuery { conv, place, user, .. } = query;
        let is_direct = matches!(**place, Place::Direct(..));
        let is_group = matches!(**place, Place::Group(_));
        let peer = place.peer_of(user).filter(|peer| *peer != user);
        let users: Vec<&UserName> = std::iter::once(user).chain(peer).collect();
        let mut fresh = self.store.fresh(link, *conv, &users).await?;
        let mut became = false;
        if fresh.acks[0].joined.is_none() {
            let head = log::Log::head(&fresh.snapshot);
            let is_first = !is_direct || head == Seq::ZERO;
            let mut starts = false;
            // A group became theirs when they were invited.
            if is_first && !is_group && !fresh.acks[0].mine {
                let stamp = self.store.index.stamp(self.store.status.ahead_ms());
                acks::add_mine(link, user, *conv, place, stamp).await?;
            }
            if is_direct {
                // The first message of a direct chat makes it both users'; without one, whoever opens it does.
                became = is_first && acks::become_mine(link, *conv, user).await?;
                acks::join(link, *conv, user, Seq::ZERO).await?;
            } else {
                starts = acks::join(link, *conv, user, head).await?;
                became = starts && !is_group;
            }
            self.store.index.note(*conv, user, &link.life);
            if starts {
                // Everything up to here, as of this moment.
                let start = crate::model::AckSet::up_to(head);
                fresh.snapshot.acked.insert(user.clone(), Some(start));
            } else {
                fresh = self.store.fresh(link, *conv, &users).await?;
            }
        }
        let epoch = &link.life.epoch;
        let rules = |snapshot: &snapshot::Snapshot| log::open(snapshot, query, epoch);
        let opened = self.store.ask(link, *conv, &mut fresh.snapshot, rules).await?;
        let opened = self.store.opened(link, *conv, opened).await?;
        Ok(Opened { became, ..opened })
    }

    async fn ack_once(&self, link: &Link, request: &AckRequest) -> Result<AckOutcome, CallError> {
        let AckRequest { conv, user, up_to, ranges } = request;
        for _ in 0..ACK_TRIES {
            let mut fresh = self.store.fresh(link, *conv, &[user]).await?;
            let (acks, tail) = (&fresh.acks[0], Arc::clone(&fresh.snapshot.tail));
            let merged =
                acks::merge(link, *conv, user, acks, &tail, (*up_to, ranges.as_slice())).await?;
            let acked = match merged {
                Merged::Again => continue,
                Merged::Refused(AckError::AboveHead) => return Ok(AckOutcome::AboveHead),
                Merged::Refused(AckError::TooManyRanges) => return Ok(AckOutcome::TooManyRanges),
                Merged::Set(acked) => acked,
            };
            fresh.snapshot.acked.insert(user.clone(), Some(acked.clone()));
            let rules = |snapshot: &snapshot::Snapshot| log::unread(snapshot, user);
            let unread = self.store.ask(link, *conv, &mut fresh.snapshot, rules).await?;
            return Ok(AckOutcome::Merged { acked, unread });
        }
        Err(CallError::NotSent("many acknowledge for this user at once".to_owned()))
    }
}

#[async_trait]
impl Persistence for CassandraPersistence {
    fn name(&self) -> &'static str {
        "CASSANDRA"
    }

    fn durability(&self) -> Durability {
        self.store.status.durability()
    }

    fn epoch(&self, _: ConvId) -> Epoch {
        self.current_epoch()
    }

    fn renewals(&self) -> Option<watch::Receiver<u64>> {
        Some(self.lineage.renewals())
    }

    fn lost_data(&self) -> Option<Lost> {
        self.lineage.lost()
    }

    fn clock_skew_ms(&self) -> Option<i64> {
        self.store.status.clock_skew_ms()
    }

    fn health(&self) -> Result<(), EngineError> {
        self.store.status.health()
    }

    fn append(&self, append: Append) -> BoxFuture<'static, Result<AppendOutcome, EngineError>> {
        let stamp = self.store.index.stamp(self.store.status.ahead_ms());
        match self.writer.send(append, stamp) {
            Ok(listener) => listener.map(|answer| answer.unwrap_or_else(|_| Err(broken()))).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    async fn open(&self, query: OpenQuery) -> Result<Opened, EngineError> {
        let query = &query;
        self.store.calls.again(|link| async move { self.open_once(&link, query).await }).await
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, EngineError> {
        let (conv, query) = (query.conv, &query);
        self.store
            .calls
            .again(|link| async move {
                let mut fresh = self.store.fresh(&link, conv, &[]).await?;
                let rules = |snapshot: &snapshot::Snapshot| log::Log::range(snapshot, query);
                let page = self.store.ask(&link, conv, &mut fresh.snapshot, rules).await?;
                self.store.page(&link, conv, page).await
            })
            .await
    }

    async fn after(
        &self,
        conv: ConvId,
        after: Seq,
        limit: usize,
    ) -> Result<Following, EngineError> {
        self.store
            .calls
            .again(|link| async move {
                let mut fresh = self.store.fresh(&link, conv, &[]).await?;
                let rules = |snapshot: &snapshot::Snapshot| log::after(snapshot, after, limit);
                let page = self.store.ask(&link, conv, &mut fresh.snapshot, rules).await?;
                let page = self.store.page(&link, conv, page).await?;
                Ok(Following { epoch: link.life.epoch.clone(), page })
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
        self.store
            .calls
            .again(|link| async move {
                let mut fresh = self.store.fresh(&link, conv, &[user]).await?;
                let rules =
                    |snapshot: &snapshot::Snapshot| log::unread_late(snapshot, user, after, limit);
                let page = self.store.ask(&link, conv, &mut fresh.snapshot, rules).await?;
                self.store.late_page(&link, conv, page).await
            })
            .await
    }

    async fn ack(&self, request: AckRequest) -> Result<AckOutcome, EngineError> {
        let request = &request;
        self.store.calls.again(|link| async move { self.ack_once(&link, request).await }).await
    }

    async fn regroup(&self, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
        let stamp = self.store.index.stamp(self.store.status.ahead_ms());
        self.writer.change(request, stamp)?.await.unwrap_or_else(|_| Err(broken()))
    }

    async fn roster(&self, conv: ConvId) -> Result<Rostered, EngineError> {
        self.store
            .calls
            .again(|link| async move {
                let roster = self.store.roster(&link, conv).await?;
                Ok(Rostered { epoch: link.life.epoch.clone(), roster })
            })
            .await
    }

    async fn mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        self.store.calls.again(|link| async move { self.store.mine(&link, user).await }).await
    }

    async fn summary(&self, conv: ConvId, user: &UserName) -> Result<Summary, EngineError> {
        self.store
            .calls
            .again(|link| async move {
                let mut fresh = self.store.fresh(&link, conv, &[user]).await?;
                let rules = |snapshot: &snapshot::Snapshot| log::summary(snapshot, user);
                let summary = self.store.ask(&link, conv, &mut fresh.snapshot, rules).await?;
                self.store.summary(&link, conv, summary).await
            })
            .await
    }

    async fn close(&self) {
        self.writer.close();
        self.tasks.close();
        // What waits is written while there is still a session.
        self.tasks.wait().await;
        self.stop.cancel();
    }
}

fn broken() -> EngineError {
    EngineError::Internal("cassandra: a batch broke off".to_owned())
}
