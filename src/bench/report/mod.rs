//! What a run leaves behind: the numbers with everything needed to judge and repeat them.

mod check;
mod folder;
mod gate_result;
mod growth;
mod hgrm;
mod hlog;
mod html;
mod junit;
mod mark;
mod markdown;
mod openmetrics;
mod readme;
mod rebuild;
mod schema;
mod stored_run;
mod summary;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::correctness::Correctness;
use super::stats::LatencyStats;
use crate::harness::{Host, ServerInfo, Versions};

pub use check::Check;
pub use folder::{TABLE_FILE, write_report};
pub use gate_result::{GateOutcome, GateResult, GateUnit};
pub use growth::{Growth, OperationGrowth};
pub use junit::junit;
pub use mark::Mark;
pub use markdown::markdown;
pub use openmetrics::openmetrics;
pub use rebuild::{Rebuild, rebuild};
pub use schema::schema;
pub use stored_run::{StoredRun, StoredRunError};
pub use summary::{Style, render};
pub(super) use summary::{bold, time};

/// Version of `report.json`; a field that changes its meaning or goes away raises it.
pub const SCHEMA_VERSION: u32 = 1;

/// What a run leaves behind, as `report.json`. All times in the unit that the name ends with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Raised when a field changes its meaning or goes away.
    pub schema_version: u32,
    /// `paired-clients`, `idle-connections`, `newest-page`, `growth-messages`, ….
    pub workload: String,
    /// The storage engines' names.
    pub engine: String,
    /// What the run says about the server.
    pub verdict: Verdict,
    /// Stopped with Ctrl-C: what is here is true, and less than was asked for.
    pub aborted: bool,
    /// How load was made: `closed loop` latencies hide what an overloaded server would do to others.
    pub load: String,
    /// Why the load generator itself was too slow, so that latencies say nothing about the server; empty when it was not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overload: Vec<String>,
    /// The command that repeats it, secrets left out.
    pub command: String,
    /// RFC 3339.
    pub started_at: String,
    /// Of this program, which is the server too when it was started by the bench.
    pub versions: Versions,
    /// Where the clients ran.
    pub host: Host,
    /// What they talked to.
    pub servers: Vec<ServerInfo>,
    /// All options, defaults included.
    pub config: serde_json::Value,
    /// Parts of the run, s.
    pub durations_s: BTreeMap<String, f64>,
    /// By name; each from one merged histogram.
    pub latencies: BTreeMap<String, LatencyStats>,
    /// Per second.
    pub rates: BTreeMap<String, f64>,
    /// Figures that the workload is about; their names carry the unit.
    pub figures: BTreeMap<String, f64>,
    /// What was done.
    pub counts: BTreeMap<String, u64>,
    /// What was wrong.
    pub correctness: Correctness,
    /// Error answers by code.
    pub errors: BTreeMap<String, u64>,
    /// How much the servers' counters grew during the run.
    pub server_counters: BTreeMap<String, f64>,
    /// What a reader of the numbers must know.
    pub notes: Vec<String>,
    /// Moments that plots over time point out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// How operations change with a size, where the workload is about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
    /// The verdict on what was recorded, where `--check` asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// The performance gates, in the order in which they were given.
    #[serde(default)]
    pub gates: Vec<GateResult>,
}

impl Report {
    /// The durability class of the servers; of servers that differ, all of them.
    pub fn durability(&self) -> String {
        let classes: BTreeSet<&str> =
            self.servers.iter().map(|server| server.durability.as_str()).collect();
        match classes.is_empty() {
            true => "unknown".to_owned(),
            false => classes.into_iter().collect::<Vec<_>>().join(" / "),
        }
    }

    /// What was wrong, in one line; of the run's own checks and of `check`.
    pub fn shown_violations(&self) -> String {
        let mut shown = Vec::new();
        if !self.correctness.is_clean() {
            shown.push(self.correctness.shown_violations());
        }
        let anomalies = self.check.iter().flat_map(|check| &check.anomalies);
        shown.extend(anomalies.map(|(name, count)| format!("check {name} {count}")));
        shown.join(", ")
    }

    /// Messages that were stored when the run began, where its workload says so.
    pub fn stored_before(&self) -> Option<f64> {
        self.figures.get("stored_before").copied()
    }
}

/// What a run says about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All was done, and nothing was wrong.
    Pass,
    /// Nothing was seen to be wrong, but not all was done: connections broke, sends were given up,
    /// or the run was stopped.
    Incomplete,
    /// A promise was broken.
    Invalid,
}

