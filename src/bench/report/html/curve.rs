//! A histogram as a percentile curve.

use hdrhistogram::Histogram;

use crate::bench::stats::rounded_us;

/// Points per tenfold of 1 / (1 − q).
const POINTS_PER_DECADE: u32 = 20;

/// Decades that a curve may reach: 99.999 999 %.
const DECADES_MAX: u32 = 8;

/// A point where a curve is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// 1 / (1 − q): 2 is the median, 100 is 99 %.
    pub inverse: f64,
    /// q, 0 to 1.
    pub quantile: f64,
}

/// Where every curve is read, in order. The median and 90 %, 99 %, … are among the points, so that a curve and
/// a table never disagree.
pub fn curve_points() -> Vec<CurvePoint> {
    let inverse = |step: u32| match step % POINTS_PER_DECADE {
        // Exactly: 1 − 1 / 1 000 is to be the quantile that tables are made with.
        0 => 10f64.powi((step / POINTS_PER_DECADE) as i32),
        _ => 10f64.powf(f64::from(step) / f64::from(POINTS_PER_DECADE)),
    };
    let mut inverses: Vec<f64> = (0..=POINTS_PER_DECADE * DECADES_MAX).map(inverse).collect();
    inverses.push(2.0);
    inverses.sort_by(f64::total_cmp);
    let point = |inverse| CurvePoint { inverse, quantile: 1.0 - 1.0 / inverse };
    inverses.into_iter().map(point).collect()
}

/// Values at the points, µs, as far as there are enough samples: at least ten beyond a point.
pub fn curve_us(histogram: &Histogram<u64>, points: &[CurvePoint]) -> Vec<f64> {
    let enough = histogram.len() as f64 / 10.0;
    let shown = points.iter().take_while(|point| point.inverse <= enough * (1.0 + 1e-9));
    shown.map(|point| rounded_us(histogram.value_at_quantile(point.quantile) as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::stats::LatencyStats;

    #[test]
    fn a_curve_agrees_with_the_table_and_ends_with_its_samples() {
        let points = curve_points();
        assert!(points.windows(2).all(|two| two[0].inverse < two[1].inverse));
        let mut histogram = Histogram::new(3).unwrap();
        (1..=100_000u64).for_each(|n| histogram.record(n * 1_000).unwrap());
        let stats = LatencyStats::of(&histogram);
        let curve = curve_us(&histogram, &points);
        let at = |inverse: f64| {
            curve.get(points.iter().position(|point| point.inverse == inverse).unwrap()).copied()
        };
        assert_eq!((at(2.0), at(10.0)), (stats.p50_us, stats.p90_us));
        assert_eq!((at(100.0), at(1_000.0)), (stats.p99_us, stats.p999_us));
        assert_eq!((at(10_000.0), at(100_000.0)), (stats.p9999_us, None));
        assert!(curve_us(&Histogram::new(3).unwrap(), &points).is_empty());
    }
}
