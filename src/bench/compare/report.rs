//! What a series leaves behind: `result.json`, and the same for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::measure::ServerOptions;
use super::sequential::{Judgement, Run};
use super::series::{Plan, Series};
use super::verdict::Verdict;
use crate::bench::error::BenchError;
use crate::bench::stats::median;

/// Most rejected pairs that a summary tells of; `result.json` has all.
const REJECTED_SHOWN_MAX: usize = 5;

/// One comparison of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// From 0.
    pub comparison: usize,
    /// What a server of each side says of itself.
    pub servers: BTreeMap<String, String>,
    /// What was found.
    #[serde(flatten)]
    pub judgement: Judgement,
}

impl Comparison {
    /// With what the runs say of their servers.
    pub fn new(comparison: usize, judgement: Judgement, runs: &[Run]) -> Self {
        let said = |run: &Run| {
            let side = format!("{:?}", run.side).to_lowercase();
            (side, format!("{}, durability {}", run.measured.engine, run.measured.durability))
        };
        Self { comparison, servers: runs.iter().map(said).collect(), judgement }
    }
}

/// A series, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompareReport {
    /// What was to be done, with `schema_version`.
    #[serde(flatten)]
    pub plan: Plan,
    /// Stopped before its end.
    pub aborted: bool,
    /// How many comparisons came out how.
    pub verdicts: BTreeMap<String, usize>,
    /// Those that are over.
    pub comparisons: Vec<Comparison>,
    /// Where everything is.
    pub folder: PathBuf,
}

impl CompareReport {
    pub(super) fn new(plan: Plan, comparisons: Vec<Comparison>, folder: PathBuf) -> Self {
        let mut verdicts: BTreeMap<String, usize> =
            [Verdict::Slower, Verdict::Faster, Verdict::Same, Verdict::Inconclusive]
                .map(|verdict| (verdict.to_string(), 0))
                .into();
        for found in &comparisons {
            *verdicts.entry(found.judgement.verdict.to_string()).or_insert(0) += 1;
        }
        let aborted = comparisons.len() < plan.repeat;
        Self { plan, aborted, verdicts, comparisons, folder }
    }

    /// The verdict of a series of one; `Inconclusive` when it was stopped.
    pub fn verdict(&self) -> Verdict {
        match self.comparisons.as_slice() {
            [only] if !self.aborted => only.judgement.verdict,
            _ => Verdict::Inconclusive,
        }
    }

    /// Whether a server broke a promise about messages.
    pub fn is_invalid(&self) -> bool {
        self.comparisons.iter().any(|found| !found.judgement.violations.is_empty())
    }

    pub(super) fn keep(&self, series: &Series) -> Result<(), BenchError> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| BenchError::Unmeasurable(format!("the result is no JSON: {error}")))?;
        series.write("result.json", &json)?;
        let summary = render(self);
        series.write("summary.txt", summary.as_bytes())?;
        series.write("README.md", readme(self, &summary).as_bytes())
    }
}

/// The summary.
pub fn render(report: &CompareReport) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut text, report);
    text
}

fn write_all(text: &mut String, report: &CompareReport) -> std::fmt::Result {
    let CompareReport { plan, .. } = report;
    let Plan { work, rules, versions, host, .. } = plan;
    writeln!(text, "compare, {} of B against A, closed loop", rules.metric)?;
    let first = report.comparisons.first();
    for (name, server) in [("A", &plan.a), ("B", &plan.b)] {
        let said = first.and_then(|found| found.servers.get(&name.to_lowercase()));
        writeln!(text, "  {name}  {}", shown(server, said))?;
    }
    writeln!(
        text,
        "  a run: {} clients, {} messages each, {} bytes, {} in flight; fresh servers",
        work.clients, work.messages, work.size_bytes, work.in_flight
    )?;
    writeln!(
        text,
        "  chatctl {} ({}, {}) on {}: {}, {} cores, kernel {}",
        versions.chatctl,
        versions.git_revision,
        versions.profile,
        host.name,
        host.cpu_model,
        host.cores,
        host.kernel
    )?;
    writeln!(text, "  {}\n", plan.command)?;
    let durability = |side: &str| Some(first?.servers.get(side)?.split_once(", ")?.1);
    if durability("a") != durability("b") {
        writeln!(text, "  note: figures of different durability classes are not comparable")?;
    }
    match report.comparisons.as_slice() {
        [] => {}
        [only] if plan.repeat == 1 => write_one(text, plan, only)?,
        several => write_table(text, report, several)?,
    }
    if report.aborted {
        writeln!(
            text,
            "STOPPED after {} of {} comparisons",
            report.comparisons.len(),
            plan.repeat
        )?;
    }
    Ok(())
}

fn shown(server: &ServerOptions, said: Option<&String>) -> String {
    let mut text = server.binary.display().to_string();
    let digest = server.binary_sha256.get(..12).unwrap_or(&server.binary_sha256);
    let _ = write!(text, " (sha256 {digest})");
    for (key, value) in &server.environment {
        let _ = write!(text, " {key}={value}");
    }
    if let Some(said) = said {
        let _ = write!(text, "; engine {said}");
    }
    text
}

