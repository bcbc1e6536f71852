//! Medians, and how far they may be from the truth: the expanded percentile bootstrap (Hesterberg 2015, "What Teachers
//! Should Know About the Bootstrap", section 5). Pure, and seeded, so that the same values give the same interval.
//!
//! The plain percentile interval is too narrow for few values: of 8 normal ones, 97.0 % of the intervals that say
//! 98.3 % held the true median, 99.2 % of the expanded ones; of 24 it was 97.7 % and 98.8 %.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::bench::stats::{median, middle};

/// Resamples behind an interval. With 4 000, some 18 lie beyond each end of a 98.3 % interval of 24 values.
const RESAMPLES: usize = 4_000;

/// A median, and the interval that the true one is in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Of the values.
    pub median: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How often such an interval holds the true median, 0 to 1.
    pub level: f64,
}

impl Estimate {
    /// The same of the reciprocal values.
    pub fn inverse(self) -> Self {
        let Self { median, low, high, level } = self;
        Self { median: 1.0 / median, low: 1.0 / high, high: 1.0 / low, level }
    }
}

/// The median of values that belong together one by one, like the ratios of pairs; `None` of none.
pub fn estimate_median(values: &[f64], level: f64, seed: u64) -> Option<Estimate> {
    let mut random = SmallRng::seed_from_u64(seed);
    let of_resample = |_| resampled_median(values, &mut random);
    let tail = tail(values.len(), level);
    let (low, high) = ends((0..RESAMPLES).map_while(of_resample).collect(), tail)?;
    Some(Estimate { median: median(values)?, low, high, level })
}

/// The median of `after` in units of that of `before`, which were not measured in pairs; `None` where one is empty or zero.
pub fn estimate_growth(before: &[f64], after: &[f64], level: f64, seed: u64) -> Option<Estimate> {
    let mut random = SmallRng::seed_from_u64(seed);
    let growth = |before: f64, after: f64| (before != 0.0).then(|| after / before);
    let of_resample = |_| {
        let before = resampled_median(before, &mut random)?;
        growth(before, resampled_median(after, &mut random)?)
    };
    let tail = tail(before.len().min(after.len()), level);
    let (low, high) = ends((0..RESAMPLES).map_while(of_resample).collect(), tail)?;
    Some(Estimate { median: growth(median(before)?, median(after)?)?, low, high, level })
}

fn resampled_median(values: &[f64], random: &mut SmallRng) -> Option<f64> {
    let drawn = |_| values.get(random.random_range(0..values.len())).copied();
    let mut resample: Vec<f64> = values.iter().filter_map(drawn).collect();
    resample.sort_by(f64::total_cmp);
    middle(&resample)
}

/// The quantiles that leave `tail` out on each side.
fn ends(mut medians: Vec<f64>, tail: f64) -> Option<(f64, f64)> {
    medians.sort_by(f64::total_cmp);
    let last = medians.len().checked_sub(1)?;
    let out = ((tail * last as f64).floor() as usize).min(last / 2);
    Some((*medians.get(out)?, *medians.get(last - out)?))
}

/// What an interval of `count` values leaves out on each side: as a t interval is wider than a normal one, and the
/// sample's own deviation is too small by √((n − 1)/n).
fn tail(count: usize, level: f64) -> f64 {
    let freedom = count.saturating_sub(1) as f64;
    if freedom < 1.0 {
        return 0.0;
    }
    let wider = (count as f64 / freedom).sqrt();
    normal_tail(wider * student_upper((1.0 - level) / 2.0, freedom))
}

/// The probability above `z` ≥ 0 (Abramowitz and Stegun 26.2.17: right to 10⁻⁷).
fn normal_tail(z: f64) -> f64 {
    const COEFFICIENTS: [f64; 5] =
        [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let density = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
    density * COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| (sum + coefficient) * t)
}

/// What Student's t is above with this probability, below a half (Abramowitz and Stegun 26.7.5).
fn student_upper(probability: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 8.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if normal_tail(middle) > probability { low = middle } else { high = middle }
    }
    let z: f64 = low;
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / freedom + second / freedom.powi(2) + third / freedom.powi(3)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Standard normal (Box and Muller 1958).
    pub(crate) fn normal(random: &mut SmallRng) -> f64 {
        let (one, other): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
        (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
    }

    #[test]
    fn an_interval_repeats_and_turns_round() {
        let values: Vec<f64> = (0..12).map(|n| 1.0 + f64::from(n) / 100.0).collect();
        let one = estimate_median(&values, 0.95, 7).unwrap();
        assert_eq!(estimate_median(&values, 0.95, 7), Some(one));
        assert!(one.low < one.median && one.median < one.high, "{one:?}");
        let turned = one.inverse();
        assert!(turned.low < turned.median && turned.median < turned.high, "{turned:?}");
        assert_eq!(estimate_median(&[], 0.95, 7), None);
        assert_eq!(estimate_growth(&[0.0], &[1.0], 0.95, 7), None);
        assert_eq!(estimate_growth(&[2.0; 8], &[3.0; 8], 0.95, 7).unwrap().high, 1.5);
    }

    #[test]
    fn tails_are_those_of_the_tables() {
        for (z, expected) in [(0.0, 0.5), (1.0, 0.158_655), (1.959_964, 0.025), (3.0, 0.001_350)] {
            assert!((normal_tail(z) - expected).abs() < 1e-6, "{z}");
        }
        for (freedom, expected) in [(5.0, 2.571), (11.0, 2.201), (60.0, 2.000)] {
            let found = student_upper(0.025, freedom);
            assert!((found / expected - 1.0).abs() < 0.005, "{freedom}: {found}");
        }
        assert!(tail(8, 0.95) < tail(24, 0.95) && tail(24, 0.95) < 0.025);
        assert_eq!(tail(1, 0.95), 0.0);
    }

    /// Of 400 intervals of each kind, so that chance is ±2.2 points (two standard errors of a 95 % coverage).
    #[test]
    fn intervals_cover_the_truth_as_often_as_they_say() {
        let mut random = SmallRng::seed_from_u64(1);
        for (count, level) in [(8, 0.98), (12, 0.95), (12, 0.98), (24, 0.95)] {
            let (mut paired, mut unpaired) = (0, 0);
            for seed in 0..400 {
                let mut draw = || (0..count).map(|_| 1.0 + 0.03 * normal(&mut random)).collect();
                let (one, other): (Vec<f64>, Vec<f64>) = (draw(), draw());
                let covers = |found: Estimate| found.low <= 1.0 && 1.0 <= found.high;
                paired += u32::from(covers(estimate_median(&one, level, seed).unwrap()));
                unpaired += u32::from(covers(estimate_growth(&one, &other, level, seed).unwrap()));
            }
            for covered in [paired, unpaired].map(|covered| f64::from(covered) / 400.0) {
                assert!((level - 0.015..=1.0).contains(&covered), "{count} {level}: {covered}");
            }
            // Far too wide would find nothing.
            assert!(paired < 400, "{count} {level}");
        }
    }
}
