//! What this process uses, as the kernel counts it.

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

/// `/proc` counts in 1/100 s (`USER_HZ`, fixed by the kernel's interface on every machine we build
/// for; proc_pid_stat(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// `None` where there is no `/proc`.
pub(super) fn usage() -> Option<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse(&stat, &status)
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The second field is the name in brackets and may hold anything; the third comes after the last
    // bracket. utime and stime are the 14th and 15th, num_threads is the 20th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let resident_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(Usage {
        resident_bytes: resident_kib * 1_024,
        cpu_seconds: (field(14)? + field(15)?) as f64 / TICKS_PER_SECOND,
        threads: field(20)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_shifts_nothing() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 12 0 99";
        let status = "Name:\tx\nVmRSS:\t  2048 kB\nThreads:\t12\n";
        let expected = Usage { resident_bytes: 2 << 20, cpu_seconds: 2.0, threads: 12 };
        assert_eq!(parse(stat, status), Some(expected));
    }
}
