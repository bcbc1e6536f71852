//! Mutable measurements: one recorder per task, merged into one run record.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Significant figures of every histogram: values are right to 0.1 %.
const SIGNIFICANT_FIGURES: u8 = 3;

/// Finest difference that is kept, ns: below a µs nothing here means anything.
const RESOLUTION_NS: u64 = 1_000;

/// Values above are recorded as this: ten minutes.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// How long intervals are in the beginning.
const FIRST_WIDTH: Duration = Duration::from_secs(1);

/// Intervals that a run record keeps; a longer run has longer intervals, so memory is bounded.
const INTERVALS_MAX: usize = 512;

/// A histogram of nanoseconds; grows with its largest value.
pub fn new_histogram() -> Histogram<u64> {
    // The bounds are constants that the constructor accepts; the fallback has the default ones.
    let histogram = Histogram::new_with_bounds(RESOLUTION_NS, 1 << 22, SIGNIFICANT_FIGURES);
    let mut histogram = histogram.unwrap_or_else(|_| unreachable!("constant bounds are valid"));
    histogram.auto(true);
    histogram
}

/// Buffers the samples of one task, so that recording takes no lock; [`RunRecord::merge`] empties it.
#[derive(Debug)]
pub struct Recorder {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    latency: usize,
    intended_at: Instant,
    completed_at: Instant,
    ns: u64,
}

impl Recorder {
    /// An empty one.
    pub fn new() -> Self {
        Self { samples: Vec::new() }
    }

    /// One sample of the latency with this index (its place in [`RunRecord::new`]'s names): what it took until `completed_at`.
    pub fn record(&mut self, latency: usize, completed_at: Instant, took: Duration) {
        let intended_at = completed_at.checked_sub(took).unwrap_or(completed_at);
        self.record_late(latency, intended_at, completed_at, took);
    }

