//! The way into a store that is asked over a network: order fixed by the call, one batch of a conversation at a time, many conversations
//! side by side.
//!
//! All appends of a conversation that wait share the next batch (no timer): while one is under way the next gathers.
//! A change of a group takes its turn among them, alone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::{Append, AppendOutcome, EngineError, GroupOutcome, GroupRequest};
use crate::model::{ConvId, Place};

/// Appends that may wait in all; above: `overloaded`.
const QUEUE_REQUESTS_MAX: usize = 16_384;
/// Their content bytes; above: `overloaded`.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// How long an append may wait for its batch. With the time of a call of a batch before it, it stays below
/// `answer_ms_max`.
const QUEUED_TIME: Duration = Duration::from_secs(3);
/// While it waits for a place, a queue is looked at this often.
const LOOK_TIME: Duration = Duration::from_millis(500);
/// Conversations whose batches are under way at once.
const BATCHES_MAX: usize = 128;
/// Messages of one batch: 50 rows cost about twice one, and more take the server's one thread of a partition too long.
const BATCH_ROWS_MAX: usize = 128;
/// Their content bytes: far below what a node refuses.
const BATCH_BYTES_MAX: usize = 512 << 10;

/// How a caller hears what became of it.
type Answer<T> = oneshot::Sender<Result<T, EngineError>>;
/// Where the caller listens.
type Listener<T> = oneshot::Receiver<Result<T, EngineError>>;

/// An append that waits.
pub struct Queued {
    /// What to store.
    pub append: Append,
    /// When it was called, in the order of calls.
    pub stamp: u64,
    /// When it was called.
    pub since: Instant,
    answer: Answer<AppendOutcome>,
}

impl Queued {
    /// Whether members are asked: it is sent now, to a group.
    pub fn asks_members(&self) -> bool {
        !self.is_restored() && matches!(*self.append.place, Place::Group(_))
    }

    /// Whether it comes from elsewhere: no name is asked for, and nobody's list changes.
    pub fn is_restored(&self) -> bool {
        self.append.restored.is_some()
    }

    /// Tells the caller, if it still listens.
    pub fn answer(self, outcome: Result<AppendOutcome, EngineError>) {
        if matches!(&outcome, Ok(AppendOutcome::Stored(stored)) if !stored.dup) {
            metrics::counter!("chatctl_messages_appended_total").increment(1);
        }
        let _ = self.answer.send(outcome);
    }
}

/// A change of a group that waits.
pub struct Change {
    /// What to do.
    pub request: GroupRequest,
    /// When it was called, in the order of calls.
    pub stamp: u64,
    /// When it was called.
    pub since: Instant,
    answer: Answer<GroupOutcome>,
}

impl Change {
    /// Tells the caller, if it still listens.
    pub fn answer(self, outcome: Result<GroupOutcome, EngineError>) {
        let _ = self.answer.send(outcome);
    }
}

/// What waits for its turn.
enum Waiting {
    Append(Queued),
    Change(Change),
}

impl Waiting {
    fn since(&self) -> Instant {
        match self {
            Self::Append(queued) => queued.since,
            Self::Change(change) => change.since,
        }
    }

    /// Content that it holds.
    fn bytes(&self) -> usize {
        match self {
            Self::Append(queued) => queued.append.content.len(),
            Self::Change(_) => 0,
        }
    }

    fn refuse(self, error: EngineError) {
        match self {
            Self::Append(queued) => queued.answer(Err(error)),
            Self::Change(change) => change.answer(Err(error)),
        }
    }
}

/// What is done at once.
enum Turn {
    Appends(Vec<Queued>),
    Change(Change),
}

#[derive(Default)]
struct Queues {
    by_conv: HashMap<ConvId, VecDeque<Waiting>>,
    requests: usize,
    bytes: usize,
    is_closed: bool,
}

/// Writes what had its turn. Dropped in the middle, what it held is answered by nobody: callers are told that they do not know.
#[async_trait]
pub trait Commits: Send + Sync + 'static {
    /// Who it is that tells of it in errors.
    fn engine(&self) -> &'static str;

    /// Stores or refuses appends of one conversation, in their order.
    async fn commit(&self, conv: ConvId, queued: Vec<Queued>);

    /// Does a change of a group or refuses it.
    async fn change(&self, conv: ConvId, change: Change);
}

