//! What one row of a page shows.

use std::path::Path;

use hdrhistogram::Histogram;

use super::super::Report;
use super::super::stored_run::StoredRun;
use crate::bench::recorder::{Interval, add};
use crate::bench::stats::LatencyStats;

/// One row of a page: a run, or several added up.
#[derive(Debug)]
pub struct ShownRun {
    /// What tells it from the others of its page, in a few words.
    pub label: String,
    /// The folders that it is from; none on the page that a run writes itself, which moves with its folder.
    pub folders: Vec<String>,
    /// All samples, ns, in the order in which to show them.
    pub latencies: Vec<(String, Histogram<u64>)>,
    /// Over time; of runs added up there is none, since nothing happened to them at the same time.
    pub intervals: Vec<Interval>,
    first: Report,
    others: Vec<Report>,
}

impl ShownRun {
    /// A run alone.
    pub fn new(run: StoredRun) -> Self {
        let latencies = run.totals();
        let StoredRun { report, intervals } = run;
        let stored = report.stored_before().filter(|&stored| stored > 0.0);
        let stored = stored.map_or_else(String::new, |stored| format!(", {stored} stored"));
        let label = format!("{}, {}{stored}", report.engine, report.durability());
        Self { label, folders: Vec::new(), latencies, intervals, first: report, others: Vec::new() }
    }

    /// The same, and where it is from.
    pub fn from_folder(run: StoredRun, folder: &Path) -> Self {
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        Self { folders: vec![name.into_owned()], ..Self::new(run) }
    }

    /// The report, of several the first.
    pub fn report(&self) -> &Report {
        &self.first
    }

    /// The reports that are added up, at least one.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// How many runs it is.
    pub fn run_count(&self) -> usize {
        1 + self.others.len()
    }

    /// The latencies that are drawn: connecting is over when a run begins, so that it only is where there is nothing else.
    pub fn drawn(&self) -> impl Iterator<Item = &(String, Histogram<u64>)> {
        let is_all = self.latencies.len() == 1;
        self.latencies.iter().filter(move |(name, _)| is_all || name != "connect")
    }

    /// The numbers of a latency, from all samples; `None` when no run of it has such a latency.
    pub fn stats(&self, latency: &str) -> Option<LatencyStats> {
        let found = self.latencies.iter().find(|(name, _)| name == latency);
        found.map(|(_, histogram)| LatencyStats::of(histogram))
    }

    /// The least and the most that its runs say of something.
    pub fn range(&self, value: impl Fn(&Report) -> Option<f64>) -> Option<(f64, f64)> {
        self.reports().filter_map(value).fold(None, |range, value| match range {
            None => Some((value, value)),
            Some((least, most)) => Some((value.min(least), value.max(most))),
        })
    }

    /// Adds another run up.
    fn merge(&mut self, other: Self) {
        for (name, histogram) in other.latencies {
            match self.latencies.iter_mut().find(|(known, _)| *known == name) {
                Some((_, total)) => add(total, &histogram),
                None => self.latencies.push((name, histogram)),
            }
        }
        self.folders.extend(other.folders);
        self.intervals.clear();
        self.others.push(other.first);
        self.others.extend(other.others);
    }

    /// Whether both are of the same workload, engine and durability, with as much stored when they began.
    fn is_like(&self, other: &Self) -> bool {
        let like = |run: &Self| {
            let report = &run.first;
            (report.workload.clone(), report.engine.clone(), report.durability())
        };
        like(self) == like(other) && self.first.stored_before() == other.first.stored_before()
    }
}

/// Adds up the runs that are of the same workload, engine and durability, in the order of the first of each.
pub fn merged(runs: Vec<ShownRun>) -> Vec<ShownRun> {
    let mut merged: Vec<ShownRun> = Vec::new();
    for run in runs {
        match merged.iter_mut().find(|known| known.is_like(&run)) {
            Some(known) => known.merge(run),
            None => merged.push(run),
        }
    }
    merged
}

/// Numbers the labels, so that each is the only one of its kind.
pub fn number_labels(runs: &mut [ShownRun]) {
    for (index, run) in runs.iter_mut().enumerate() {
        let several = match run.run_count() {
            1 => String::new(),
            count => format!(" ({count} runs)"),
        };
        run.label = format!("{}: {}{several}", index + 1, run.label);
    }
}
