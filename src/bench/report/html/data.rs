//! What the page's script draws: one JSON value, µs and s.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::super::Report;
use super::super::mark::Mark;
use super::super::stored_run::index;
use super::curve::{CurvePoint, curve_points, curve_us};
use super::shown_run::ShownRun;
use crate::bench::stats::{LatencyStats, rounded_us};

/// Everything that is drawn.
#[derive(Debug, Serialize)]
pub struct PageData {
    /// 1 / (1 − q) of each point of every curve.
    inverses: Vec<f64>,
    runs: Vec<RunData>,
    /// Figures over what was stored when a run began, and over what grew within one.
    pub growths: Vec<Growth>,
}

#[derive(Debug, Serialize)]
struct RunData {
    label: String,
    curves: Vec<CurveData>,
    over_time: Option<OverTime>,
    marks: Vec<Mark>,
}

#[derive(Debug, Serialize)]
struct CurveData {
    latency: String,
    /// As far as there are enough samples.
    us: Vec<f64>,
}

/// One column per interval; what there is not is null.
#[derive(Debug, Serialize)]
struct OverTime {
    width_s: f64,
    /// The middle of each interval.
    at_s: Vec<f64>,
    latencies: Vec<LatencyOverTime>,
}

#[derive(Debug, Serialize)]
struct LatencyOverTime {
    latency: String,
    p50_us: Vec<Option<f64>>,
    p99_us: Vec<Option<f64>>,
    max_us: Vec<Option<f64>>,
    per_s: Vec<Option<f64>>,
}

/// How one thing grows with a size, mostly with what is stored, for each engine and durability.
#[derive(Debug, PartialEq, Serialize)]
pub struct Growth {
    /// The workload that it is of.
    pub workload: String,
    /// A latency's name, µs, or a rate's, per second.
    pub of: String,
    /// What the sizes count.
    pub over: String,
    /// A latency rather than a rate.
    pub is_latency: bool,
    /// The lines.
    series: Vec<GrowthSeries>,
}

#[derive(Debug, PartialEq, Serialize)]
struct GrowthSeries {
    label: String,
    /// The sizes, ascending.
    stored: Vec<f64>,
    values: Vec<Option<f64>>,
}

impl PageData {
    /// What a page of these runs draws.
    pub fn of(runs: &[ShownRun]) -> Self {
        let mut points = curve_points();
        let samples_max =
            runs.iter().flat_map(|run| &run.latencies).map(|(_, all)| all.len()).max();
        let enough = samples_max.unwrap_or(0) as f64 / 10.0;
        points.retain(|point| point.inverse <= enough * (1.0 + 1e-9));
        let inverses = points.iter().map(|point| (point.inverse * 1e4).round() / 1e4).collect();
        let runs_data = runs.iter().map(|run| run_data(run, &points)).collect();
        Self { inverses, runs: runs_data, growths: growths(runs) }
    }
}

fn run_data(run: &ShownRun, points: &[CurvePoint]) -> RunData {
    let curve = |(latency, histogram): &(String, Histogram<u64>)| CurveData {
        latency: latency.clone(),
        us: curve_us(histogram, points),
    };
    let curves = run.latencies.iter().filter(|(_, all)| !all.is_empty()).map(curve).collect();
    // Marks of runs added up are of different times.
    let marks = if run.run_count() == 1 { run.report().marks.clone() } else { Vec::new() };
    RunData { label: run.label.clone(), curves, over_time: over_time(run), marks }
}

fn over_time(run: &ShownRun) -> Option<OverTime> {
    let width_s = run.intervals.first()?.width.as_secs_f64();
    let count = run.intervals.iter().map(|interval| index(interval) + 1).max()?;
    let at_s = (0..count).map(|index| (index as f64 + 0.5) * width_s).collect();
    let mut latencies = BTreeMap::new();
    for interval in &run.intervals {
        let (name, place) = (interval.name.as_str(), index(interval));
        let all = latencies.entry(name).or_insert_with(|| LatencyOverTime {
            latency: name.to_owned(),
            p50_us: vec![None; count],
            p99_us: vec![None; count],
            max_us: vec![None; count],
            // Nothing is a rate too, unlike no latency.
            per_s: vec![Some(0.0); count],
        });
        let stats = LatencyStats::of(&interval.histogram);
        let per_s = (stats.count as f64 / width_s * 10.0).round() / 10.0;
        let values = [
            (&mut all.p50_us, stats.p50_us),
            (&mut all.p99_us, stats.p99_us),
            (&mut all.max_us, Some(rounded_us(interval.histogram.max() as f64))),
            (&mut all.per_s, Some(per_s)),
        ];
        for (column, value) in values {
            if let Some(cell) = column.get_mut(place) {
                *cell = value;
            }
        }
    }
    // The run ended somewhere in its last interval, so that a rate of it would be too low.
    if count > 1 {
        for all in latencies.values_mut() {
            if let Some(last) = all.per_s.last_mut() {
                *last = None;
            }
        }
    }
    let in_order = run.latencies.iter().filter_map(|(name, _)| latencies.remove(name.as_str()));
    let latencies = in_order.collect();
    Some(OverTime { width_s, at_s, latencies })
}

