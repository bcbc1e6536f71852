//! What this process uses, as the kernel counts it.

use crate::clock::process_cpu;

/// A look at `/proc/self`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// Memory that is in RAM.
    pub(super) resident_bytes: u64,
    /// User and system time since the start.
    pub(super) cpu_seconds: f64,
    /// Threads now.
    pub(super) threads: u64,
}

/// `None` where there is no `/proc`.
pub(super) fn usage() -> Option<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let (resident_bytes, threads) = parse(&stat, &status)?;
    // Not the times in `stat`: their ticks of 10 ms are too coarse to tell two servers apart in a second.
    Some(Usage { resident_bytes, cpu_seconds: process_cpu().as_secs_f64(), threads })
}

/// Resident bytes and threads.
fn parse(stat: &str, status: &str) -> Option<(u64, u64)> {
    // The second field is the name in brackets and may hold anything; the third comes after the last
    // bracket. num_threads is the 20th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let threads = fields.nth(20 - 3)?.parse().ok()?;
    let resident_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some((resident_kib * 1_024, threads))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_shifts_nothing() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 12 0 99";
        let status = "Name:\tx\nVmRSS:\t  2048 kB\nThreads:\t12\n";
        assert_eq!(parse(stat, status), Some((2 << 20, 12)));
    }

    #[test]
    fn work_shows_in_microseconds() {
        let before = process_cpu();
        let mut worked = 0u64;
        while process_cpu() - before < std::time::Duration::from_micros(200) {
            worked = std::hint::black_box(worked + 1);
        }
        assert!(usage().unwrap().cpu_seconds > before.as_secs_f64());
    }
}
