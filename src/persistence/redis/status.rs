//! What this node last saw of the server, for readiness and for the durability class.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::facts::Facts;
use crate::model::Durability;
use crate::persistence::EngineError;

/// A node whose clock is further off than this is not ready.
const SKEW_MAX: Duration = Duration::from_secs(2);

/// Shared by everything that talks to the server.
#[derive(Debug, Default)]
pub struct Status(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    facts: Option<Facts>,
    down: Option<String>,
    /// Clock of the server minus ours, ms.
    ahead_ms: i64,
}

impl Status {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is a single assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server was asked anew. A class below the one before is logged.
    pub fn found(&self, facts: Facts) {
        let mut state = self.state();
        if let Some(before) = &state.facts
            && !facts.durability.satisfies(before.durability)
        {
            tracing::error!(
                before = %before.durability, now = %facts.durability,
                "redis: acknowledged messages survive less than before; {}", facts.advice
            );
        }
        state.facts = Some(facts);
    }

    /// What was found last.
    pub fn facts(&self) -> Option<Facts> {
        self.state().facts.clone()
    }

    /// The class as found last.
    pub fn durability(&self) -> Durability {
        self.state().facts.as_ref().map_or(Durability::NONE, |facts| facts.durability)
    }

    /// The server answers.
    pub fn up(&self) {
        if let Some(reason) = self.state().down.take() {
            tracing::info!(%reason, "redis: connected again");
        }
    }

    /// The server does not answer.
    pub fn down(&self, reason: String) {
        let mut state = self.state();
        if state.down.is_none() {
            tracing::warn!(%reason, "redis: the connection is down");
        }
        state.down = Some(reason);
    }

    /// Why it does not answer; `None` while it does.
    pub fn down_reason(&self) -> Option<String> {
        self.state().down.clone()
    }

    /// The clock of the server minus ours.
    pub fn saw_clock(&self, ahead_ms: i64) {
        self.state().ahead_ms = ahead_ms;
    }

    /// The clock of the server minus ours, ms.
    pub fn ahead_ms(&self) -> i64 {
        self.state().ahead_ms
    }

    /// The same where it is too much.
    pub fn clock_skew_ms(&self) -> Option<i64> {
        let ahead_ms = self.ahead_ms();
        (u128::from(ahead_ms.unsigned_abs()) > SKEW_MAX.as_millis()).then_some(ahead_ms)
    }

    /// `Err` with the reason when writes cannot be taken now.
    pub fn health(&self) -> Result<(), EngineError> {
        let state = self.state();
        if let Some(reason) = &state.down {
            return Err(super::failure::down(reason));
        }
        if state.facts.as_ref().is_some_and(|facts| facts.is_replica) {
            return Err(EngineError::ReadOnly(
                "redis: the server is a replica; set REDIS_URL to its primary".to_owned(),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_beyond_the_bound_in_both_directions() {
        let status = Status::default();
        for (ahead_ms, is_off) in [(0, false), (2_000, false), (2_001, true), (-2_001, true)] {
            status.saw_clock(ahead_ms);
            assert_eq!(status.clock_skew_ms(), is_off.then_some(ahead_ms));
        }
        assert!(status.health().is_ok(), "it takes writes all the same");
    }
}
