//! `bench baseline`: what a server cost once, and whether it costs more now. Weaker than `bench compare`, which has both
//! servers at hand; good where only the figures of the old one are left. What cannot be judged is never called fine.

mod check;
mod file;

use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use check::{CheckReport, Growth, check};
pub use file::{Baseline, BaselineError, SCHEMA_VERSION, Spread};

use super::compare::disturbance::{Tolerance, Usual};
use super::compare::measure::{Measured, ServerOptions, Work, measure};
use super::error::BenchError;
use super::file_limit::make_room_for;
use crate::harness::{Host, Versions};

/// Fewest runs that count: with fewer, an interval is as good as none.
pub const RUNS_MIN: usize = 5;

/// What the runs of one side are asked for.
#[derive(Debug, Clone)]
pub struct BaselineOptions {
    /// The server.
    pub server: ServerOptions,
    /// Of each run.
    pub work: Work,
    /// Runs that count.
    pub runs: usize,
    /// No run starts that would end later.
    pub max_time: Duration,
    /// The growth to be seen, 0.1 for 10 %: a run does not count on a machine too restless for that.
    pub slowdown_max: f64,
    /// The command line for the file, secrets already left out.
    pub command: String,
}

/// The runs of one side.
#[derive(Debug)]
pub enum Runs {
    /// Enough of them count: a baseline of them.
    Enough(Box<Baseline>),
    /// Too few do; why, in words.
    TooFew(String),
    /// A promise about messages was broken; which, in words.
    Invalid(String),
}

/// Makes the runs, each on a fresh server.
pub async fn measure_all(
    options: &BaselineOptions,
    cancel: &CancellationToken,
) -> Result<Runs, BenchError> {
    let BaselineOptions { server, work, runs, max_time, slowdown_max, command } = options;
    let tolerance = Tolerance::of_effect(*slowdown_max);
    work.validate()?;
    if *slowdown_max <= 0.0 {
        return Err(BenchError::Usage("--max-slowdown: give more than 0%".to_owned()));
    }
    if !(RUNS_MIN..=1_000).contains(runs) {
        return Err(BenchError::Usage(format!("--runs {runs}: give {RUNS_MIN} to 1000")));
    }
    make_room_for(work.clients)?;
    let started_at = jiff::Timestamp::now().to_string();
    let (mut made, mut spent_s, mut longest_s) = (Vec::new(), 0.0, 0.0_f64);
    // Runs that something disturbs are made again while there is time.
    while !settled(&made, *runs, tolerance) {
        let left_s = max_time.as_secs_f64() - spent_s;
        if left_s < longest_s {
            break;
        }
        let left = Duration::from_secs_f64(left_s.max(0.0));
        let measured = tokio::select! {
            () = cancel.cancelled() => return Ok(Runs::TooFew("it was stopped".to_owned())),
            measured = tokio::time::timeout(left, Box::pin(measure(server, work))) => measured,
        };
        let Ok(measured) = measured else { break };
        let measured = measured?;
        if !measured.violations.is_empty() {
            let broken = measured.violations.iter().map(|(name, count)| format!("{name} {count}"));
            return Ok(Runs::Invalid(broken.collect::<Vec<_>>().join(", ")));
        }
        spent_s += measured.took_s;
        longest_s = longest_s.max(measured.took_s);
        made.push(measured);
        eprintln!("run {}: {:.1} s", made.len(), spent_s);
    }
    if !settled(&made, RUNS_MIN, tolerance) {
        let counting = counting(&made, tolerance);
        let reasons = made.iter().filter_map(|run| run.failure.clone()).next();
        let reason = reasons.map(|reason| format!(", the first of them failed: {reason}"));
        return Ok(Runs::TooFew(format!(
            "{} of {} runs count{}; give more --max-time, or wait until the machine is quiet",
            counting.len(),
            made.len(),
            reason.unwrap_or_default()
        )));
    }
    let counting = counting(&made, tolerance);
    let rejected = made.len() - counting.len();
    let baseline = Baseline::of(
        &counting,
        rejected,
        file::Circumstances {
            command: command.clone(),
            started_at,
            versions: Versions::of_this_binary(),
            host: Host::find(),
            server: server.clone(),
            work: *work,
        },
    );
    Ok(Runs::Enough(Box::new(baseline)))
}

/// Whether so many count, and at least half of all: what is left of a machine that is hardly ever quiet is a choice.
fn settled(made: &[Measured], runs: usize, tolerance: Tolerance) -> bool {
    let counting = counting(made, tolerance).len();
    counting >= runs && made.len() <= 2 * counting
}

/// Those that nothing disturbed.
fn counting(made: &[Measured], tolerance: Tolerance) -> Vec<&Measured> {
    let whole = || made.iter().filter(|run| run.failure.is_none());
    // What is judged is CPU time.
    let usual = Usual::of(whole().map(|run| &run.conditions), false, tolerance);
    whole().filter(|run| run.conditions.disturbance(&usual).is_none()).collect()
}

/// Reads a baseline; an error of any kind means that nothing can be judged.
pub fn load(path: &Path) -> Result<Baseline, BaselineError> {
    Baseline::load(path)
}
