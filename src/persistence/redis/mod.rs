//! REDIS: messages in a Redis or Valkey server; any number of nodes.
//!
//! Every operation is one script (`scripts/*.lua`): one atomic step, one round trip. Appends go through
//! lanes ([`lane`]) that fix their order; everything else through one shared connection ([`reader`]).
//! Which life the store is in is asked on every new connection ([`lineage`]).
//!
//! # What a conversation is stored as
//!
//! All keys of a conversation have its id as hash tag: `h` (a hash: head, highest `ts`, generation), `m` (a hash: `seq` →
//! message), `t` (a sorted set: `ts` → `seq` with leading zeros, so that equal times stand in the order of numbers),
//! `l` (a sorted set: the late ones by `seq`), `c` (a hash: sender and `cid` → `seq`), `a` (a hash: user →
//! acknowledgement), `g` (a hash: the roster of a group). No message is ever deleted, so the dedupe window is unlimited.
//!
//! In a cluster there are several such stores side by side, each in one slot ([`RedisCluster`]).

mod answers;
mod archive;
mod cluster;
mod codec;
mod dialer;
mod examine;
mod facts;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod groups;
mod index;
mod keys;
mod lane;
mod mine;
mod reader;
mod scripts;
#[cfg(test)]
mod tests;

pub use self::cluster::{RedisCluster, open_cluster};
pub use self::examine::examine;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Value;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::answers::OpenAnswer;
use self::codec::Reply;
use self::dialer::{DialError, Dialer};
use self::keys::Keys;
use self::lane::{Lane, lane_of};
use self::reader::Reader;
use self::scripts::{SCRIPTS, Script, Scripts};
use super::index::Index;
use super::lineage::{Life, Lineage, Renewals};
use super::status::Status;
use super::{
    AckOutcome, AckRequest, Append, AppendOutcome, EngineError, Following, GroupOutcome,
    GroupRequest, LatePage, Lost, Mine, OpenQuery, Opened, Page, Persistence, RangeQuery, Rostered,
    Summary,
};
use crate::model::{ConvId, Durability, Epoch, INTEGER_MAX, Order, Place, Seq, UserName};
use crate::redis_link::RedisServer;

/// What the engine can be told.
#[derive(Clone)]
pub struct RedisSettings {
    /// The server.
    pub server: RedisServer,
    /// What all keys begin with.
    pub prefix: String,
}

/// Why the engine cannot start. Each text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum OpenError {
    #[error("REDIS_URL cannot be used: {0}; use redis://host:port")]
    Url(String),
    #[error("the server of REDIS_URL does not answer as it should: {0}")]
    Connect(String),
    #[error("{0}")]
    Format(String),
    #[error("the server of REDIS_URL is a replica; set REDIS_URL to its primary")]
    Replica,
}

/// Lanes of appends. Each has a connection of its own.
const LANES: usize = 2;
/// How long a start waits for the server.
const START_TIME: Duration = Duration::from_secs(10);
/// Pause between two attempts of a start.
const START_PAUSE: Duration = Duration::from_millis(250);

/// The engine, or one partition of it.
pub struct RedisPersistence {
    scripts: &'static Scripts,
    keys: Keys,
    dialer: Arc<Dialer>,
    index: Arc<Index>,
    lineage: Arc<Lineage>,
    status: Arc<Status>,
    reader: Reader,
    lanes: RwLock<Option<Vec<Lane>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends the work also when nobody calls `close`.
    _guard: DropGuard,
}

/// Connects, and learns which life the store is in.
pub async fn open(settings: RedisSettings) -> Result<Arc<RedisPersistence>, OpenError> {
    open_with(settings, &SCRIPTS, LANES).await
}

/// The same with other scripts, and another number of lanes, which only tests have.
async fn open_with(
    settings: RedisSettings,
    scripts: &'static Scripts,
    lanes_wanted: usize,
) -> Result<Arc<RedisPersistence>, OpenError> {
    let keys = Keys::new(&settings.prefix);
    let shared = Shared { index: Arc::default(), renewals: Renewals::new(0) };
    open_part(&settings.server, keys, scripts, lanes_wanted, shared).await
}

