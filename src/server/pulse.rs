//! When a connection must be pinged, and when it is given up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ServerSettings;
use crate::protocol::CloseCode;

/// What the reading half of a connection tells the writing half. Both run in one task, but the task
/// may move between threads.
#[derive(Debug)]
pub(super) struct Pulse {
    started: Instant,
    heard_ms: AtomicU64,
    greeted: AtomicBool,
    pong: Mutex<Option<Bytes>>,
    pong_wanted: Notify,
}

impl Pulse {
    pub(super) fn start(now: Instant) -> Self {
        Self {
            started: now,
            heard_ms: AtomicU64::new(0),
            greeted: AtomicBool::new(false),
            pong: Mutex::new(None),
            pong_wanted: Notify::new(),
        }
    }

    /// Bytes came in.
    pub(super) fn heard(&self, now: Instant) {
        let elapsed_ms = (now - self.started).as_millis() as u64;
        self.heard_ms.store(elapsed_ms, Ordering::Relaxed);
    }

    /// `hello` was accepted.
    pub(super) fn greeted(&self) {
        self.greeted.store(true, Ordering::Relaxed);
    }

    /// The client pinged. Only the newest ping needs an answer (RFC 6455 §5.5.3).
    pub(super) fn pinged(&self, payload: Bytes) {
        *self.pong.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
        self.pong_wanted.notify_one();
    }

    /// Waits for a ping to answer.
    pub(super) async fn pong(&self) -> Bytes {
        loop {
            let pong = self.pong.lock().unwrap_or_else(PoisonError::into_inner).take();
            match pong {
                Some(pong) => return pong,
                None => self.pong_wanted.notified().await,
            }
        }
    }
}

/// The connection's clock: one timer for everything that is due at some time.
#[derive(Debug)]
pub(super) struct Schedule<'a> {
    pulse: &'a Pulse,
    settings: &'a ServerSettings,
    next_ping: Instant,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// A ping.
    Ping,
    /// It is given up.
    Close(CloseCode),
}

impl<'a> Schedule<'a> {
    pub(super) fn new(pulse: &'a Pulse, settings: &'a ServerSettings) -> Self {
        Self { pulse, settings, next_ping: pulse.started + settings.ping }
    }

    /// When to ask next. Earlier than needed after something was heard, never later.
    pub(super) fn next(&self) -> Instant {
        let next = self.next_ping.min(self.silent_at());
        self.hello_at().map_or(next, |hello| next.min(hello))
    }

    /// What is due now; a ping is then due again after its interval.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        if self.hello_at().is_some_and(|hello| now >= hello) {
            return Due::Close(CloseCode::NO_HELLO);
        }
        if now >= self.silent_at() {
            return Due::Close(CloseCode::NO_PONG);
        }
        if now >= self.next_ping {
            self.next_ping = now + self.settings.ping;
            return Due::Ping;
        }
        Due::Nothing
    }

    fn hello_at(&self) -> Option<Instant> {
        let greeted = self.pulse.greeted.load(Ordering::Relaxed);
        (!greeted).then(|| self.pulse.started + self.settings.hello)
    }

    fn silent_at(&self) -> Instant {
        let heard = Duration::from_millis(self.pulse.heard_ms.load(Ordering::Relaxed));
        self.pulse.started + heard + self.settings.ping + self.settings.pong_grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_connection_is_pinged_and_given_up() {
        let settings = ServerSettings {
            ping: 25 * SECOND,
            pong_grace: 10 * SECOND,
            hello: 10 * SECOND,
            ..ServerSettings::default()
        };
        let start = Instant::now();
        let pulse = Pulse::start(start);
        let mut schedule = Schedule::new(&pulse, &settings);
        assert_eq!(schedule.next(), start + 10 * SECOND);
        assert_eq!(schedule.due(start + 10 * SECOND), Due::Close(CloseCode::NO_HELLO));
        pulse.heard(start + 5 * SECOND);
        pulse.greeted();
        assert_eq!(schedule.due(start + 10 * SECOND), Due::Nothing);
        assert_eq!(schedule.next(), start + 25 * SECOND);
        assert_eq!(schedule.due(start + 25 * SECOND), Due::Ping);
        assert_eq!(schedule.due(start + 25 * SECOND), Due::Nothing);
        assert_eq!(schedule.next(), start + 40 * SECOND);
        assert_eq!(schedule.due(start + 40 * SECOND), Due::Close(CloseCode::NO_PONG));
        pulse.heard(start + 35 * SECOND);
        assert_eq!(schedule.due(start + 40 * SECOND), Due::Nothing);
    }
}