fn write_one(text: &mut String, plan: &Plan, found: &Comparison) -> std::fmt::Result {
    let Judgement { verdict, reason, ratio, looks, pairs_used, pairs_rejected, took_s, .. } =
        &found.judgement;
    let (unit, rules) = (plan.rules.metric.unit(), &plan.rules);
    for (side, value) in [("A", found.judgement.a_median), ("B", found.judgement.b_median)] {
        let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        writeln!(text, "{side:16} {value:>12} {unit}, median")?;
    }
    if let Some(ratio) = ratio {
        writeln!(
            text,
            "{:16} {:>12.4} median of pairs, {:.1} % interval {:.4} to {:.4} (look {} of {})",
            "B/A",
            ratio.median,
            ratio.level * 100.0,
            ratio.low,
            ratio.high,
            looks.0,
            looks.1
        )?;
    }
    writeln!(text, "{:16} {pairs_used:>12} used, {pairs_rejected} rejected", "pairs")?;
    writeln!(text, "{:16} {took_s:>12.1} s\n", "took")?;
    let rejected = found.judgement.pairs.iter().enumerate();
    let rejected = rejected.filter_map(|(index, pair)| Some((index + 1, pair.rejected.as_ref()?)));
    for (number, why) in rejected.take(REJECTED_SHOWN_MAX) {
        writeln!(text, "  pair {number} rejected: {why}")?;
    }
    for (name, count) in &found.judgement.violations {
        writeln!(text, "  INVALID: {name} {count}")?;
    }
    let word = verdict.to_string().to_uppercase();
    writeln!(text, "{word} at a minimum effect of {} %: {reason}", rules.min_effect * 100.0)
}

fn write_table(
    text: &mut String,
    report: &CompareReport,
    comparisons: &[Comparison],
) -> std::fmt::Result {
    writeln!(text, "   # verdict          B/A     low    high  used  rejected  took s")?;
    for Comparison { comparison, judgement, .. } in comparisons {
        let ratio = judgement.ratio.map(|ratio| [ratio.median, ratio.low, ratio.high]);
        let ratio = ratio.map_or_else(
            || format!("{:>7} {:>7} {:>7}", "-", "-", "-"),
            |ratio| ratio.map(|value| format!("{value:>7.4}")).join(" "),
        );
        writeln!(
            text,
            "{:>4} {:12} {ratio} {:>5} {:>9} {:>7.1}",
            comparison + 1,
            judgement.verdict.to_string(),
            judgement.pairs_used,
            judgement.pairs_rejected,
            judgement.took_s
        )?;
    }
    let of = |value: fn(&Judgement) -> Option<f64>| {
        let values: Vec<f64> =
            comparisons.iter().filter_map(|found| value(&found.judgement)).collect();
        median(&values)
    };
    writeln!(text)?;
    if let Some(ratio) = of(|judgement| Some(judgement.ratio?.median)) {
        writeln!(text, "median B/A {ratio:.4}")?;
    }
    if let Some(took_s) = of(|judgement| Some(judgement.took_s)) {
        let most = comparisons.iter().map(|found| found.judgement.took_s).fold(0.0, f64::max);
        writeln!(text, "a comparison took {took_s:.1} s in the median, {most:.1} s at most")?;
    }
    let verdicts = report.verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}"));
    let verdicts = verdicts.collect::<Vec<_>>().join(", ");
    writeln!(text, "{} comparisons: {verdicts}", comparisons.len())
}

fn readme(report: &CompareReport, summary: &str) -> String {
    format!(
        "# compare, {}\n\n```sh\n{}\n```\n\n```text\n{summary}```\n\n## Files\n\n\
        - `plan.json`: what was to be done, with `schema_version`\n\
        - `runs.jsonl`: one line per run, in the order in which they were made\n\
        - `result.json`: every verdict with its pairs\n\
        - `summary.txt`: what was printed\n",
        report.plan.started_at, report.plan.command
    )
}

#[cfg(test)]
mod tests {
    use super::super::bootstrap::Estimate;
    use super::super::sequential::{Pair, Side};
    use super::super::sequential_tests::run;
    use super::super::series::tests::plan;
    use super::*;

    fn comparison(number: usize, verdict: Verdict) -> Comparison {
        let kept = Pair { a: Some(27.0), b: Some(29.7), ratio: Some(1.1), rejected: None };
        let why = Some("the probe is off by +20 %".to_owned());
        let judgement = Judgement {
            verdict,
            reason: "clear".to_owned(),
            ratio: Some(Estimate { median: 1.1, low: 1.07, high: 1.12, level: 0.975 }),
            a_median: Some(27.0),
            b_median: Some(29.7),
            looks: (1, 2),
            pairs_used: 8,
            pairs_rejected: 1,
            violations: BTreeMap::new(),
            took_s: 12.5,
            pairs: vec![kept.clone(), Pair { ratio: None, rejected: why, ..kept }],
        };
        Comparison::new(number, judgement, &[run(Side::A, 27.0), run(Side::B, 29.7)])
    }

    fn report(repeat: usize, comparisons: Vec<Comparison>) -> CompareReport {
        CompareReport::new(Plan { repeat, ..plan() }, comparisons, PathBuf::from("results/one"))
    }

    #[test]
    fn the_schema_of_result_json_is_pinned() {
        let report = report(1, vec![comparison(0, Verdict::Slower)]);
        let json = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<CompareReport>(&json).unwrap(), report);
        assert_eq!((report.verdict(), report.aborted), (Verdict::Slower, false));
        insta::assert_snapshot!(json);
    }

    #[test]
    fn the_summaries_are_pinned() {
        let one = report(1, vec![comparison(0, Verdict::Slower)]);
        insta::assert_snapshot!("one", render(&one));
        let found = [Verdict::Same, Verdict::Inconclusive];
        let found = found.into_iter().enumerate().map(|(n, verdict)| comparison(n, verdict));
        let stopped = report(3, found.collect());
        assert_eq!((stopped.verdict(), stopped.aborted), (Verdict::Inconclusive, true));
        insta::assert_snapshot!("series", render(&stopped));
    }
}
