//! The frame around every workload: servers, counters before and after, results.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hdrhistogram::Histogram;

use super::correctness::Correctness;
use super::error::BenchError;
use super::gate::Gates;
use super::judged::Judged;
use super::recorder::{Interval, RunRecord};
use super::report::{Check, Growth, Mark, Report, SCHEMA_VERSION, Verdict, write_report};
use super::stats::LatencyStats;
use crate::checker::keep;
use crate::harness::Host;
use crate::harness::{Metrics, Stage};
use crate::harness::{ResultFolder, TargetOptions, Targets, Versions, folder_name};
use crate::nemesis::{Nemesis, World};

/// Options that every workload has.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// What to run against.
    pub targets: TargetOptions,
    /// Where result folders go.
    pub out: PathBuf,
    /// The command line for the report, secrets already left out.
    pub command: String,
    /// Bounds that the run must keep.
    pub gates: Gates,
}

impl RunOptions {
    /// What can be refused before anything is started: a gate on what is not measured, a place where nothing can be kept.
    pub fn check(&self, latencies: &[&str]) -> Result<(), BenchError> {
        self.gates.check_latencies(latencies)?;
        Ok(ResultFolder::check(&self.out)?)
    }
}

/// A run under way.
#[derive(Debug)]
pub struct Run {
    /// The servers and what else there is, with what will be done to it: mostly nothing.
    pub nemesis: Nemesis,
    /// The measurements.
    pub record: Arc<RunRecord>,
    folder: ResultFolder,
    before: Option<Metrics>,
    after: Option<Metrics>,
    notes: Vec<String>,
    workload: &'static str,
    command: String,
    gates: Gates,
    started_at: SystemTime,
    started: Instant,
}

/// What a workload found.
#[derive(Debug, Default)]
pub struct Findings {
    /// How load was made; empty: in a closed loop.
    pub load: String,
    /// Why the load generator was too slow, if it was.
    pub overload: Vec<String>,
    /// All options.
    pub config: serde_json::Value,
    /// Parts of the run, s.
    pub durations_s: BTreeMap<String, f64>,
    /// Per second.
    pub rates: BTreeMap<String, f64>,
    /// What the workload is about.
    pub figures: BTreeMap<String, f64>,
    /// What was done.
    pub counts: BTreeMap<String, u64>,
    /// What was wrong.
    pub correctness: Correctness,
    /// Error answers by code.
    pub errors: BTreeMap<String, u64>,
    /// Messages that the server stored, which its counters are divided by.
    pub messages: u64,
    /// All that was asked for was done.
    pub complete: bool,
    /// Stopped with Ctrl-C.
    pub aborted: bool,
    /// What a reader of the numbers must know.
    pub notes: Vec<String>,
    /// Moments that plots over time point out.
    pub marks: Vec<Mark>,
    /// How operations changed with a size.
    pub growth: Option<Growth>,
    /// What was recorded, and the verdict on it.
    pub judged: Option<Judged>,
}

/// A run that is over and kept.
#[derive(Debug)]
pub struct Finished {
    /// Everything.
    pub report: Report,
    /// The merged histograms, in the order in which to show them.
    pub totals: Vec<(String, Histogram<u64>)>,
    /// The same by time.
    pub intervals: Vec<Interval>,
    /// Where it was kept.
    pub folder: PathBuf,
}

impl Run {
    /// Finds or starts the servers and makes the result folder; the latter and the gates are checked
    /// first, so that no run is lost for want of a place or by a wrong name.
    pub async fn begin(
        workload: &'static str,
        options: &RunOptions,
        latencies: &[&str],
    ) -> Result<Self, BenchError> {
        options.check(latencies)?;
        let targets = Targets::start(&options.targets).await?;
        let nemesis = Nemesis::new(World::new(targets, Vec::new(), None), Vec::new());
        Self::begin_with(workload, options, latencies, nemesis).await
    }

    /// As [`begin`](Self::begin), with servers that were started already.
    pub async fn begin_with(
        workload: &'static str,
        options: &RunOptions,
        latencies: &[&str],
        nemesis: Nemesis,
    ) -> Result<Self, BenchError> {
        options.check(latencies)?;
        let targets = nemesis.world().targets();
        let name = folder_name(workload, &targets.engine_label());
        let folder = ResultFolder::create(&options.out, &name)?;
        let mut notes = Vec::new();
        let before = targets.scrape(&mut notes).await;
        Ok(Self {
            nemesis,
            record: Arc::new(RunRecord::new(latencies)),
            folder,
            before,
            after: None,
            notes,
            workload,
            command: options.command.clone(),
            gates: options.gates.clone(),
            started_at: SystemTime::now(),
            started: Instant::now(),
        })
    }

    /// The servers.
    pub fn targets(&self) -> &Targets {
        self.nemesis.world().targets()
    }

    /// Has so many servers of our own, and refuses it where they could not share what they store.
    pub async fn grow(&mut self, options: &TargetOptions, nodes: usize) -> Result<(), BenchError> {
        Ok(self.nemesis.world_mut().targets_mut().grow(options, nodes).await?)
    }

    /// From now on the servers' counters count.
    pub async fn measure(&mut self) {
        if self.before.is_some() {
            self.before = self.nemesis.world().targets().scrape(&mut self.notes).await;
        }
    }

    /// Until now the servers' counters count; [`finish`](Self::finish) says so where nobody did.
    pub async fn measured(&mut self) {
        if self.nemesis.world().was_restarted() {
            // What the first lives of the servers counted went with them.
            if self.before.take().is_some() {
                let note = "no server counters: a server was started again, and its began anew";
                self.notes.push(note.to_owned());
            }
        } else if self.before.is_some() && self.after.is_none() {
            self.after = self.nemesis.world().targets().scrape(&mut self.notes).await;
        }
    }

