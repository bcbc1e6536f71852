//! The way to the committer: a queue that is bounded and never blocks, and what the committer asks of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::request::Request;
use crate::clock;
use crate::persistence::EngineError;

/// Requests that may wait; above: `overloaded`.
const QUEUE_REQUESTS_MAX: usize = 16_384;
/// Content bytes that may wait; above: `overloaded`.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Where the committer's requests come from, and its time: a queue with the clocks of the machine, or a simulation.
pub trait Source {
    /// Waits for a request, and no longer than to a moment.
    fn next(&mut self, until: Option<Instant>) -> Result<Request, RecvTimeoutError>;

    /// A request that waits already.
    fn waiting(&mut self) -> Option<Request>;

    /// So many were taken, of so many content bytes.
    fn took(&mut self, requests: usize, bytes: usize);

    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The wall clock, µs since 1970.
    fn unix_us(&self) -> u64;
}

/// The way to the committer: bounded, never blocking.
pub struct Queue(Way);

enum Way {
    /// Its thread takes what waits.
    Thread { sender: Mutex<Sender<Request>>, waiting: Arc<Waiting> },
    /// It is done at once, by whoever asks.
    AtOnce(Mutex<AtOnce>),
}

type AtOnce = Box<dyn FnMut(Request) -> Result<(), EngineError> + Send>;

/// The committer's end of it.
pub struct Inbox {
    receiver: Receiver<Request>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// An empty queue.
pub fn queue() -> (Queue, Inbox) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let waiting = Arc::new(Waiting::default());
    let way = Way::Thread { sender: Mutex::new(sender), waiting: Arc::clone(&waiting) };
    (Queue(way), Inbox { receiver, waiting })
}

/// No queue: each request is done by `work` before [`Queue::send`] returns.
pub fn at_once(work: impl FnMut(Request) -> Result<(), EngineError> + Send + 'static) -> Queue {
    Queue(Way::AtOnce(Mutex::new(Box::new(work))))
}

impl Queue {
    /// Queues a request. The order of calls is the order of effects.
    pub fn send(&self, request: Request) -> Result<(), EngineError> {
        let (sender, waiting) = match &self.0 {
            Way::Thread { sender, waiting } => (sender, waiting),
            Way::AtOnce(work) => {
                return work.lock().unwrap_or_else(PoisonError::into_inner)(request);
            }
        };
        let bytes = request.bytes();
        // Under the lock, so that the bound is exact and the order is that of the calls.
        let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.requests.load(Ordering::Relaxed) >= QUEUE_REQUESTS_MAX
            || waiting.bytes.load(Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX
        {
            return Err(EngineError::Overloaded("the commit queue is full".to_owned()));
        }
        waiting.requests.fetch_add(1, Ordering::Relaxed);
        waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        sender.send(request).map_err(|_| stopped())
    }
}

/// It takes nothing any more.
pub fn stopped() -> EngineError {
    EngineError::Unavailable("the embedded engine has stopped".to_owned())
}

impl Source for Inbox {
    fn next(&mut self, until: Option<Instant>) -> Result<Request, RecvTimeoutError> {
        match until {
            Some(until) => {
                self.receiver.recv_timeout(until.saturating_duration_since(Instant::now()))
            }
            None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn waiting(&mut self) -> Option<Request> {
        self.receiver.try_recv().ok()
    }

    fn took(&mut self, requests: usize, bytes: usize) {
        self.waiting.requests.fetch_sub(requests, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_us(&self) -> u64 {
        clock::unix_us()
    }
}
