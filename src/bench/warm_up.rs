//! When a server is warm: two windows in a row are alike.

use std::time::Duration;

use super::recorder::Interval;

/// Of two windows that are alike, neither the median latency nor the rate differs by more than this share.
const DIFFERENCE_MAX: f64 = 0.1;

/// Samples that a window needs to be compared.
const SAMPLES_MIN: u64 = 50;

/// How long a window is.
pub const WINDOW: Duration = Duration::from_secs(1);

/// Whether the last two windows that are over are alike, by one latency. `done`: how long the warm-up is under way; the window
/// that has just begun is left out.
pub fn is_warm(intervals: &[Interval], latency: &str, done: Duration) -> bool {
    let over = intervals
        .iter()
        .filter(|interval| interval.name == latency && interval.start + interval.width <= done);
    let over: Vec<_> = over.collect();
    let [.., one, other] = over.as_slice() else { return false };
    let is_next = other.start == one.start + one.width;
    let counts = [one, other].map(|window| window.histogram.len());
    let medians = [one, other].map(|window| window.histogram.value_at_quantile(0.5) as f64);
    is_next
        && counts.iter().all(|&count| count >= SAMPLES_MIN)
        && alike(counts.map(|count| count as f64))
        && alike(medians)
}

fn alike([one, other]: [f64; 2]) -> bool {
    (one - other).abs() <= DIFFERENCE_MAX * one.max(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::recorder::new_histogram;

    fn windows(medians_us: &[u64], count: u64) -> Vec<Interval> {
        let window = |(start, &us): (u64, &u64)| {
            let mut histogram = new_histogram();
            (0..count).for_each(|_| histogram.record(us * 1_000).unwrap());
            let start = Duration::from_secs(start);
            Interval { start, width: WINDOW, name: "write".to_owned(), histogram }
        };
        (0..).zip(medians_us).map(window).collect()
    }

    #[test]
    fn two_windows_in_a_row_must_be_alike() {
        let warm = |medians_us: &[u64], count, done_s| {
            is_warm(&windows(medians_us, count), "write", Duration::from_secs(done_s))
        };
        assert!(warm(&[900, 400, 300, 310], 100, 4));
        assert!(!warm(&[900, 400, 300, 310], 100, 3), "the last one is not over");
        assert!(!warm(&[900, 400, 300], 100, 3));
        assert!(!warm(&[300, 300], 10, 2), "too few to tell");
        assert!(!warm(&[300], 100, 9));
        assert!(!is_warm(&windows(&[300, 300], 100), "read", Duration::from_secs(9)));
    }
}