    /// Reads the counters again, stops a server of our own, and keeps everything.
    pub async fn finish(mut self, findings: Findings) -> Result<Finished, BenchError> {
        self.measured().await;
        let Self { nemesis, record, mut folder, before, after, mut notes, .. } = self;
        // Links stay: servers may end by way of one.
        let mut world = nemesis.into_world();
        let targets = world.targets_mut();
        notes.extend(findings.notes);
        let engine = targets.engine_label();
        notes.extend(caveat(&engine).map(str::to_owned));
        let servers = targets.infos().to_vec();
        let server_counters = match (&before, &after) {
            (Some(before), Some(after)) => after.since(before),
            _ => BTreeMap::new(),
        };
        let mut figures = findings.figures;
        figures.extend(per_message(&server_counters, findings.messages));
        if let (Some(before), Some(after)) = (&before, &after) {
            figures.extend(stage_figures(&after.stages_since(before)));
        }
        if !findings.complete {
            notes.extend(targets.log_tail().into_iter().map(|line| format!("server log: {line}")));
        }
        let stopped = targets.stop().await;
        let complete = findings.complete && stopped.is_none() && !findings.aborted;
        let check = findings.judged.as_ref().map(|judged| Check::of(&judged.verdict));
        let checked = check.as_ref().map_or(Verdict::Pass, Check::verdict);
        notes.extend(stopped);
        let mut durations_s = findings.durations_s;
        durations_s.insert("whole_run".to_owned(), self.started.elapsed().as_secs_f64());
        let totals = record.totals();
        let mut report = Report {
            schema_version: SCHEMA_VERSION,
            workload: self.workload.to_owned(),
            engine,
            verdict: Verdict::of(&findings.correctness, complete).or(checked),
            aborted: findings.aborted,
            load: match findings.load.as_str() {
                "" => "closed loop".to_owned(),
                load => load.to_owned(),
            },
            overload: findings.overload,
            command: self.command,
            started_at: rfc3339(self.started_at),
            versions: Versions::of_this_binary(),
            host: Host::find(),
            servers,
            config: findings.config,
            durations_s,
            latencies: totals
                .iter()
                // Only an open loop has them.
                .filter(|(name, total)| !name.ends_with("_service") || !total.is_empty())
                .map(|(name, histogram)| (name.clone(), LatencyStats::of(histogram)))
                .collect(),
            rates: findings.rates,
            figures,
            counts: findings.counts,
            correctness: findings.correctness,
            errors: findings.errors,
            server_counters,
            notes,
            marks: findings.marks,
            growth: findings.growth,
            check,
            gates: Vec::new(),
        };
        let complete = complete && checked != Verdict::Incomplete;
        report.gates = self.gates.judge(&report, complete);
        if let Some(Judged { events, verdict }) = &findings.judged {
            keep(&mut folder, events, verdict)?;
        }
        write_report(&mut folder, &report, &record, self.started_at)?;
        let folder = folder.path().to_owned();
        Ok(Finished { report, totals, intervals: record.intervals(), folder })
    }
}

/// What one message cost the server, for the counters that it has. The denominator is the server's
/// own count of appended messages where it has one: it must agree with ours, which is kept beside it.
pub(super) fn per_message(
    counters: &BTreeMap<String, f64>,
    messages: u64,
) -> BTreeMap<String, f64> {
    let grown = |name: &str| counters.get(name).copied();
    let messages = grown("chatctl_messages_appended_total").unwrap_or(messages as f64);
    if messages < 1.0 {
        return BTreeMap::new();
    }
    let syncs = grown("chatctl_syncs_total").map(|syncs| syncs / messages);
    let cpu = grown("chatctl_process_cpu_seconds_total").map(|s| s * 1_000_000.0 / messages);
    let encodes = grown("chatctl_messages_encoded_total").map(|encodes| encodes / messages);
    [("syncs_per_message", syncs), ("encodes_per_message", encodes), ("cpu_us_per_message", cpu)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// What each stage of a delivery took, µs: its mean, and a bound that p99 is not above.
fn stage_figures(stages: &BTreeMap<String, Stage>) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    for (name, stage) in stages {
        if let Some(mean) = stage.mean_us() {
            figures.insert(format!("stage_{name}_mean_us"), mean);
        }
        // As few as would be a guess.
        if let Some(bound) = stage.quantile_below_us(0.99).filter(|_| stage.count() >= 1_000.0) {
            figures.insert(format!("stage_{name}_p99_below_us"), bound as f64);
        }
    }
    figures
}

fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "unknown".to_owned(), |time| time.to_string())
}

/// What whoever reads the figures of an engine must know of it.
fn caveat(engine: &str) -> Option<&'static str> {
    let is_riak = engine.split_whitespace().next() == Some("RIAK");
    is_riak.then_some(
        "RIAK is tried against a stand-in only: no CI of this project runs a real Riak, and nobody has told of one yet",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_per_message_and_absent_without_their_counter() {
        let counters = BTreeMap::from([
            ("chatctl_syncs_total".to_owned(), 25.0),
            ("chatctl_messages_appended_total".to_owned(), 100.0),
        ]);
        let figures = per_message(&counters, 7);
        assert_eq!(figures, BTreeMap::from([("syncs_per_message".to_owned(), 0.25)]));
        assert!(per_message(&BTreeMap::new(), 7).is_empty());
        let none = BTreeMap::from([("chatctl_messages_appended_total".to_owned(), 0.0)]);
        assert!(per_message(&none, 7).is_empty());
    }
}