/// The way in.
pub struct Writer<C> {
    queues: Arc<Mutex<Queues>>,
    committer: Arc<C>,
    batches: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl<C: Commits> Writer<C> {
    /// Nothing waits yet; the work is spawned on `tasks`.
    pub fn new(committer: Arc<C>, tasks: TaskTracker) -> Self {
        let batches = Arc::new(Semaphore::new(BATCHES_MAX));
        Self { queues: Arc::default(), committer, batches, tasks }
    }

    /// Queues an append. Of one conversation the order of calls is the order of effects.
    pub fn send(&self, append: Append, stamp: u64) -> Result<Listener<AppendOutcome>, EngineError> {
        let conv = append.conv;
        let (answer, listener) = oneshot::channel();
        let queued = Queued { append, stamp, since: Instant::now(), answer };
        self.queue(conv, Waiting::Append(queued))?;
        Ok(listener)
    }

    /// Queues a change of a group, in the same order.
    pub fn change(
        &self,
        request: GroupRequest,
        stamp: u64,
    ) -> Result<Listener<GroupOutcome>, EngineError> {
        let conv = request.conv;
        let (answer, listener) = oneshot::channel();
        let change = Change { request, stamp, since: Instant::now(), answer };
        self.queue(conv, Waiting::Change(change))?;
        Ok(listener)
    }

    fn queue(&self, conv: ConvId, waiting: Waiting) -> Result<(), EngineError> {
        let (bytes, engine) = (waiting.bytes(), self.committer.engine());
        let mut queues = lock(&self.queues);
        if queues.is_closed {
            return Err(EngineError::Unavailable(format!("{engine}: the engine is closed")));
        }
        if queues.requests >= QUEUE_REQUESTS_MAX || queues.bytes + bytes > QUEUE_BYTES_MAX {
            return Err(crowded(engine, "too many messages wait"));
        }
        queues.requests += 1;
        queues.bytes += bytes;
        let mut is_new = false;
        queues
            .by_conv
            .entry(conv)
            .or_insert_with(|| {
                is_new = true;
                VecDeque::new()
            })
            .push_back(waiting);
        drop(queues);
        if is_new {
            let (queues, batches) = (Arc::clone(&self.queues), Arc::clone(&self.batches));
            let committer = Arc::clone(&self.committer);
            self.tasks.spawn(async move {
                let mut post = Post { queues: Arc::clone(&queues), conv, is_left: false };
                while let Some(permit) = turn(engine, &queues, &batches, conv).await {
                    match next(engine, &queues, conv) {
                        Some(Turn::Appends(queued)) => {
                            committer.commit(conv, queued).await;
                        }
                        Some(Turn::Change(change)) => {
                            committer.change(conv, change).await;
                        }
                        None => break,
                    }
                    drop(permit);
                }
                post.is_left = true;
            });
        }
        Ok(())
    }

    /// Takes nothing more; what waits is still stored or refused.
    pub fn close(&self) {
        lock(&self.queues).is_closed = true;
    }
}

/// The task of a queue. Where it ends in the middle, by a panic, what waits is answered by nobody, and its callers hear that; whoever comes
/// next begins anew.
struct Post {
    queues: Arc<Mutex<Queues>>,
    conv: ConvId,
    is_left: bool,
}

impl Drop for Post {
    fn drop(&mut self) {
        if !self.is_left {
            let mut queues = lock(&self.queues);
            // What waits goes with its senders: callers hear that nobody answers.
            let _waiting = take_while(&mut queues, self.conv, |_, _, _| true);
            queues.by_conv.remove(&self.conv);
        }
    }
}

fn lock(queues: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    // Every change under the lock is a few assignments.
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a place among the batches under way; `None` when nothing is left that waits for it.
async fn turn<'a>(
    engine: &str,
    queues: &Mutex<Queues>,
    batches: &'a Semaphore,
    conv: ConvId,
) -> Option<SemaphorePermit<'a>> {
    loop {
        match timeout(LOOK_TIME, batches.acquire()).await {
            // Never closed.
            Ok(permit) => return permit.ok(),
            Err(_) => {
                let (late, is_empty) = take_late(&mut lock(queues), conv);
                refuse(engine, late);
                if is_empty {
                    return None;
                }
            }
        }
    }
}

