//! Lanes of appends: order fixed by the call, one pipeline at a time.
//!
//! All appends of a conversation go through one lane. A lane takes what waits (no timer), sends it as one pipeline, and answers
//! all of it; meanwhile the next batch gathers. A second pipeline in flight could commit what was called later before the first is
//! sent again (`NOSCRIPT`, a newer life), and one already stores as many a second as a connection per caller does (`figures::writes`).

mod call;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use self::worker::Worker;
use super::dialer::Dialer;
use crate::model::ConvId;
use crate::persistence::index::Index;
use crate::persistence::{Append, AppendOutcome, EngineError};

/// Requests that may wait in one lane; above: `overloaded`.
const QUEUE_REQUESTS_MAX: usize = 8_192;
/// Content bytes that may wait in one lane; above: `overloaded`.
const QUEUE_BYTES_MAX: usize = 32 << 20;

type Answer = oneshot::Sender<Result<AppendOutcome, EngineError>>;

/// The way into a lane.
pub struct Lane {
    sender: mpsc::Sender<Queued>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// An append that waits. It counts against the bounds until it is answered.
struct Queued {
    append: Append,
    stamp: u64,
    since: Instant,
    sends: u8,
    answer: Answer,
    waiting: Arc<Waiting>,
}

impl Queued {
    fn answer(self, outcome: Result<AppendOutcome, EngineError>) {
        self.waiting.requests.fetch_sub(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(self.append.content.len(), Ordering::Relaxed);
        // A caller that has gone is no error.
        let _ = self.answer.send(outcome);
    }
}

impl Lane {
    /// A lane and the work behind it; the work ends when the lane is dropped and everything in it answered.
    pub fn new(dialer: Arc<Dialer>, index: Arc<Index>) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS_MAX);
        (Self { sender, waiting: Arc::default() }, Worker::new(dialer, index, receiver).run())
    }

    /// Queues an append. The order of calls is the order of effects. `stamp`: see [`Index::stamp`].
    pub fn send(
        &self,
        append: Append,
        stamp: u64,
    ) -> Result<oneshot::Receiver<Result<AppendOutcome, EngineError>>, EngineError> {
        let overloaded = || EngineError::Overloaded("redis: too many messages wait".to_owned());
        let bytes = append.content.len();
        // Concurrent calls may each see room for the last: the bounds are exact up to the number of threads.
        if self.waiting.requests.load(Ordering::Relaxed) >= QUEUE_REQUESTS_MAX
            || self.waiting.bytes.load(Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX
        {
            return Err(overloaded());
        }
        let (answer, receiver) = oneshot::channel();
        let permit = self.sender.try_reserve().map_err(|_| overloaded())?;
        self.waiting.requests.fetch_add(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        permit.send(Queued {
            append,
            stamp,
            since: Instant::now(),
            sends: 0,
            answer,
            waiting: Arc::clone(&self.waiting),
        });
        Ok(receiver)
    }
}

/// Which of `lanes` lanes a conversation goes through. Ids are hashes: any of their bytes spreads them.
pub fn lane_of(conv: ConvId, lanes: usize) -> usize {
    usize::from(conv.as_bytes()[0]) % lanes
}
