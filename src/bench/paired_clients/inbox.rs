//! What one client receives, judged as it comes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::super::correctness::Correctness;
use super::super::delivery_checker::DeliveryChecker;
use crate::client::ReceivedPush;
use crate::protocol::Push;

/// Shared by the connection's reading task, which judges each push, and the pair's task, which
/// says what to expect.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Present once the conversation is open.
    checker: Option<DeliveryChecker>,
    /// Messages that came before anything was open.
    early: u64,
    /// The server replaced the stream: it lost data and said so.
    was_reset: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs on the reading task.
    pub(super) fn received(&self, received: &ReceivedPush) {
        let mut state = self.lock();
        let settled = match (&received.push, &mut state.checker) {
            (Push::Msg(push), Some(checker)) => checker.delivered(push, received.received_at),
            (Push::Msg(_), None) => {
                state.early += 1;
                false
            }
            (Push::Reset(_), _) => {
                state.was_reset = true;
                true
            }
            // Best effort by the protocol, and no part of this workload.
            (Push::Acked(_) | Push::Presence(_) | Push::Listed(_) | Push::Notice(_), _) => false,
        };
        drop(state);
        if settled {
            self.settled.notify_one();
        }
    }

    /// The conversation is open from here on.
    pub(super) fn begin(&self, checker: DeliveryChecker) {
        self.lock().checker = Some(checker);
    }

    /// Tells the checker something; nothing before the conversation is open.
    pub(super) fn with<T: Default>(&self, tell: impl FnOnce(&mut DeliveryChecker) -> T) -> T {
        self.lock().checker.as_mut().map(tell).unwrap_or_default()
    }

    /// Whether the server replaced the stream.
    pub(super) fn was_reset(&self) -> bool {
        self.lock().was_reset
    }

    /// Waits until everything expected was delivered; `false` when it takes longer than `wait`.
    pub(super) async fn settle(&self, wait: Duration) -> bool {
        let settling = async {
            while !self.with(|checker| checker.is_settled()) && !self.was_reset() {
                self.settled.notified().await;
            }
        };
        tokio::time::timeout(wait, settling).await.is_ok()
    }

    /// The counts at the end of the run.
    pub(super) fn finish(&self) -> Correctness {
        let state = self.lock();
        let mut counts = state.checker.as_ref().map(DeliveryChecker::finish).unwrap_or_default();
        counts.misrouted += state.early;
        counts
    }
}
