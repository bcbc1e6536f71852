//! The percentile distribution as text, the format that HdrHistogram plotters take.

use std::fmt::Write;

use hdrhistogram::Histogram;

/// Points per halving of the distance to 100 %, as HdrHistogram's own tools use.
const TICKS_PER_HALF: u32 = 5;

/// The distribution of a histogram of nanoseconds, values in µs.
pub fn distribution(histogram: &Histogram<u64>) -> String {
    let us = |ns: f64| ns / 1_000.0;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0;
    for point in histogram.iter_quantiles(TICKS_PER_HALF) {
        total += point.count_since_last_iteration();
        let value = us(point.value_iterated_to() as f64);
        let quantile = point.quantile_iterated_to();
        // Writing to a String cannot fail.
        let _ = match quantile < 1.0 {
            true => {
                let inverse = 1.0 / (1.0 - quantile);
                writeln!(text, "{value:12.3} {quantile:2.12} {total:10} {inverse:14.2}")
            }
            false => writeln!(text, "{value:12.3} {quantile:2.12} {total:10}"),
        };
    }
    let (mean, deviation) = (us(histogram.mean()), us(histogram.stdev()));
    let (max, count) = (us(histogram.max() as f64), histogram.len());
    let (buckets, sub_buckets) = (histogram.buckets(), histogram.distinct_values());
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    let _ = writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_ascend_to_the_whole_count() {
        let mut histogram = Histogram::new(3).unwrap();
        (1..=1_000u64).for_each(|n| histogram.record(n * 1_000).unwrap());
        let text = distribution(&histogram);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|cell| cell.parse().unwrap()).collect())
            .collect();
        assert!(rows.windows(2).all(|two| two[0][0] <= two[1][0] && two[0][2] <= two[1][2]));
        let (last, others) = rows.split_last().unwrap();
        assert!(others.iter().all(|row| row.len() == 4));
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, 1_000.0));
        assert!((last[0] - 1_000.0).abs() < 1.0);
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
