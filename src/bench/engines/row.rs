//! What one contestant came to, over all rounds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::bench::recorder::new_histogram;
use crate::bench::report::{GateOutcome, Verdict};
use crate::bench::run::Finished;
use crate::bench::stats::{LatencyStats, median};

/// A row of the table.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The engines' names.
    pub contestant: String,
    /// What an `ok` survives, as its servers said; empty before one said so.
    pub durability: String,
    /// Messages that were stored before the measured part.
    pub stored_before: Option<u64>,
    /// Runs in it.
    pub runs: usize,
    /// The worst of theirs; `None` without any run.
    pub verdict: Option<Verdict>,
    /// How each gate ended, by its expression: the worst of the runs.
    pub gates: BTreeMap<String, GateOutcome>,
    /// Messages a second, median of the runs.
    pub messages_per_s: Option<f64>,
    /// CPU time of the servers, µs a message, median of the runs.
    pub cpu_us_per_message: Option<f64>,
    /// By name, from the sum of the runs' histograms.
    pub latencies: BTreeMap<String, LatencyStats>,
    /// Why a run could not be.
    pub failed: Option<String>,
    /// Where the runs were kept.
    pub folders: Vec<String>,
    #[serde(skip)]
    rates: Vec<f64>,
    #[serde(skip)]
    costs: Vec<f64>,
    #[serde(skip)]
    totals: BTreeMap<String, Histogram<u64>>,
}

impl Row {
    /// Without any run.
    pub fn new(contestant: &str, stored_before: Option<u64>) -> Self {
        Self {
            contestant: contestant.to_owned(),
            durability: String::new(),
            stored_before,
            runs: 0,
            verdict: None,
            gates: BTreeMap::new(),
            messages_per_s: None,
            cpu_us_per_message: None,
            latencies: BTreeMap::new(),
            failed: None,
            folders: Vec::new(),
            rates: Vec::new(),
            costs: Vec::new(),
            totals: BTreeMap::new(),
        }
    }

    /// Takes a run in.
    pub fn add(&mut self, finished: &Finished) {
        let report = &finished.report;
        self.runs += 1;
        if let Some(server) = report.servers.first() {
            self.durability.clone_from(&server.durability);
        }
        self.verdict =
            Some(self.verdict.map_or(report.verdict, |so_far| so_far.or(report.verdict)));
        for gate in &report.gates {
            let so_far = self.gates.entry(gate.expression.clone()).or_insert(gate.outcome);
            *so_far = so_far.or(gate.outcome);
        }
        self.folders.extend(finished.folder.file_name().map(|name| name.to_string_lossy().into()));
        self.rates.extend(report.rates.get("messages_per_s"));
        self.costs.extend(report.figures.get("cpu_us_per_message"));
        self.messages_per_s = median(&self.rates);
        self.cpu_us_per_message = median(&self.costs);
        for (name, histogram) in finished.totals.iter().filter(|(_, total)| !total.is_empty()) {
            let total = self.totals.entry(name.clone()).or_insert_with(new_histogram);
            // Both resize themselves, so its one error cannot come.
            let added = total.add(histogram);
            debug_assert!(added.is_ok(), "{added:?}");
            self.latencies.insert(name.clone(), LatencyStats::of(total));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::{record, report};

    #[test]
    fn rounds_are_one_row_and_the_worst_verdict_counts() {
        let record = record();
        let mut row = Row::new("redis-kafka", None);
        for (verdict, rate) in [(Verdict::Pass, 10.0), (Verdict::Incomplete, 30.0)] {
            let mut report = report(&record);
            report.verdict = verdict;
            report.rates.insert("messages_per_s".to_owned(), rate);
            if rate > 20.0 {
                report.gates[0].outcome = GateOutcome::Failed;
                report.gates[1].outcome = GateOutcome::Passed;
            }
            let (totals, folder) = (record.totals(), std::path::PathBuf::from("a/run"));
            row.add(&Finished { report, totals, intervals: Vec::new(), folder });
        }
        assert_eq!((row.runs, row.verdict), (2, Some(Verdict::Incomplete)));
        assert_eq!((row.messages_per_s, row.durability.as_str()), (Some(20.0), "disk"));
        let gates: Vec<_> = row.gates.values().copied().collect();
        assert_eq!(gates, [GateOutcome::Failed, GateOutcome::Inconclusive, GateOutcome::Failed]);
        let write = &row.latencies["write"];
        assert_eq!(write.count, 2 * 1_500);
        assert_eq!(write.p50_us, LatencyStats::of(&record.totals()[0].1).p50_us, "not an average");
        assert!(!row.latencies.contains_key("delivery"), "nothing was delivered");
    }
}
