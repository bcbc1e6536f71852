//! The highest rate of an open loop at which a gate holds and nothing is wrong.
//!
//! One set of servers, one run for each rate. A rate holds when the run passed, all of it was sent, its generator kept up, and the gate is
//! met; what cannot be judged does not hold, and says why.

mod search;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::search::Search;
use super::error::BenchError;
use super::gate::Gate;
use super::load_profile::{Arrivals, LoadProfile};
use super::paired_clients::{self, Load, PairedClientsOptions};
use super::report::{GateOutcome, Report, Verdict};
use super::run::RunOptions;
use crate::harness::{ResultFolder, Targets, folder_name};

/// Version of `find-max.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// What is searched.
#[derive(Debug, Clone)]
pub struct FindMaxOptions {
    /// What must hold.
    pub goal: Gate,
    /// The rate that is tried first, messages a second.
    pub from_per_s: f64,
    /// How evenly.
    pub arrivals: Arrivals,
    /// How long each rate is measured.
    pub trial: Duration,
    /// As of one run.
    pub run: RunOptions,
    /// The work; its load is replaced.
    pub work: PairedClientsOptions,
}

/// One rate.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// Messages a second that were intended.
    pub rate_per_s: f64,
    /// Whether it held.
    pub holds: bool,
    /// What the gate measured, in its unit, where it could.
    pub measured: Option<f64>,
    /// Why it did not hold; empty when it did.
    pub why: String,
    /// Where the run was kept.
    pub folder: PathBuf,
}

/// A search that is over and kept.
#[derive(Debug)]
pub struct Found {
    /// Every rate that was tried, in order.
    pub trials: Vec<Trial>,
    /// The highest that held.
    pub best_per_s: Option<f64>,
    /// A run broke a promise: the search ended there.
    pub invalid: bool,
    /// Stopped with Ctrl-C.
    pub aborted: bool,
    /// Where everything was kept.
    pub folder: PathBuf,
}

/// Searches, and tells `tried` of each rate.
pub async fn run(
    options: &FindMaxOptions,
    cancel: &CancellationToken,
    mut tried: impl FnMut(&Trial),
) -> Result<Found, BenchError> {
    options.work.validate()?;
    ResultFolder::check(&options.run.out)?;
    let mut servers = Targets::start(&options.run.targets).await?;
    let name = folder_name("find-max", &servers.engine_label());
    let mut folder = ResultFolder::create(&options.run.out, &name)?;
    let mut search = Search::from(options.from_per_s);
    let (mut trials, mut invalid) = (Vec::<Trial>::new(), false);
    while let Some(rate) = search.next().filter(|_| !invalid && !cancel.is_cancelled()) {
        let targets = servers.again(&options.run.targets);
        let run = RunOptions { targets, out: folder.path().to_owned(), ..options.run.clone() };
        let work = PairedClientsOptions {
            load: Load::Open {
                profile: LoadProfile::constant(rate, options.trial),
                arrivals: options.arrivals,
            },
            user_prefix: format!("{}-{}", options.work.user_prefix, trials.len()),
            ..options.work.clone()
        };
        let finished = Box::pin(paired_clients::run(&run, &work, cancel)).await?;
        if finished.report.aborted {
            break;
        }
        invalid = finished.report.verdict == Verdict::Invalid;
        let trial = judge(rate, &options.goal, &finished.report, finished.folder);
        search.tell(rate, trial.holds);
        tried(&trial);
        trials.push(trial);
    }
    servers.stop().await;
    let (best_per_s, aborted) = (search.best(), cancel.is_cancelled());
    let json = serde_json::json!({
        "schema_version": SCHEMA_VERSION, "command": options.run.command, "goal": options.goal.expression(),
        "best_per_s": best_per_s, "invalid": invalid, "aborted": aborted, "trials": trials,
    });
    let json = serde_json::to_vec_pretty(&json).map_err(|error| folder.error(error.into()))?;
    folder.write("find-max.json", &json)?;
    Ok(Found { trials, best_per_s, invalid, aborted, folder: folder.path().to_owned() })
}

fn judge(rate_per_s: f64, goal: &Gate, report: &Report, folder: PathBuf) -> Trial {
    let result = goal.judge(report, report.verdict == Verdict::Pass);
    let is_met = result.outcome == GateOutcome::Passed && report.verdict == Verdict::Pass;
    let why = match (report.verdict, result.outcome) {
        _ if is_met => String::new(),
        (Verdict::Invalid, _) => "a promise was broken".to_owned(),
        (_, GateOutcome::Failed) => format!("{} is not met", goal.expression()),
        _ => {
            let reason = report.overload.first().or(report.notes.first()).cloned();
            reason.or(result.reason.clone()).unwrap_or_else(|| "not all could be done".to_owned())
        }
    };
    Trial { rate_per_s, holds: is_met, measured: result.measured, why, folder }
}
