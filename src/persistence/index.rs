//! What a node knows of the indices of users: which entries are there, and the order in which conversations become somebody's.

use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use super::lineage::Life;
use crate::clock;
use crate::model::{ConvId, UserName};

/// Entries that this node remembers to be there; a forgotten one is written again, which changes nothing.
const KNOWN_MAX: usize = 100_000;

/// What this node knows to be in the index.
pub struct Index {
    known: Cache<(ConvId, UserName), u64>,
    stamp: AtomicU64,
}

impl Default for Index {
    fn default() -> Self {
        Self { known: Cache::new(KNOWN_MAX), stamp: AtomicU64::new(0) }
    }
}

impl Index {
    /// A time in µs that rises from call to call: the order in which conversations become somebody's.
    pub fn stamp(&self, ahead_ms: i64) -> u64 {
        let now = clock::unix_us().saturating_add_signed(ahead_ms.saturating_mul(1_000));
        let before = self
            .stamp
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(now.max(last + 1)));
        now.max(before.unwrap_or_default() + 1)
    }

    /// Whether the entry must be written first. What an earlier life of the store held says nothing.
    pub fn is_missing(&self, conv: ConvId, user: &UserName, life: &Life) -> bool {
        self.known.get(&(conv, user.clone())) != Some(life.generation)
    }

    /// The entry is there.
    pub fn note(&self, conv: ConvId, user: &UserName, life: &Life) {
        self.known.insert((conv, user.clone()), life.generation);
    }
}