impl Verdict {
    /// The worse of two.
    pub fn or(self, other: Self) -> Self {
        let badness = |verdict| match verdict {
            Self::Pass => 0,
            Self::Incomplete => 1,
            Self::Invalid => 2,
        };
        if badness(other) > badness(self) { other } else { self }
    }

    /// The verdict on these counts, given whether all that was asked for was done.
    pub fn of(correctness: &Correctness, complete: bool) -> Self {
        match (correctness.is_clean(), complete) {
            (false, _) => Self::Invalid,
            (true, true) => Self::Pass,
            (true, false) => Self::Incomplete,
        }
    }
}

#[cfg(test)]
pub(in crate::bench) mod tests {
    use super::super::recorder::{Recorder, RunRecord};
    use super::*;
    use std::time::{Duration, Instant};

    /// A report with fixed numbers in every field.
    pub(crate) fn report(record: &RunRecord) -> Report {
        let text = |text: &str| text.to_owned();
        let totals = record.totals();
        Report {
            schema_version: SCHEMA_VERSION,
            workload: text("paired-clients"),
            engine: text("local"),
            verdict: Verdict::Invalid,
            aborted: false,
            load: text("closed loop"),
            overload: Vec::new(),
            command: text("chatctl bench paired-clients --clients 2"),
            started_at: text("2026-01-02T03:04:05Z"),
            versions: Versions {
                chatctl: text("0.1.0"),
                git_revision: text("0123456789ab"),
                rustc: text("rustc 1.95.0"),
                profile: text("release"),
            },
            host: Host {
                name: text("box"),
                cpu_model: text("A CPU"),
                cores: 2,
                memory_bytes: 8 << 30,
                kernel: text("6.1"),
            },
            servers: vec![ServerInfo {
                url: text("ws://127.0.0.1:8080/v1/ws"),
                node: text("n1"),
                engine: text("LOCAL"),
                durability: text("disk"),
                own: true,
                data_filesystem: Some(text("ext4")),
            }],
            config: serde_json::json!({"clients": 2}),
            durations_s: BTreeMap::from([(text("talking"), 1.5)]),
            latencies: totals.iter().map(|(n, h)| (n.clone(), LatencyStats::of(h))).collect(),
            rates: BTreeMap::from([(text("messages_per_s"), 1_000.0)]),
            figures: BTreeMap::from([(text("syncs_per_message"), 0.25)]),
            counts: BTreeMap::from([(text("sent"), 1_500)]),
            correctness: Correctness { delivered: 1_499, lost: 1, ..Correctness::default() },
            errors: BTreeMap::from([(text("timeout"), 2)]),
            server_counters: BTreeMap::from([(text("chatctl_syncs_total"), 375.0)]),
            notes: vec![text("a note")],
            marks: Vec::new(),
            growth: None,
            check: None,
            gates: gates(),
        }
    }

    /// One gate of each outcome.
    fn gates() -> Vec<GateResult> {
        let gate = |expression: &str, outcome, measured, limit, reason: Option<&str>| GateResult {
            expression: expression.to_owned(),
            outcome,
            measured,
            limit,
            unit: GateUnit::Us,
            reason: reason.map(str::to_owned),
        };
        let few = "too few samples: it needs 100000, and there are 1500";
        vec![
            gate("write.p99<2ms", GateOutcome::Passed, Some(1_584.1), 2_000.0, None),
            gate("read.max<=1ms", GateOutcome::Failed, Some(2_000.0), 1_000.0, None),
            gate("write.p9999<1s", GateOutcome::Inconclusive, None, 1_000_000.0, Some(few)),
        ]
    }

    /// 1 500 writes of 100 µs to 1.6 ms, ten reads of 2 ms.
    pub(crate) fn record() -> RunRecord {
        let record = RunRecord::new(&["write", "delivery", "read"]);
        let (mut recorder, now) = (Recorder::new(), Instant::now());
        for n in 0..1_500 {
            recorder.record(0, now, Duration::from_micros(100 + n));
        }
        (0..10).for_each(|_| recorder.record(2, now, Duration::from_millis(2)));
        record.merge(&mut recorder);
        record
    }

    #[test]
    fn the_schema_of_report_json_is_pinned() {
        let report = report(&record());
        let json = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        insta::assert_snapshot!(json);
    }

    #[test]
    fn a_violation_outranks_an_incomplete_run() {
        let clean = Correctness::default();
        let broken = Correctness { gaps: 1, ..clean };
        assert_eq!(Verdict::of(&clean, true), Verdict::Pass);
        assert_eq!(Verdict::of(&clean, false), Verdict::Incomplete);
        assert_eq!(Verdict::of(&broken, false), Verdict::Invalid);
    }
}
