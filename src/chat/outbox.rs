//! What waits to be written to one session's socket: a queue bounded in bytes.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::distribution::Stage;
use crate::protocol::CloseCode;

/// One text frame, encoded once and shared by everyone who gets it.
pub type Frame = Utf8Bytes;

/// A queue of frames from the chat to one socket.
///
/// Full means that the reader is too slow: the outbox closes itself with [`CloseCode::SLOW`] and
/// takes nothing more. Nothing is dropped silently: a session either gets every frame or is closed.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    changed: Notify,
    drained: Notify,
    bytes_max: usize,
    low_water_bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// Bytes queued or taken and not yet written.
    bytes: usize,
    taken_bytes: usize,
    /// When the first of `frames` came.
    since: Option<Instant>,
    /// When the first of those taken came.
    taken_since: Option<Instant>,
    closed: Option<CloseCode>,
}

/// What [`Outbox::take`] gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Frames were moved to the caller; write them, then call [`Outbox::wrote`].
    Frames,
    /// Nothing is left and the session ends with this code.
    Closed(CloseCode),
}

impl Outbox {
    /// A queue of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            changed: Notify::new(),
            drained: Notify::new(),
            bytes_max,
            low_water_bytes: bytes_max / 4,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No code under this lock can panic half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame; `false` when the outbox is closed, or is now because this was too much.
    pub fn push(&self, frame: Frame) -> bool {
        self.push_to(self.queue(), frame)
    }

    /// Queues a frame only if `is_true` while nobody else can queue one; `false` when it is not. Of a closed outbox nobody asks.
    pub fn push_if(&self, frame: Frame, is_true: impl FnOnce() -> bool) -> bool {
        let queue = self.queue();
        let may = queue.closed.is_some() || is_true();
        if may {
            self.push_to(queue, frame);
        }
        may
    }

    fn push_to(&self, mut queue: MutexGuard<'_, Queue>, frame: Frame) -> bool {
        if queue.closed.is_some() {
            return false;
        }
        if queue.bytes + frame.len() > self.bytes_max {
            queue.closed = Some(CloseCode::SLOW);
            queue.frames.clear();
            self.drained.notify_waiters();
            metrics::counter!("chatctl_slow_readers_total").increment(1);
        } else {
            queue.bytes += frame.len();
            queue.since.get_or_insert_with(Instant::now);
            queue.frames.push_back(frame);
        }
        let open = queue.closed.is_none();
        drop(queue);
        self.changed.notify_one();
        open
    }

    /// Ends the session with `code` after what is queued; the first close wins.
    pub fn close(&self, code: CloseCode) {
        self.queue().closed.get_or_insert(code);
        self.changed.notify_one();
        self.drained.notify_waiters();
    }

    /// The code of the close, once there is one.
    pub fn closed(&self) -> Option<CloseCode> {
        self.queue().closed
    }

    /// Waits for frames and moves them to the end of `frames`; queued frames come before a close,
    /// except that a reader too slow gets none of them. One caller at a time; cancelling loses nothing.
    pub async fn take(&self, frames: &mut Vec<Frame>) -> Taken {
        loop {
            if let Some(taken) = self.try_take(frames) {
                return taken;
            }
            self.changed.notified().await;
        }
    }

    /// The same without waiting.
    pub fn try_take(&self, frames: &mut Vec<Frame>) -> Option<Taken> {
        let mut queue = self.queue();
        if !queue.frames.is_empty() {
            frames.extend(queue.frames.drain(..));
            // An idle session keeps no room for a burst that has passed.
            queue.frames.shrink_to(16);
            queue.taken_bytes = queue.bytes;
            let since = queue.since.take();
            queue.taken_since = queue.taken_since.or(since);
            return Some(Taken::Frames);
        }
        queue.closed.map(Taken::Closed)
    }

    /// Waits until the session ends with a code that waits for nobody: for a writer that is stuck.
    pub async fn until_cut(&self) -> CloseCode {
        loop {
            self.until(|queue| queue.closed.is_some_and(CloseCode::is_at_once)).await;
            if let Some(code) = self.closed() {
                return code;
            }
        }
    }

    /// Bytes that are not in the socket yet.
    pub fn waiting_bytes(&self) -> usize {
        self.queue().bytes
    }

    /// What was taken is written: its bytes no longer count.
    pub fn wrote(&self) {
        let mut queue = self.queue();
        queue.bytes -= queue.taken_bytes;
        queue.taken_bytes = 0;
        let since = queue.taken_since.take();
        drop(queue);
        if let Some(since) = since {
            Stage::Written.record(since.elapsed());
        }
        self.drained.notify_waiters();
    }

    /// Waits until little is left to write (or the outbox is closed): back-pressure for whoever makes large replies.
    pub async fn until_low(&self) {
        self.until(|queue| queue.bytes <= self.low_water_bytes || queue.closed.is_some()).await;
    }

    async fn until(&self, reached: impl Fn(&Queue) -> bool) {
        let mut drained = pin!(self.drained.notified());
        loop {
            // Registered before looking, so that no change between the two is missed.
            drained.as_mut().enable();
            if reached(&self.queue()) {
                return;
            }
            drained.as_mut().await;
            drained.set(self.drained.notified());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_is_closed_and_nothing_is_queued_after() {
        let outbox = Outbox::new(10);
        assert!(outbox.push("12345".into()));
        assert!(outbox.push("12345".into()));
        assert!(!outbox.push("6".into()));
        let mut frames = Vec::new();
        assert_eq!(outbox.try_take(&mut frames), Some(Taken::Closed(CloseCode::SLOW)));
        assert!(frames.is_empty());
        assert!(!outbox.push("7".into()));
    }

    #[test]
    fn queued_frames_come_before_the_close() {
        let outbox = Outbox::new(10);
        outbox.push("one".into());
        outbox.close(CloseCode::SHUTDOWN);
        outbox.close(CloseCode::NO_PONG);
        let mut frames = Vec::new();
        assert_eq!(outbox.try_take(&mut frames), Some(Taken::Frames));
        assert_eq!(frames, vec![Frame::from("one")]);
        assert_eq!(outbox.try_take(&mut frames), Some(Taken::Closed(CloseCode::SHUTDOWN)));
    }

    #[tokio::test]
    async fn bytes_count_until_they_are_written() {
        let outbox = Outbox::new(8);
        outbox.push("12345".into());
        let mut frames = Vec::new();
        outbox.take(&mut frames).await;
        assert!(!outbox.push("6789".into()), "five taken and unwritten, four more");
        outbox.until_low().await;
    }
}
