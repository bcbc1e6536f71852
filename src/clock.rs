//! The wall clock, in the unit of the protocol, and the clocks of CPU time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

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
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
