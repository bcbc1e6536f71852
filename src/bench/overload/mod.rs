//! What a server does when it is asked for more than it can do: how much it still gets done, how long that takes, and how soon it
//! is as before.
//!
//! First a closed loop finds its capacity. Then one open loop offers parts and multiples of that, one after the other, begins and ends with the same low rate, and
//! is judged second by second ([`curve`]).

pub mod curve;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::curve::{Curve, Second, Step};
use super::error::BenchError;
use super::load_profile::{Arrivals, LoadProfile};
use super::paired_clients::{self, Load, PairedClientsOptions, Volume};
use super::recorder::Interval;
use super::report::Verdict;
use super::run::RunOptions;
use crate::harness::{ResultFolder, Targets, folder_name};

/// Version of `overload.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// The rate before and after, as a part of the capacity.
pub const CALM: f64 = 0.5;

/// Seconds that one run may have: intervals of a second are kept of no more.
const SECONDS_MAX: u64 = 500;

/// What is offered.
#[derive(Debug, Clone)]
pub struct OverloadOptions {
    /// Multiples of the capacity, in this order.
    pub multiples: Vec<f64>,
    /// How long each is offered, and the low rate before and after it, in whole seconds.
    pub step: Duration,
    /// What accepted messages may take under overload, p99.
    pub p99_max: Duration,
    /// How evenly.
    pub arrivals: Arrivals,
    /// As of one run.
    pub run: RunOptions,
    /// The work; its load and volume are replaced.
    pub work: PairedClientsOptions,
}

/// A curve that is measured and kept.
#[derive(Debug)]
pub struct Measured {
    /// What was found.
    pub curve: Curve,
    /// Error answers by code, of the whole open loop.
    pub errors: BTreeMap<String, u64>,
    /// A promise was broken.
    pub invalid: bool,
    /// Stopped with Ctrl-C.
    pub aborted: bool,
    /// Where everything was kept.
    pub folder: PathBuf,
}

/// Measures, and tells of the capacity once it is known; `None`: it could not be measured.
pub async fn run(
    options: &OverloadOptions,
    cancel: &CancellationToken,
    told: impl FnOnce(f64),
) -> Result<Option<Measured>, BenchError> {
    options.validate()?;
    ResultFolder::check(&options.run.out)?;
    let mut servers = Targets::start(&options.run.targets).await?;
    let measured = Box::pin(measure(options, &servers, cancel, told)).await;
    servers.stop().await;
    measured
}

async fn measure(
    options: &OverloadOptions,
    servers: &Targets,
    cancel: &CancellationToken,
    told: impl FnOnce(f64),
) -> Result<Option<Measured>, BenchError> {
    let name = folder_name("overload", &servers.engine_label());
    let mut folder = ResultFolder::create(&options.run.out, &name)?;
    let run = |load, volume, name: &str| {
        let targets = servers.again(&options.run.targets);
        let run = RunOptions { targets, out: folder.path().to_owned(), ..options.run.clone() };
        let user_prefix = format!("{}-{name}", options.work.user_prefix);
        (run, PairedClientsOptions { load, volume, user_prefix, ..options.work.clone() })
    };
    let step_ms = u64::try_from(options.step.as_millis()).unwrap_or(u64::MAX);
    let (closed_run, closed) = run(Load::Closed, Volume::DurationMs(step_ms), "peak");
    let finished = Box::pin(paired_clients::run(&closed_run, &closed, cancel)).await?;
    let capacity = finished.report.rates.get("messages_per_s").copied().unwrap_or_default();
    if cancel.is_cancelled() || finished.report.verdict != Verdict::Pass {
        return Ok(None);
    }
    told(capacity);
    let steps = options.steps(capacity);
    let profile = LoadProfile::steps(steps.iter().map(|step| (step.offered_per_s, step.length)));
    let load = Load::Open { profile, arrivals: options.arrivals };
    let (open_run, open) = run(load, options.work.volume, "load");
    let finished = Box::pin(paired_clients::run(&open_run, &open, cancel)).await?;
    let curve = Curve::of(capacity, &steps, &seconds(&finished.intervals), options.p99_max);
    let (invalid, aborted) = (finished.report.verdict == Verdict::Invalid, cancel.is_cancelled());
    let json = serde_json::json!({
        "schema_version": SCHEMA_VERSION, "command": options.run.command, "invalid": invalid, "aborted": aborted,
        "curve": curve, "errors": finished.report.errors,
    });
    let json = serde_json::to_vec_pretty(&json).map_err(|error| folder.error(error.into()))?;
    folder.write("overload.json", &json)?;
    let (errors, folder) = (finished.report.errors, folder.path().to_owned());
    Ok(Some(Measured { curve, errors, invalid, aborted, folder }))
}

impl OverloadOptions {
    fn validate(&self) -> Result<(), BenchError> {
        let refuse = |text: String| Err(BenchError::Usage(text));
        self.work.validate()?;
        let is_multiple = |multiple: &f64| multiple.is_finite() && *multiple > 0.0;
        if self.multiples.is_empty() || !self.multiples.iter().all(is_multiple) {
            return refuse("--overload: give multiples of the capacity, like 1,2,3".into());
        }
        let seconds = self.step.as_secs();
        if seconds < 3 || self.step.subsec_nanos() != 0 {
            return refuse(
                "--duration: with --overload, each step takes whole seconds, at least 3s".into(),
            );
        }
        if seconds * (self.multiples.len() as u64 + 2) > SECONDS_MAX {
            return refuse(format!("--overload: all steps may take {SECONDS_MAX} s together"));
        }
        Ok(())
    }

    fn steps(&self, capacity: f64) -> Vec<Step> {
        let step = |multiple: f64| Step {
            multiple,
            offered_per_s: capacity * multiple,
            length: self.step,
        };
        let multiples = [CALM].into_iter().chain(self.multiples.iter().copied()).chain([CALM]);
        multiples.map(step).collect()
    }
}

/// What was answered in each second, from its own begin.
fn seconds(intervals: &[Interval]) -> Vec<Second> {
    let mut seconds = Vec::new();
    for interval in intervals.iter().filter(|interval| interval.name == "write_service") {
        let index = interval.start.as_secs() as usize;
        seconds.resize_with(seconds.len().max(index + 1), Second::default);
        seconds[index].times = Some(interval.histogram.clone());
    }
    seconds
}
