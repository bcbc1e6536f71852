//! What one client receives, judged as it comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::super::correctness::Correctness;
use super::super::delivery_checker::DeliveryChecker;
use crate::client::ReceivedPush;
use crate::model::{Message, UserName};
use crate::protocol::{MsgPush, Push};

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
    /// Counts connections; only the newest one is heard.
    connection: u64,
    /// What it brought before the reply to its `open` was taken in.
    held: Option<Vec<ReceivedPush>>,
    /// The server replaced the stream: it lost data and said so.
    was_reset: bool,
}

impl State {
    /// Takes a push in; whether nothing is waited for any more.
    fn take(&mut self, received: &ReceivedPush) -> bool {
        match (&received.push, &mut self.checker) {
            (Push::Msg(push), Some(checker)) => checker.delivered(push, received.received_at),
            (Push::Msg(_), None) => {
                self.early += 1;
                false
            }
            (Push::Reset(_), _) => {
                self.was_reset = true;
                true
            }
            // Best effort by the protocol, and no part of this workload.
            (
                Push::Acked(_)
                | Push::Presence(_)
                | Push::Listed(_)
                | Push::Members(_)
                | Push::Removed(_)
                | Push::Notice(_),
                _,
            ) => false,
        }
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There will be another connection: its number. What it brings is held back until it is [begun](Self::begin) with or
    /// [gone on](Self::go_on) with; what an earlier one still brings is not heard.
    pub(super) fn hold(&self) -> u64 {
        let mut state = self.lock();
        state.connection += 1;
        state.held = Some(Vec::new());
        state.connection
    }

    /// Runs on the reading task of `connection`.
    pub(super) fn received(&self, connection: u64, received: ReceivedPush) {
        let mut state = self.lock();
        if connection != state.connection {
            return;
        }
        let settled = match &mut state.held {
            Some(held) => {
                held.push(received);
                false
            }
            None => state.take(&received),
        };
        drop(state);
        if settled {
            self.settled.notify_one();
        }
    }

    /// The conversation is open from here on; what came before that is for nobody.
    pub(super) fn begin(&self, checker: DeliveryChecker) {
        let mut state = self.lock();
        for early in state.held.take().unwrap_or_default() {
            state.take(&early);
        }
        state.checker = Some(checker);
    }

    /// The conversation is open again: `missed` are the messages since the last delivery, in their order, those of `user`, whose inbox it
    /// is, among them.
    pub(super) fn go_on(&self, user: &UserName, missed: &[Arc<Message>], received_at: Instant) {
        let mut state = self.lock();
        if let Some(checker) = &mut state.checker {
            let conv = checker.conv();
            for message in missed {
                match message.from == *user {
                    true => checker.own_stored(message.seq),
                    false => {
                        let push = MsgPush { conv, message: Arc::clone(message) };
                        checker.delivered(&push, received_at);
                    }
                }
            }
        }
        for received in state.held.take().unwrap_or_default() {
            state.take(&received);
        }
        drop(state);
        self.settled.notify_one();
    }

    /// The server lost data and said so.
    pub(super) fn reset(&self) {
        self.lock().was_reset = true;
        self.settled.notify_one();
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
