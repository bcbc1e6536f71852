//! `bench compare`: is server B slower than server A? Two programs, two settings or two engines.
//!
//! Fresh servers in interleaved pairs ([`sequential`]), a bootstrap interval over the pairs ([`bootstrap`]), a minimum
//! effect ([`verdict`]); runs that something else disturbed do not count ([`disturbance`]). Every run is kept at once
//! ([`series`]), so that a series can be stopped and taken up. The clients are always this binary.

pub mod bootstrap;
pub mod disturbance;
pub mod measure;
mod metric;
mod program;
mod report;
pub mod sequential;
#[cfg(test)]
mod sequential_tests;
pub mod series;
pub mod verdict;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use metric::Metric;
pub use program::server_options;
pub use report::{CompareReport, Comparison, render};

use super::error::BenchError;
use super::file_limit::make_room_for;
use crate::harness::{Host, Versions};
use measure::{Measured, ServerOptions, Work, measure};
use sequential::{Judgement, Rules, Run, Step, next, pairs_min};
use series::{Plan, SCHEMA_VERSION, Series};

/// What `bench compare` is asked for.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// What is compared with.
    pub a: ServerOptions,
    /// What is judged.
    pub b: ServerOptions,
    /// Of each run.
    pub work: Work,
    /// Of each comparison.
    pub rules: Rules,
    /// Comparisons, each on its own.
    pub repeat: usize,
    /// Where result folders go.
    pub out: PathBuf,
    /// The command line for the report, secrets already left out.
    pub command: String,
}

impl CompareOptions {
    fn validate(&self) -> Result<(), BenchError> {
        let refuse = |text: String| Err(BenchError::Usage(text));
        let Rules { pairs, max_time_s, min_effect, confidence, .. } = self.rules;
        self.work.validate()?;
        if !(0.5..=0.999).contains(&confidence) {
            return refuse(format!("--confidence {confidence}: give 0.5 to 0.999"));
        }
        let least = pairs_min(confidence);
        if !(least..=1_000).contains(&pairs) {
            return refuse(format!(
                "--pairs {pairs}: give {least} to 1000; fewer cannot reach --confidence {confidence}"
            ));
        }
        if !(min_effect > 0.0 && min_effect <= 10.0) {
            return refuse("--min-effect: give more than 0%, at most 1000%".to_owned());
        }
        if max_time_s <= 0.0 {
            return refuse("--max-time: give at least 1s".to_owned());
        }
        if !(1..=10_000).contains(&self.repeat) {
            return refuse(format!("--repeat {}: give 1 to 10000", self.repeat));
        }
        Ok(())
    }
}

/// Begins a series and makes its comparisons.
pub async fn compare(
    options: CompareOptions,
    cancel: &CancellationToken,
) -> Result<CompareReport, BenchError> {
    options.validate()?;
    let CompareOptions { a, b, work, rules, repeat, out, command } = options;
    let plan = Plan {
        schema_version: SCHEMA_VERSION,
        command,
        started_at: jiff::Timestamp::now().to_string(),
        versions: Versions::of_this_binary(),
        host: Host::find(),
        a,
        b,
        work,
        rules,
        repeat,
    };
    go_on(Series::create(&out, plan)?, cancel).await
}

/// Takes a series up again where it was stopped. It must be the same machine, the same clients and the same servers.
pub async fn resume(
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<CompareReport, BenchError> {
    let series = Series::resume(folder)?;
    let refuse = |text: String| {
        Err(BenchError::Usage(format!("--resume {}: {text}; begin a new one", folder.display())))
    };
    if !same_machine(&series.plan.host, &Host::find()) {
        return refuse(format!("it was begun on {}", series.plan.host.cpu_model));
    }
    if series.plan.versions != Versions::of_this_binary() {
        return refuse("its clients were another build of chatctl".to_owned());
    }
    for server in [&series.plan.a, &series.plan.b] {
        if program::sha256(&server.binary)? != server.binary_sha256 {
            return refuse(format!("{} has changed", server.binary.display()));
        }
    }
    go_on(series, cancel).await
}

/// Whether figures of one may be compared with figures of the other.
pub fn same_machine(one: &Host, other: &Host) -> bool {
    (&one.cpu_model, one.cores, &one.kernel) == (&other.cpu_model, other.cores, &other.kernel)
}

async fn go_on(
    mut series: Series,
    cancel: &CancellationToken,
) -> Result<CompareReport, BenchError> {
    make_room_for(series.plan.work.clients)?;
    eprintln!("runs are kept in {}", series.folder().display());
    let mut finished = Vec::new();
    for comparison in 0..series.plan.repeat {
        match Box::pin(one_comparison(&mut series, comparison, cancel)).await? {
            Some(judgement) => {
                let runs = series.runs(comparison);
                finished.push(Comparison::new(comparison, judgement, runs));
            }
            None => {
                eprintln!(
                    "go on with: chatctl bench compare --resume {}",
                    series.folder().display()
                );
                break;
            }
        }
    }
    let report = CompareReport::new(series.plan.clone(), finished, series.folder().to_owned());
    if !report.aborted {
        report.keep(&series)?;
    }
    Ok(report)
}

/// Until it is over; `None`: stopped before.
async fn one_comparison(
    series: &mut Series,
    comparison: usize,
    cancel: &CancellationToken,
) -> Result<Option<Judgement>, BenchError> {
    let Plan { rules, work, repeat, .. } = series.plan.clone();
    loop {
        let runs = series.runs(comparison);
        let side = match next(&rules, runs) {
            Step::Run(side) => side,
            Step::Over(judgement) => {
                let verdict = judgement.verdict;
                eprintln!(
                    "comparison {} of {repeat}: {verdict}, {}",
                    comparison + 1,
                    judgement.reason
                );
                return Ok(Some(*judgement));
            }
        };
        let server = match side {
            sequential::Side::A => series.plan.a.clone(),
            sequential::Side::B => series.plan.b.clone(),
        };
        let spent_s: f64 = runs.iter().map(|run| run.measured.took_s).sum();
        let left = Duration::from_secs_f64((rules.max_time_s - spent_s).max(0.0));
        let measured = tokio::select! {
            () = cancel.cancelled() => return Ok(None),
            measured = tokio::time::timeout(left, Box::pin(measure(&server, &work))) => measured,
        };
        let measured = match measured {
            Ok(measured) => measurable(rules.metric, measured?)?,
            // Its time counts, its figures do not.
            Err(_) => Measured::cut(left),
        };
        let value = measured.figures.get(rules.metric.name());
        let shown = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let (number, unit) = (runs.len() / 2 + 1, rules.metric.unit());
        eprintln!("pair {number}, {side:?}: {shown} {unit} in {:.1} s", measured.took_s);
        series.add(comparison, Run { side, measured })?;
    }
}

/// Refuses at once what no repetition will give.
fn measurable(metric: Metric, measured: Measured) -> Result<Measured, BenchError> {
    if measured.failure.is_some() || measured.figures.contains_key(metric.name()) {
        return Ok(measured);
    }
    Err(BenchError::Unmeasurable(match metric {
        Metric::ServerCpu => format!("a run has no {metric}: the server's /metrics does not tell"),
        _ => format!("a run has no {metric}: too few samples; ask for more --messages"),
    }))
}
