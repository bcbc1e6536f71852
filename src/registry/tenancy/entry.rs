//! One of those in a roll.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest lease that is believed: that of the table of variables.
const LEASE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What a tenant says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What is the same after a restart.
    pub name: String,
    /// Which start of it.
    pub start: String,
    /// Counts on as long as it is there.
    pub beat: u64,
    /// How long it counts as running without a beat.
    pub lease_ms: u64,
    /// Why it is alone; empty when it is not.
    pub because: String,
    /// When it beat last, by its own clock; nobody asks for it, but older servers do.
    pub at_ms: u64,
    /// The order of asking. Of one name the last start that asked is the one that counts.
    #[serde(default)]
    pub since: u64,
    /// What it is.
    #[serde(default)]
    pub standing: Standing,
}

/// What a tenant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It runs.
    #[default]
    In,
    /// It wants to.
    Asking,
    /// It does not any more.
    Gone,
}

impl Entry {
    /// The same as one that is not there any more, also for servers that know nothing of standings: nobody waits for it.
    pub fn gone(self) -> Self {
        Self { lease_ms: 0, because: String::new(), standing: Standing::Gone, ..self }
    }

    /// How long it counts as running without a beat.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms).min(LEASE_MAX)
    }

    /// Whether it is of the same start of the same node.
    pub fn is_of(&self, other: &Self) -> bool {
        self.name == other.name && self.start == other.start
    }

    /// Whether it was written after the other one, of the same name.
    pub fn is_newer(&self, other: &Self) -> bool {
        self.age() > other.age()
    }

    fn age(&self) -> (u64, &str, u64) {
        (self.since, &self.start, self.beat)
    }

    /// Whether it asked before the other one did.
    pub fn is_before(&self, other: &Self) -> bool {
        (self.since, &self.start) < (other.since, &other.start)
    }
}
