//! The wall clock, in the unit of the protocol, and the clocks of CPU time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// What is added to this machine's clock, ms.
static OFFSET_MS: AtomicI64 = AtomicI64::new(0);

/// From now on this process believes that the machine's clock is `offset_ms` behind what it is: for tests of nodes whose clocks disagree.
pub fn set_offset(offset_ms: i64) {
    OFFSET_MS.store(offset_ms, Ordering::Relaxed);
}

/// Milliseconds since 1970 UTC; 0 on a machine that believes to be before it.
pub fn unix_ms() -> u64 {
    since_1970().as_millis() as u64
}

/// Microseconds since 1970 UTC.
pub fn unix_us() -> u64 {
    since_1970().as_micros() as u64
}

/// CPU time of this process so far, user and system, ended threads included; to the ns, where `/proc` counts in 10 ms.
pub fn process_cpu() -> Duration {
    cpu(ClockId::ProcessCPUTime)
}

/// CPU time of this thread so far.
pub fn thread_cpu() -> Duration {
    cpu(ClockId::ThreadCPUTime)
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let offset_ms = OFFSET_MS.load(Ordering::Relaxed);
    let offset = Duration::from_millis(offset_ms.unsigned_abs());
    if offset_ms < 0 { now.saturating_sub(offset) } else { now.saturating_add(offset) }
}
