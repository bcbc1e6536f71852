//! The one thread that writes: group commit.
//!
//! It takes the first request, drains what is waiting (no timer), makes one batch, one sync, and
//! then answers all. All writes pass here, so what a batch decides by cannot change under it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::SyncPolicy;
use super::batch::{BatchBuilder, Decided};
use super::recent::Recents;
use super::request::{Answer, Request};
use super::space::SpaceGuard;
use super::tables::{TableError, Tables};
use crate::model::Epoch;
use crate::persistence::EngineError;

/// Requests that one batch takes at most: bounds how long the first of them waits.
const BATCH_REQUESTS_MAX: usize = 1_024;
/// Content bytes that one batch takes before it stops taking more.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Requests that may wait; above: `overloaded`.
const QUEUE_REQUESTS_MAX: usize = 16_384;
/// Content bytes that may wait; above: `overloaded`.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The way to the committer's thread: bounded, never blocking.
pub struct Queue {
    sender: Mutex<Sender<Request>>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

impl Queue {
    /// Queues a request. The order of calls is the order of effects.
    pub fn send(&self, request: Request) -> Result<(), EngineError> {
        let bytes = request.bytes();
        // Under the lock, so that the bound is exact and the order is that of the calls.
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if self.waiting.requests.load(Ordering::Relaxed) >= QUEUE_REQUESTS_MAX
            || self.waiting.bytes.load(Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX
        {
            return Err(EngineError::Overloaded("the commit queue is full".to_owned()));
        }
        self.waiting.requests.fetch_add(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        sender
            .send(request)
            .map_err(|_| EngineError::Unavailable("the embedded engine has stopped".to_owned()))
    }
}

/// What the thread works with.
pub struct Committer {
    /// The store.
    pub tables: Arc<dyn Tables>,
    /// What readers see without the store.
    pub recents: Arc<Recents>,
    /// The life of the store.
    pub epoch: Epoch,
    /// Free space to keep; `None` in memory.
    pub space: Option<SpaceGuard>,
    /// When to force to disk.
    pub sync: SyncPolicy,
    /// Told once, when the store cannot be trusted with another write.
    pub fatal: oneshot::Sender<String>,
}

impl Committer {
    /// Starts the thread; it ends after [`Request::Close`], on a failed write, or when the queue is gone.
    pub fn start(self) -> std::io::Result<Queue> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let waiting = Arc::new(Waiting::default());
        let queue = Queue { sender: Mutex::new(sender), waiting: Arc::clone(&waiting) };
        std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || self.run(&receiver, &waiting))?;
        Ok(queue)
    }

    fn run(mut self, receiver: &Receiver<Request>, waiting: &Waiting) {
        let mut unsynced_since: Option<Instant> = None;
        loop {
            let first = match self.next(receiver, unsynced_since) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    unsynced_since = None;
                    if let Err(error) = self.force_sync() {
                        return self.fail(error);
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let requests = drain(first, receiver, waiting);
            let mut close = None;
            match self.commit(requests, &mut close) {
                Ok(wrote) => {
                    if wrote && unsynced_since.is_none() {
                        unsynced_since = Some(Instant::now());
                    }
                }
                Err(error) => return self.fail(error),
            }
            if let Some(answer) = close {
                match self.force_sync() {
                    Ok(()) => {
                        let _ = answer.send(Ok(()));
                        return;
                    }
                    Err(error) => return self.fail(error),
                }
            }
        }
    }

    fn next(
        &self,
        receiver: &Receiver<Request>,
        unsynced_since: Option<Instant>,
    ) -> Result<Request, RecvTimeoutError> {
        match (self.sync, unsynced_since) {
            (SyncPolicy::Interval(interval), Some(since)) => {
                receiver.recv_timeout((since + interval).saturating_duration_since(Instant::now()))
            }
            _ => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Decides, writes and answers; `true` when something was written.
    fn commit(
        &mut self,
        requests: Vec<Request>,
        close: &mut Option<Answer<()>>,
    ) -> Result<bool, TableError> {
        let storage_full = self.space.as_ref().and_then(SpaceGuard::shortage);
        let mut builder =
            BatchBuilder::new(&*self.tables, &self.recents, &self.epoch, storage_full);
        let mut decided = Vec::with_capacity(requests.len());
        for request in requests {
            decided.push(match request {
                Request::Append(append, answer) => Decided::Append(builder.append(append), answer),
                Request::Ack(request, answer) => Decided::Ack(builder.ack(request), answer),
                Request::Join(conv, place, user, answer) => {
                    Decided::Join(builder.join(conv, &place, &user), answer)
                }
                Request::Close(answer) => {
                    *close = Some(answer);
                    continue;
                }
            });
        }
        let (batch, notes) = builder.finish();
        let wrote = !batch.is_empty();
        if wrote {
            let started = Instant::now();
            let messages = notes.messages();
            if let Err(error) = self.tables.commit(batch) {
                for decision in decided {
                    decision.refuse(&EngineError::Internal(error.0.clone()));
                }
                return Err(error);
            }
            if matches!(self.sync, SyncPolicy::Always) {
                metrics::counter!("chatctl_syncs_total").increment(1);
            }
            metrics::counter!("chatctl_commits_total").increment(1);
            metrics::counter!("chatctl_messages_appended_total").increment(messages);
            metrics::histogram!("chatctl_commit_seconds").record(started.elapsed().as_secs_f64());
            // After the batch is visible, before anyone is answered.
            notes.apply(&self.recents);
        }
        for decision in decided {
            decision.answer();
        }
        Ok(wrote)
    }

    fn force_sync(&self) -> Result<(), TableError> {
        if !matches!(self.sync, SyncPolicy::Memory) {
            metrics::counter!("chatctl_syncs_total").increment(1);
        }
        self.tables.sync()
    }

    /// No write may follow one whose outcome is unknown: requests that wait find the queue gone.
    fn fail(self, error: TableError) {
        tracing::error!(%error, "the store failed; nothing more is acknowledged");
        let _ = self.fatal.send(error.0);
    }
}

fn drain(first: Request, receiver: &Receiver<Request>, waiting: &Waiting) -> Vec<Request> {
    let mut requests = vec![first];
    let mut bytes = requests[0].bytes();
    while requests.len() < BATCH_REQUESTS_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(request) = receiver.try_recv() else { break };
        bytes += request.bytes();
        requests.push(request);
    }
    waiting.requests.fetch_sub(requests.len(), Ordering::Relaxed);
    waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
    requests
}
