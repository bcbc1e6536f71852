//! The wall clock, in the unit of the protocol.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 UTC; 0 on a machine that believes to be before it.
pub fn unix_ms() -> u64 {
    since_1970().as_millis() as u64
}

/// Microseconds since 1970 UTC.
pub fn unix_us() -> u64 {
    since_1970().as_micros() as u64
}

fn since_1970() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