/// What the partitions of a store have in common.
#[derive(Clone)]
struct Shared {
    /// So that what becomes a user's in one after the other has rising times.
    index: Arc<Index>,
    renewals: Renewals,
}

/// A store of its own, under these keys.
async fn open_part(
    server: &RedisServer,
    keys: Keys,
    scripts: &'static Scripts,
    lanes_wanted: usize,
    Shared { index, renewals }: Shared,
) -> Result<Arc<RedisPersistence>, OpenError> {
    let lineage = Arc::new(Lineage::of_part("redis", renewals));
    let status = Arc::new(Status::new("redis"));
    let dialer =
        Dialer::new(server, scripts, keys.clone(), Arc::clone(&lineage), Arc::clone(&status))
            // Its text is about the form, and never holds the URL.
            .map_err(|error| OpenError::Url(error.to_string()))?;
    let dialer = Arc::new(dialer);
    let deadline = Instant::now() + START_TIME;
    let first = loop {
        match dialer.dial(None).await {
            Ok(link) => break link,
            Err(DialError::Format(text)) => return Err(OpenError::Format(text)),
            Err(DialError::Now(reason)) if Instant::now() > deadline => {
                return Err(OpenError::Connect(reason));
            }
            // It may be starting, too.
            Err(_) => tokio::time::sleep(START_PAUSE).await,
        }
    };
    if matches!(status.health(), Err(EngineError::ReadOnly(_))) {
        return Err(OpenError::Replica);
    }
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut lanes = Vec::with_capacity(lanes_wanted);
    for _ in 0..lanes_wanted {
        let (lane, work) = Lane::new(Arc::clone(&dialer), Arc::clone(&index));
        tasks.spawn(work);
        lanes.push(lane);
    }
    let (reader, work) = Reader::new(Arc::clone(&dialer), first, stop.clone());
    tasks.spawn(work);
    Ok(Arc::new(RedisPersistence {
        scripts,
        keys,
        dialer,
        index,
        lineage,
        status,
        reader,
        lanes: RwLock::new(Some(lanes)),
        tasks,
        _guard: stop.clone().drop_guard(),
        stop,
    }))
}

impl RedisPersistence {
    /// What to change on the server for a stronger durability class; empty where there is none.
    pub fn advice(&self) -> String {
        self.status.advice()
    }

    async fn call(
        &self,
        script: &Script,
        conv: ConvId,
        arguments: Vec<String>,
    ) -> Result<(Reply, Arc<Life>), EngineError> {
        self.reader
            .call(|life| {
                let mut cmd = self.keys.call(script, conv, life);
                cmd.arg(&arguments);
                cmd
            })
            .await
    }

    fn current_epoch(&self) -> Epoch {
        // Known since `open`.
        self.life().map_or_else(Epoch::generate, |life| life.epoch.clone())
    }

    fn life(&self) -> Option<Arc<Life>> {
        self.lineage.known().map(|(life, _)| life)
    }
}

/// A number as scripts take it: all that they store is below 2⁵³, so more is as good as that.
fn number(number: u64) -> String {
    number.min(INTEGER_MAX).to_string()
}