    /// As [`record`](Self::record), of work that should have begun at `intended_at` already.
    pub fn record_late(
        &mut self,
        latency: usize,
        intended_at: Instant,
        completed_at: Instant,
        took: Duration,
    ) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).min(LATENCY_NS_MAX);
        self.samples.push(Sample { latency, intended_at, completed_at, ns });
    }

    /// Forgets what was not merged yet.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// Samples that were not merged yet.
    pub fn len(&self) -> usize {
        self.samples.len()
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

/// All samples of a run: per latency one histogram per interval. Latencies never mix.
#[derive(Debug)]
pub struct RunRecord {
    names: Vec<String>,
    intervals: Mutex<Intervals>,
}

#[derive(Debug)]
struct Intervals {
    started_at: Instant,
    /// What was intended before it is no part of the run.
    counts_from: Option<Instant>,
    width: Duration,
    /// By interval, then by latency; empty until something was recorded there.
    histograms: Vec<Vec<Option<Histogram<u64>>>>,
}

/// One interval of one latency, as the interval log shows it.
#[derive(Debug)]
pub struct Interval {
    /// Since the run's start.
    pub start: Duration,
    /// How long it is.
    pub width: Duration,
    /// The latency's name.
    pub name: String,
    /// Its samples, ns.
    pub histogram: Histogram<u64>,
}

impl RunRecord {
    /// A record of these latencies, in intervals of a second from now on.
    pub fn new(names: &[&str]) -> Self {
        let histograms = Vec::new();
        let (started_at, width) = (Instant::now(), FIRST_WIDTH);
        Self {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            intervals: Mutex::new(Intervals { started_at, counts_from: None, width, histograms }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Intervals> {
        self.intervals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the run now; earlier samples count to the first interval.
    pub fn start(&self) {
        self.lock().started_at = Instant::now();
    }

    /// Forgets everything, and counts only what is intended at `from` or later.
    pub fn reset(&self, from: Instant) {
        let mut intervals = self.lock();
        intervals.histograms.clear();
        intervals.width = FIRST_WIDTH;
        intervals.started_at = from;
        intervals.counts_from = Some(from);
    }

    /// Takes the samples of a task; once per cycle, so that the lock is no part of what is measured.
    pub fn merge(&self, recorder: &mut Recorder) {
        let mut intervals = self.lock();
        for sample in recorder.samples.drain(..) {
            intervals.record(self.names.len(), sample);
        }
    }

    /// The last interval that one latency has samples in.
    pub fn last(&self, name: &str) -> Option<Histogram<u64>> {
        let latency = self.names.iter().position(|other| other == name)?;
        self.lock().histograms.iter().rev().find_map(|row| row.get(latency)?.clone())
    }

    /// The merged histogram of each latency, in the order of the names.
    pub fn totals(&self) -> Vec<(String, Histogram<u64>)> {
        let intervals = self.lock();
        let total = |index: usize| {
            let mut total = new_histogram();
            let parts = intervals.histograms.iter().filter_map(|row| row[index].as_ref());
            parts.for_each(|part| add(&mut total, part));
            total
        };
        self.names.iter().enumerate().map(|(index, name)| (name.clone(), total(index))).collect()
    }

    /// Every interval with samples, in time order.
    pub fn intervals(&self) -> Vec<Interval> {
        let intervals = self.lock();
        let mut shown = Vec::new();
        for (index, row) in intervals.histograms.iter().enumerate() {
            for (name, histogram) in self.names.iter().zip(row) {
                if let Some(histogram) = histogram {
                    let start = intervals.width * u32::try_from(index).unwrap_or(u32::MAX);
                    let (width, name) = (intervals.width, name.clone());
                    shown.push(Interval { start, width, name, histogram: histogram.clone() });
                }
            }
        }
        shown
    }
}

impl Intervals {
    fn record(&mut self, latencies: usize, sample: Sample) {
        if self.counts_from.is_some_and(|from| sample.intended_at < from) {
            return;
        }
        let since_start = sample.completed_at.saturating_duration_since(self.started_at);
        let mut index = (since_start.as_nanos() / self.width.as_nanos()) as usize;
        while index >= INTERVALS_MAX {
            self.double_width();
            index = (since_start.as_nanos() / self.width.as_nanos()) as usize;
        }
        while self.histograms.len() <= index {
            self.histograms.push(vec![None; latencies]);
        }
        let histogram = self.histograms[index][sample.latency].get_or_insert_with(new_histogram);
        // Not `saturating_record`, which cuts at the present size instead of growing.
        let recorded = histogram.record(sample.ns);
        debug_assert!(recorded.is_ok(), "{recorded:?}");
    }

    /// Merges neighbours, so that half as many intervals are twice as long.
    fn double_width(&mut self) {
        self.width *= 2;
        let mut rows = std::mem::take(&mut self.histograms).into_iter();
        while let Some(mut row) = rows.next() {
            for (one, other) in row.iter_mut().zip(rows.next().into_iter().flatten()) {
                match (one.as_mut(), other) {
                    (Some(one), Some(other)) => add(one, &other),
                    (None, Some(other)) => *one = Some(other),
                    (_, None) => {}
                }
            }
            self.histograms.push(row);
        }
    }
}

/// Adds the samples of `part`; `total` is one of [`new_histogram`].
pub fn add(total: &mut Histogram<u64>, part: &Histogram<u64>) {
    // Both resize themselves, so the one error of `add`, a value out of range, cannot come.
    let added = total.add(part);
    debug_assert!(added.is_ok(), "{added:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_stay_apart_and_intervals_add_up() {
        let record = RunRecord::new(&["write", "read"]);
        let start = record.lock().started_at;
        let mut recorder = Recorder::new();
        for ms in 0..2_500u64 {
            let at = start + Duration::from_millis(ms);
            recorder.record(0, at, Duration::from_micros(100));
            recorder.record(1, at, Duration::from_secs(700));
        }
        record.merge(&mut recorder);
        let totals = record.totals();
        assert_eq!(totals[0].1.len(), 2_500);
        assert!((99_000..=101_000).contains(&totals[0].1.max()));
        assert!(totals[1].1.min() > 590_000_000_000, "cut to ten minutes, not dropped");
        let lengths: Vec<_> = record
            .intervals()
            .into_iter()
            .filter(|interval| interval.name == "write")
            .map(|interval| (interval.start.as_secs(), interval.histogram.len()))
            .collect();
        assert_eq!(lengths, [(0, 1_000), (1, 1_000), (2, 500)]);
    }

    #[test]
    fn after_a_reset_only_what_was_intended_later_counts() {
        let record = RunRecord::new(&["write"]);
        let from = record.lock().started_at + Duration::from_secs(3);
        let mut recorder = Recorder::new();
        let ms = Duration::from_millis;
        recorder.record(0, from, ms(1));
        record.merge(&mut recorder);
        record.reset(from);
        recorder.record(0, from + ms(5), ms(6));
        recorder.record(0, from + ms(5), ms(5));
        recorder.record_late(0, from - ms(1), from + ms(9), ms(2));
        record.merge(&mut recorder);
        assert_eq!(record.totals()[0].1.len(), 1);
        assert_eq!(record.intervals()[0].start, Duration::ZERO);
    }

    #[test]
    fn a_long_run_keeps_every_sample_in_bounded_intervals() {
        let record = RunRecord::new(&["write"]);
        let start = record.lock().started_at;
        let mut recorder = Recorder::new();
        for second in 0..3_000u64 {
            recorder.record(0, start + Duration::from_secs(second), Duration::from_micros(second));
        }
        record.merge(&mut recorder);
        let intervals = record.intervals();
        assert!(intervals.len() <= INTERVALS_MAX);
        assert_eq!(intervals[0].width, Duration::from_secs(8));
        assert_eq!(intervals[1].histogram.len(), 8);
        assert_eq!(record.totals()[0].1.len(), 3_000);
    }
}
