//! What an engine last saw of its service, for readiness and for the durability class.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::EngineError;
use crate::clock;
use crate::model::{Durability, Level};

/// A node whose clock is further off than this is not ready.
pub const SKEW_MAX: Duration = Duration::from_secs(2);

/// What the service says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What an acknowledged message survives.
    pub durability: Durability,
    /// Why it is not more, and what to change; empty where there is nothing.
    pub advice: String,
    /// Why it takes no writes at all, and what to do.
    pub refusal: Option<&'static str>,
}

/// Shared by everything that talks to the service.
#[derive(Debug)]
pub struct Status {
    engine: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    found: Option<Found>,
    down: Option<String>,
    /// Clock of the service minus ours, ms.
    ahead_ms: i64,
}

impl Status {
    /// Nothing is known yet. `engine`: who it is that tells of it in logs and errors.
    pub fn new(engine: &'static str) -> Self {
        Self { engine, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is a single assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service was asked anew. A class below the one before is logged.
    pub fn found(&self, found: Found) {
        let mut state = self.state();
        if let Some(before) = &state.found
            && !found.durability.satisfies(before.durability)
        {
            tracing::error!(
                engine = self.engine, before = %before.durability, now = %found.durability,
                "acknowledged messages survive less than before; {}", found.advice
            );
        }
        state.found = Some(found);
    }

    /// What to change for a stronger class; empty where there is nothing.
    pub fn advice(&self) -> String {
        self.state().found.as_ref().map(|found| found.advice.clone()).unwrap_or_default()
    }

    /// The class as found last.
    pub fn durability(&self) -> Durability {
        self.state().found.as_ref().map_or(Durability::NONE, |found| found.durability)
    }

    /// The service answers.
    pub fn up(&self) {
        if let Some(reason) = self.state().down.take() {
            tracing::info!(engine = self.engine, %reason, "connected again");
        }
    }

    /// The service does not answer.
    pub fn down(&self, reason: String) {
        let mut state = self.state();
        if state.down.is_none() {
            tracing::warn!(engine = self.engine, %reason, "the connection is down");
        }
        state.down = Some(reason);
    }

    /// Why it does not answer; `None` while it does.
    pub fn down_reason(&self) -> Option<String> {
        self.state().down.clone()
    }

    /// The clock of the service minus ours.
    pub fn saw_clock(&self, ahead_ms: i64) {
        self.state().ahead_ms = ahead_ms;
    }

    /// The clock of the service minus ours, ms.
    pub fn ahead_ms(&self) -> i64 {
        self.state().ahead_ms
    }

    /// The same where it is too much.
    pub fn clock_skew_ms(&self) -> Option<i64> {
        skew_ms(self.ahead_ms())
    }

    /// `Err` with the reason when writes cannot be taken now.
    pub fn health(&self) -> Result<(), EngineError> {
        let state = self.state();
        if let Some(reason) = &state.down {
            let text = format!("{}: not connected: {reason}", self.engine);
            return Err(EngineError::Unavailable(text));
        }
        match state.found.as_ref().and_then(|found| found.refusal) {
            Some(refusal) => Err(EngineError::ReadOnly(format!("{}: {refusal}", self.engine))),
            None => Ok(()),
        }
    }
}

fn skew_ms(ahead_ms: i64) -> Option<i64> {
    (u128::from(ahead_ms.unsigned_abs()) > SKEW_MAX.as_millis()).then_some(ahead_ms)
}

/// What a service says of itself to who only looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// What an acknowledged message would survive.
    pub durability: Durability,
    /// Why it is not more, and what to change; empty where there is nothing.
    pub advice: String,
    /// Why it would take no writes at all, and what to do.
    pub refusal: Option<&'static str>,
    /// Its clock minus ours, ms; `None` where it has none of its own.
    pub ahead_ms: Option<i64>,
}

impl Examined {
    /// From what was found, and the clock there, read between `asked_ms` and now.
    pub fn new(found: Found, there_ms: i64, asked_ms: u64) -> Self {
        let Found { durability, advice, refusal } = found;
        let middle = i64::midpoint(asked_ms.cast_signed(), clock::unix_ms().cast_signed());
        Self { durability, advice, refusal, ahead_ms: Some(there_ms - middle) }
    }

    /// How far its clock is ahead of ours where that is too much.
    pub fn clock_skew_ms(&self) -> Option<i64> {
        self.ahead_ms.and_then(skew_ms)
    }

    /// Whether one copy cannot survive more.
    pub fn is_on_disk(&self) -> bool {
        self.durability.level == Level::Disk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_beyond_the_bound_in_both_directions() {
        let status = Status::new("test");
        for (ahead_ms, is_off) in [(0, false), (2_000, false), (2_001, true), (-2_001, true)] {
            status.saw_clock(ahead_ms);
            assert_eq!(status.clock_skew_ms(), is_off.then_some(ahead_ms));
        }
        assert!(status.health().is_ok(), "it takes writes all the same");
    }
}
