//! The index of a user's conversations: a hint that may hold too much, never too little.
//!
//! It lives in another slot than the conversation, so no script can change both. It is written *before* the call
//! that makes a conversation somebody's, on the same connection; what it names and is not theirs is
//! filtered out when it is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use redis::Cmd;

use super::keys::Keys;
use super::lineage::Life;
use crate::clock;
use crate::model::{ConvId, Place, UserName};

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

/// Writes the entry unless it is there: 1 when it was not.
pub fn add(keys: &Keys, user: &UserName, conv: ConvId, place: &Place, stamp: u64) -> Cmd {
    zadd(keys, user, conv, place, stamp, &["NX"])
}

/// Moves an entry that an earlier, refused call had written to where it belongs.
pub fn raise(keys: &Keys, user: &UserName, conv: ConvId, place: &Place, stamp: u64) -> Cmd {
    zadd(keys, user, conv, place, stamp, &["XX", "GT"])
}

fn zadd(
    keys: &Keys,
    user: &UserName,
    conv: ConvId,
    place: &Place,
    stamp: u64,
    how: &[&str],
) -> Cmd {
    let mut cmd = redis::cmd("ZADD");
    cmd.arg(keys.index(user)).arg(how).arg(stamp).arg(member(conv, place));
    cmd
}

/// `conv place`.
fn member(conv: ConvId, place: &Place) -> String {
    let place = serde_json::to_string(place)
        .unwrap_or_else(|_| unreachable!("a place has only string keys"));
    format!("{conv} {place}")
}

/// The inverse.
pub fn entry(member: &str) -> Option<(ConvId, Arc<Place>)> {
    let (conv, place) = member.split_once(' ')?;
    Some((ConvId::parse(conv)?, Arc::new(serde_json::from_str(place).ok()?)))
}
