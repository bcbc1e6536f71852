//! What is fuzzed: one function for each kind of bytes that come from outside, which takes any bytes, never panics on what they say, and panics where
//! what became of them breaks a rule.
//!
//! The binaries of `fuzz/` hand them what libFuzzer makes up. Their twins (`tests.rs`) give the same functions the same corpus, and what
//! proptest makes of it, in every run of the tests. A function that needs what only its folder sees stands there.

mod config;
mod cursor;
mod history;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;

pub use config::config;
pub use cursor::cursor;
pub use history::history;

pub use crate::distribution::fuzzing::hints;
pub use crate::identity::fuzzing::token;
pub use crate::persistence::cassandra::fuzzing::rows as cassandra_rows;
pub use crate::persistence::local::fuzzing::store as local_store;
pub use crate::persistence::redis::fuzzing::replies as redis_replies;
pub use crate::persistence::riak::fuzzing::objects as riak_objects;
pub use crate::server::fuzzing::{frame, socketio};

/// The first byte, and the rest; of nothing a zero.
pub(crate) fn split_first(input: &[u8]) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(&first, rest)| (first, rest))
}

/// Up to so many bytes as a number, and the rest.
pub(crate) fn split_number(input: &[u8]) -> (u64, &[u8]) {
    let (bytes, rest) = input.split_at(input.len().min(8));
    (bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)), rest)
}
