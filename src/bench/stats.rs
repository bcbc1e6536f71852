//! Frozen numbers of one latency.

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A percentile that reports show, with the least number of samples that it may be read from:
/// 10 / (1 − q), so that at least ten of them lie beyond it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentile {
    quantile: f64,
    /// Fewer samples than this say nothing about it.
    pub samples_min: u64,
}

/// The median.
pub const P50: Percentile = Percentile { quantile: 0.5, samples_min: 20 };
/// 90 %.
pub const P90: Percentile = Percentile { quantile: 0.9, samples_min: 100 };
/// 99 %.
pub const P99: Percentile = Percentile { quantile: 0.99, samples_min: 1_000 };
/// 99.9 %.
pub const P999: Percentile = Percentile { quantile: 0.999, samples_min: 10_000 };
/// 99.99 %.
pub const P9999: Percentile = Percentile { quantile: 0.9999, samples_min: 100_000 };

/// The numbers of one latency, µs. A percentile that has too few samples is absent; percentiles
/// come from one merged histogram and are never averaged.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LatencyStats {
    /// Samples.
    pub count: u64,
    /// The least.
    pub min_us: Option<f64>,
    /// The mean.
    pub mean_us: Option<f64>,
    /// The standard deviation.
    pub stdev_us: Option<f64>,
    /// Median; from 20 samples on.
    pub p50_us: Option<f64>,
    /// From 100 samples on.
    pub p90_us: Option<f64>,
    /// From 1 000 samples on.
    pub p99_us: Option<f64>,
    /// From 10 000 samples on.
    pub p999_us: Option<f64>,
    /// From 100 000 samples on.
    pub p9999_us: Option<f64>,
    /// The most.
    pub max_us: Option<f64>,
}

impl LatencyStats {
    /// Freezes a histogram of nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let count = histogram.len();
        let some = |ns: f64| (count > 0).then(|| rounded_us(ns));
        let percentile = |Percentile { quantile, samples_min }: Percentile| {
            (count >= samples_min).then(|| rounded_us(histogram.value_at_quantile(quantile) as f64))
        };
        Self {
            count,
            min_us: some(histogram.min() as f64),
            mean_us: some(histogram.mean()),
            stdev_us: some(histogram.stdev()),
            p50_us: percentile(P50),
            p90_us: percentile(P90),
            p99_us: percentile(P99),
            p999_us: percentile(P999),
            p9999_us: percentile(P9999),
            max_us: some(histogram.max() as f64),
        }
    }

    /// The percentiles and their names, absent ones included.
    pub fn percentiles(&self) -> [(&'static str, Option<f64>); 5] {
        [
            ("p50", self.p50_us),
            ("p90", self.p90_us),
            ("p99", self.p99_us),
            ("p999", self.p999_us),
            ("p9999", self.p9999_us),
        ]
    }
}

/// The middle of the values; `None` of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    middle(&sorted)
}

/// The same of values that are sorted.
pub fn middle(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().saturating_sub(1) / 2)?;
    Some((lower + upper) / 2.0)
}

/// ns as µs, to a tenth: finer than the histograms' buckets are.
pub fn rounded_us(ns: f64) -> f64 {
    (ns / 100.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(count: u64) -> LatencyStats {
        let mut histogram = Histogram::new(3).unwrap();
        (1..=count).for_each(|n| histogram.record(n * 1_000).unwrap());
        LatencyStats::of(&histogram)
    }

    #[test]
    fn no_percentile_comes_from_too_few_samples() {
        assert_eq!(stats(0), LatencyStats::default());
        let names = |count| {
            let present = stats(count).percentiles().into_iter().filter(|(_, us)| us.is_some());
            present.map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert!(names(19).is_empty());
        assert_eq!(names(99), ["p50"]);
        assert_eq!(names(999), ["p50", "p90"]);
        assert_eq!(names(1_000), ["p50", "p90", "p99"]);
        assert_eq!(names(10_000), ["p50", "p90", "p99", "p999"]);
        assert_eq!(stats(19).max_us, Some(19.0));
        for (quantile, samples_min) in
            [P50, P90, P99, P999, P9999].map(|p| (p.quantile, p.samples_min))
        {
            assert_eq!((10.0 / (1.0 - quantile)).round() as u64, samples_min);
        }
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let stats = stats(10_000);
        let near = |us: Option<f64>, expected: f64| {
            let us = us.unwrap();
            assert!((us / expected - 1.0).abs() < 0.002, "{us} is not near {expected}");
        };
        near(stats.p50_us, 5_000.0);
        near(stats.p99_us, 9_900.0);
        near(stats.mean_us, 5_000.5);
        near(stats.max_us, 10_000.0);
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }
}