/// What the volumes of runs count.
const STORED: &str = "messages stored before";

/// One growth per latency and rate of each workload that was run on at least two volumes, and per operation of what grew within a run.
fn growths(runs: &[ShownRun]) -> Vec<Growth> {
    let mut growths = Vec::new();
    // Of runs that are added up there is no one curve.
    let runs_grown = runs.iter().filter(|run| run.run_count() == 1);
    let mut workloads: Vec<&str> = Vec::new();
    for run in runs {
        if !workloads.contains(&run.report().workload.as_str()) {
            workloads.push(&run.report().workload);
        }
    }
    for workload in workloads {
        let mut runs: Vec<(f64, &ShownRun)> = runs
            .iter()
            .filter(|run| run.report().workload == workload)
            .filter_map(|run| Some((run.report().stored_before()?, run)))
            .collect();
        runs.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        for latency in names(&runs, |run| run.drawn().map(|(name, _)| name.as_str())) {
            let p50 = |run: &ShownRun| run.stats(&latency).and_then(|stats| stats.p50_us);
            let p99 = |run: &ShownRun| run.stats(&latency).and_then(|stats| stats.p99_us);
            let mut series = lines(&runs, "p50", p50);
            series.extend(lines(&runs, "p99", p99));
            let workload = workload.to_owned();
            let over = STORED.to_owned();
            growths.push(Growth { workload, of: latency, over, is_latency: true, series });
        }
        for rate in names(&runs, |run| run.report().rates.keys().map(String::as_str)) {
            // Of runs added up there is no rate.
            let value = |run: &ShownRun| {
                let alone = run.run_count() == 1;
                run.report().rates.get(&rate).copied().filter(|_| alone)
            };
            let (workload, series) = (workload.to_owned(), lines(&runs, "", value));
            let over = STORED.to_owned();
            growths.push(Growth { workload, of: rate, over, is_latency: false, series });
        }
    }
    growths.retain(|growth| !growth.series.is_empty());
    for run in runs_grown {
        add_grown(&mut growths, run.report());
    }
    growths
}

/// Draws what grew within a run beside the same of other engines.
fn add_grown(growths: &mut Vec<Growth>, report: &Report) {
    let Some(grown) = report.growth.as_ref().filter(|grown| grown.sizes.len() > 1) else { return };
    let stored: Vec<f64> = grown.sizes.iter().map(|&size| size as f64).collect();
    for operation in &grown.operations {
        let line = |suffix: &str, values: &Vec<Option<f64>>| GrowthSeries {
            label: format!("{}, {} {suffix}", report.engine, report.durability()),
            stored: stored.clone(),
            values: values.clone(),
        };
        let lines = [line("p50", &operation.p50_us), line("p99", &operation.p99_us)];
        let lines = lines.into_iter().filter(|line| line.values.iter().any(Option::is_some));
        let is_same =
            |known: &&mut Growth| known.workload == report.workload && known.of == operation.name;
        match growths.iter_mut().find(is_same) {
            Some(known) => known.series.extend(lines),
            None => growths.push(Growth {
                workload: report.workload.clone(),
                of: operation.name.clone(),
                over: grown.of.clone(),
                is_latency: true,
                series: lines.collect(),
            }),
        }
    }
}

fn names<'a, I>(runs: &[(f64, &'a ShownRun)], of: impl Fn(&'a ShownRun) -> I) -> Vec<String>
where
    I: Iterator<Item = &'a str>,
{
    let mut names: Vec<String> = Vec::new();
    for name in runs.iter().flat_map(|(_, run)| of(run)) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// A line per engine and durability that has at least two different volumes. `runs` ascend by volume.
fn lines(
    runs: &[(f64, &ShownRun)],
    suffix: &str,
    value: impl Fn(&ShownRun) -> Option<f64>,
) -> Vec<GrowthSeries> {
    let mut lines: Vec<GrowthSeries> = Vec::new();
    for (stored, run) in runs {
        let report = run.report();
        let label = format!("{}, {} {suffix}", report.engine, report.durability());
        let label = label.trim_end().to_owned();
        let known = lines.iter().position(|line| line.label == label);
        let place = known.unwrap_or_else(|| {
            lines.push(GrowthSeries { label, stored: Vec::new(), values: Vec::new() });
            lines.len() - 1
        });
        if let Some(line) = lines.get_mut(place) {
            line.stored.push(*stored);
            line.values.push(value(run));
        }
    }
    lines.retain(|line| {
        let shown = line.stored.iter().zip(&line.values).filter(|(_, value)| value.is_some());
        let mut volumes: Vec<f64> = shown.map(|(stored, _)| *stored).collect();
        volumes.dedup();
        volumes.len() > 1
    });
    lines
}