#[async_trait]
impl Persistence for RedisPersistence {
    fn name(&self) -> &'static str {
        "REDIS"
    }

    fn durability(&self) -> Durability {
        self.status.durability()
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
        self.status.clock_skew_ms()
    }

    fn health(&self) -> Result<(), EngineError> {
        self.status.health()
    }

    fn append(&self, append: Append) -> BoxFuture<'static, Result<AppendOutcome, EngineError>> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        let sent = match lanes.as_deref() {
            Some(lanes) => {
                let stamp = self.index.stamp(self.status.ahead_ms());
                lanes[lane_of(append.conv, lanes.len())].send(append, stamp)
            }
            None => Err(failure::closed()),
        };
        match sent {
            Ok(receiver) => receiver
                .map(|answer| {
                    answer.unwrap_or_else(|_| {
                        Err(EngineError::Internal("redis: a lane broke off".to_owned()))
                    })
                })
                .boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    async fn open(&self, query: OpenQuery) -> Result<Opened, EngineError> {
        let OpenQuery { conv, place, user, limit, resume } = &query;
        let peer = place.peer_of(user).filter(|peer| *peer != user);
        let stamp = self.index.stamp(self.status.ahead_ms());
        let is_group = matches!(**place, Place::Group(_));
        let build = |life: &Life| {
            let mut pipe = redis::pipe();
            pipe.ignore_errors();
            if !is_group && self.index.is_missing(*conv, user, life) {
                pipe.add_command(index::add(&self.keys, user, *conv, place, stamp));
            }
            let resume = resume.as_ref().filter(|(epoch, _)| *epoch == life.epoch);
            let mut cmd = self.keys.call(&self.scripts.open, *conv, life);
            cmd.arg(user.as_str())
                .arg(u8::from(matches!(**place, Place::Direct(..))))
                .arg(peer.map_or("", UserName::as_str))
                .arg(*limit)
                .arg(resume.map(|(_, seq)| number(seq.0)).unwrap_or_default());
            pipe.add_command(cmd);
            pipe
        };
        let (mut values, life) = self.reader.call_all(build).await?;
        let reply = Reply::new(values.pop().ok_or_else(failure::unanswered)?)?;
        let OpenAnswer { head, became, mutual, acked, unread, view } = answers::opened(reply)?;
        let became = became && !is_group;
        if let Some(Value::Int(added)) = values.pop() {
            self.index.note(*conv, user, &life);
            if became && added == 0 {
                // An earlier call that was refused had written the entry.
                let raise = index::raise(&self.keys, user, *conv, place, stamp);
                let build = |_: &Life| {
                    let mut pipe = redis::pipe();
                    pipe.ignore_errors().add_command(raise.clone());
                    pipe
                };
                if let Err(error) = self.reader.call_all(build).await {
                    tracing::debug!(%error, "redis: an entry of an index stays where it was");
                }
            }
        }
        Ok(Opened { epoch: life.epoch.clone(), head, acked, unread, view, became, mutual })
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, EngineError> {
        let (ts, seq) = match query.start {
            Some((ts, seq)) => (number(ts), number(seq.0)),
            None => Default::default(),
        };
        let order = match query.order {
            Order::Asc => "asc",
            Order::Desc => "desc",
        };
        let limit = query.limit.to_string();
        let arguments =
            vec![number(query.from), number(query.to), order.to_owned(), limit, ts, seq];
        answers::page(self.call(&self.scripts.range, query.conv, arguments).await?.0)
    }

    async fn after(
        &self,
        conv: ConvId,
        after: Seq,
        limit: usize,
    ) -> Result<Following, EngineError> {
        let arguments = vec![number(after.0), limit.to_string()];
        let (reply, life) = self.call(&self.scripts.after, conv, arguments).await?;
        Ok(Following { epoch: life.epoch.clone(), page: answers::page(reply)? })
    }

    async fn unread_late(
        &self,
        conv: ConvId,
        user: &UserName,
        after: Seq,
        limit: usize,
    ) -> Result<LatePage, EngineError> {
        let arguments = vec![user.to_string(), number(after.0), limit.to_string()];
        answers::late_page(self.call(&self.scripts.unread_late, conv, arguments).await?.0)
    }

    async fn ack(&self, request: AckRequest) -> Result<AckOutcome, EngineError> {
        let mut arguments = vec![request.user.to_string(), number(request.up_to.0)];
        for (lo, hi) in request.ranges {
            arguments.extend([number(lo.0), number(hi.0)]);
        }
        answers::ack_outcome(self.call(&self.scripts.ack, request.conv, arguments).await?.0)
    }

    async fn regroup(&self, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
        self.change_group(&request).await
    }

    async fn roster(&self, conv: ConvId) -> Result<Rostered, EngineError> {
        let (roster, _, life) = self.read_roster(conv).await?;
        Ok(Rostered { epoch: life.epoch.clone(), roster })
    }

    async fn mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        self.last_mine(user).await
    }

    async fn summary(&self, conv: ConvId, user: &UserName) -> Result<Summary, EngineError> {
        let arguments = vec![user.to_string()];
        answers::summary(self.call(&self.scripts.summary, conv, arguments).await?.0)
    }

    async fn close(&self) {
        // A lane ends when its way in is gone and everything in it is answered.
        drop(self.lanes.write().unwrap_or_else(PoisonError::into_inner).take());
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