/// What goes into the next batch; `None` when nothing waits: whoever comes next begins anew.
fn next(engine: &str, queues: &Mutex<Queues>, conv: ConvId) -> Option<Turn> {
    let mut queues = lock(queues);
    let (late, is_empty) = take_late(&mut queues, conv);
    let turn = if is_empty { None } else { Some(take(&mut queues, conv)) };
    drop(queues);
    refuse(engine, late);
    turn
}

fn refuse(engine: &str, late: Vec<Waiting>) {
    for waiting in late {
        waiting.refuse(crowded(engine, "it waited too long for its turn"));
    }
}

fn crowded(engine: &str, reason: &str) -> EngineError {
    EngineError::Overloaded(format!("{engine}: {reason}"))
}

/// What has waited too long: it was never sent. In order of arrival, so the oldest are in front. Where nothing else waits the
/// queue is gone.
fn take_late(queues: &mut Queues, conv: ConvId) -> (Vec<Waiting>, bool) {
    let is_late = |waiting: &Waiting| waiting.since().elapsed() > QUEUED_TIME;
    let late = take_while(queues, conv, |waiting, _, _| is_late(waiting));
    let is_empty = queues.by_conv.get(&conv).is_none_or(VecDeque::is_empty);
    if is_empty {
        queues.by_conv.remove(&conv);
    }
    (late, is_empty)
}

/// The appends in front, as many as fit; or the change in front.
fn take(queues: &mut Queues, conv: ConvId) -> Turn {
    let is_change = |waiting: &Waiting| matches!(waiting, Waiting::Change(_));
    let front = queues.by_conv.get(&conv).and_then(VecDeque::front);
    let is_alone = front.is_some_and(is_change);
    let taken = take_while(queues, conv, |waiting, count, bytes| {
        let fits = count < BATCH_ROWS_MAX && bytes + waiting.bytes() <= BATCH_BYTES_MAX;
        count == 0 || !is_alone && !is_change(waiting) && fits
    });
    let mut appends = Vec::with_capacity(taken.len());
    for waiting in taken {
        match waiting {
            Waiting::Append(queued) => appends.push(queued),
            Waiting::Change(change) => return Turn::Change(change),
        }
    }
    Turn::Appends(appends)
}

fn take_while(
    queues: &mut Queues,
    conv: ConvId,
    is_wanted: impl Fn(&Waiting, usize, usize) -> bool,
) -> Vec<Waiting> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    if let Some(waiting) = queues.by_conv.get_mut(&conv) {
        while waiting.front().is_some_and(|front| is_wanted(front, taken.len(), bytes)) {
            let Some(front) = waiting.pop_front() else { break };
            bytes += front.bytes();
            taken.push(front);
        }
    }
    queues.requests -= taken.len();
    queues.bytes -= bytes;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelName, UserName};
    use crate::persistence::conformance::subject::{PAST, Room};

    /// Panics at the first batch, and refuses all others.
    struct Fragile(std::sync::atomic::AtomicU32);

    #[async_trait]
    impl Commits for Fragile {
        fn engine(&self) -> &'static str {
            "test"
        }

        async fn commit(&self, _: ConvId, queued: Vec<Queued>) {
            let batch = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // What comes meanwhile waits.
            tokio::task::yield_now().await;
            assert!(batch > 0, "the first one");
            for queued in queued {
                queued.answer(Ok(AppendOutcome::TsInFuture));
            }
        }

        async fn change(&self, _: ConvId, _: Change) {}
    }

    #[tokio::test]
    async fn a_batch_that_panics_leaves_nobody_waiting_and_the_queue_open() {
        let writer = Writer::new(Arc::new(Fragile(0.into())), TaskTracker::new());
        let room = Room::new(Place::Channel(ChannelName::new("fragile").unwrap()));
        let message = || room.message(&UserName::new("ann").unwrap(), PAST);
        let lost = writer.send(message(), 1).unwrap();
        tokio::task::yield_now().await;
        let waited = writer.send(message(), 2).unwrap();
        assert!(lost.await.is_err(), "nobody answers");
        assert!(waited.await.is_err(), "nor what waited behind it");
        let counts = {
            let queues = lock(&writer.queues);
            (queues.requests, queues.bytes)
        };
        assert_eq!(counts, (0, 0));
        let after = writer.send(message(), 3).unwrap();
        assert!(matches!(after.await.unwrap(), Ok(AppendOutcome::TsInFuture)));
    }
}
