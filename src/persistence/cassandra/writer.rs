//! Appends: order fixed by the call, one batch of a conversation at a time, many conversations side by side.
//!
//! All appends of a conversation that wait share the next conditional batch (no timer): while one is under way the next gathers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::commit::Committer;
use super::failure;
use crate::model::ConvId;
use crate::persistence::{Append, AppendOutcome, EngineError};

/// Appends that may wait in all; above: `overloaded`.
const QUEUE_REQUESTS_MAX: usize = 16_384;
/// Their content bytes; above: `overloaded`.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// How long an append may wait for its batch. With [`CALL_TIME`](super::calls::CALL_TIME) of a batch before it, it stays below
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

type Answer = oneshot::Sender<Result<AppendOutcome, EngineError>>;

/// An append that waits.
pub struct Queued {
    /// What to store.
    pub append: Append,
    /// When it was called, in the order of calls.
    pub stamp: u64,
    /// When it was called.
    pub since: Instant,
    answer: Answer,
}

impl Queued {
    /// Tells the caller, if it still listens.
    pub fn answer(self, outcome: Result<AppendOutcome, EngineError>) {
        if matches!(&outcome, Ok(AppendOutcome::Stored(stored)) if !stored.dup) {
            metrics::counter!("chatctl_messages_appended_total").increment(1);
        }
        let _ = self.answer.send(outcome);
    }
}

#[derive(Default)]
struct Queues {
    by_conv: HashMap<ConvId, VecDeque<Queued>>,
    requests: usize,
    bytes: usize,
    is_closed: bool,
}

/// The way in.
pub struct Writer {
    queues: Arc<Mutex<Queues>>,
    committer: Arc<Committer>,
    batches: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Writer {
    /// Nothing waits yet; the work is spawned on `tasks`.
    pub fn new(committer: Arc<Committer>, tasks: TaskTracker) -> Self {
        let batches = Arc::new(Semaphore::new(BATCHES_MAX));
        Self { queues: Arc::default(), committer, batches, tasks }
    }

    /// Queues an append. Of one conversation the order of calls is the order of effects.
    pub fn send(
        &self,
        append: Append,
        stamp: u64,
    ) -> Result<oneshot::Receiver<Result<AppendOutcome, EngineError>>, EngineError> {
        let (conv, bytes) = (append.conv, append.content.len());
        let (answer, receiver) = oneshot::channel();
        let mut queues = lock(&self.queues);
        if queues.is_closed {
            return Err(failure::closed());
        }
        if queues.requests >= QUEUE_REQUESTS_MAX || queues.bytes + bytes > QUEUE_BYTES_MAX {
            return Err(failure::crowded("too many messages wait"));
        }
        queues.requests += 1;
        queues.bytes += bytes;
        let queued = Queued { append, stamp, since: Instant::now(), answer };
        let mut is_new = false;
        queues
            .by_conv
            .entry(conv)
            .or_insert_with(|| {
                is_new = true;
                VecDeque::new()
            })
            .push_back(queued);
        drop(queues);
        if is_new {
            let (queues, batches) = (Arc::clone(&self.queues), Arc::clone(&self.batches));
            let committer = Arc::clone(&self.committer);
            self.tasks.spawn(async move {
                while let Some(permit) = turn(&queues, &batches, conv).await {
                    let Some(group) = next(&queues, conv) else { break };
                    // Boxed: it holds whole requests.
                    Box::pin(committer.commit(conv, group)).await;
                    drop(permit);
                }
            });
        }
        Ok(receiver)
    }

    /// Takes nothing more; what waits is still stored or refused.
    pub fn close(&self) {
        lock(&self.queues).is_closed = true;
    }
}

fn lock(queues: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    // Every change under the lock is a few assignments.
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a place among the batches under way; `None` when nothing is left that waits for it.
async fn turn<'a>(
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
                refuse(late);
                if is_empty {
                    return None;
                }
            }
        }
    }
}

/// What goes into the next batch; `None` when nothing waits: whoever comes next begins anew.
fn next(queues: &Mutex<Queues>, conv: ConvId) -> Option<Vec<Queued>> {
    let mut queues = lock(queues);
    let (late, is_empty) = take_late(&mut queues, conv);
    let group = if is_empty { None } else { Some(take(&mut queues, conv)) };
    drop(queues);
    refuse(late);
    group
}

fn refuse(late: Vec<Queued>) {
    for queued in late {
        queued.answer(Err(failure::crowded("the message waited too long for its turn")));
    }
}

/// What has waited too long: it was never sent. In order of arrival, so the oldest are in front. Where nothing else waits the
/// queue is gone.
fn take_late(queues: &mut Queues, conv: ConvId) -> (Vec<Queued>, bool) {
    let is_late = |queued: &Queued| queued.since.elapsed() > QUEUED_TIME;
    let late = take_while(queues, conv, |queued, _, _| is_late(queued));
    let is_empty = queues.by_conv.get(&conv).is_none_or(VecDeque::is_empty);
    if is_empty {
        queues.by_conv.remove(&conv);
    }
    (late, is_empty)
}

fn take(queues: &mut Queues, conv: ConvId) -> Vec<Queued> {
    take_while(queues, conv, |queued, count, bytes| {
        count == 0
            || count < BATCH_ROWS_MAX && bytes + queued.append.content.len() <= BATCH_BYTES_MAX
    })
}

fn take_while(
    queues: &mut Queues,
    conv: ConvId,
    is_wanted: impl Fn(&Queued, usize, usize) -> bool,
) -> Vec<Queued> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    if let Some(waiting) = queues.by_conv.get_mut(&conv) {
        while waiting.front().is_some_and(|queued| is_wanted(queued, taken.len(), bytes)) {
            let Some(queued) = waiting.pop_front() else { break };
            bytes += queued.append.content.len();
            taken.push(queued);
        }
    }
    queues.requests -= taken.len();
    queues.bytes -= bytes;
    taken
}
