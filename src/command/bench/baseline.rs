//! `chatctl bench baseline`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::super::black_box::{key_value, shown_command};
use super::super::{Exit, print_out};
use super::compare::{WorkArgs, one_server, share};
use super::duration;
use crate::bench::BenchError;
use crate::bench::baseline::{
    Baseline, BaselineOptions, CheckReport, Runs, check, load, measure_all,
};
use crate::bench::compare::verdict::Verdict;
use crate::command::format::FormatArgs;

#[derive(Debug, Args)]
pub(super) struct BaselineArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure a server and keep its figures, its host and its versions in a file
    Save(SaveArgs),
    /// Do the work of a baseline again: does it cost more now? Exit code 3 if so, 2 if that cannot be told
    Check(CheckArgs),
}

#[derive(Debug, Args)]
struct SaveArgs {
    /// The file to make
    file: PathBuf,
    /// Program of the server; default: this one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Environment of the server, like CHATCTL_LOCAL_SYNC=never; repeat for several
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    env: Vec<(String, String)>,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    runs: RunsArgs,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The file that `save` made; its work and its environment are used
    file: PathBuf,
    /// Program of the server; default: this one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    #[command(flatten)]
    runs: RunsArgs,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, Args)]
struct RunsArgs {
    /// Runs that count, each with a fresh server
    #[arg(long, default_value_t = 9)]
    runs: usize,
    /// No run starts that would end later than this
    #[arg(long, default_value = "60s", value_parser = duration)]
    max_time: Duration,
    /// Most that a figure may grow from the baseline to its check; the more, the less quiet the machine must be
    #[arg(long, default_value = "10%", value_parser = share)]
    max_slowdown: f64,
}

pub(super) async fn run(args: BaselineArgs, cancel: &CancellationToken) -> anyhow::Result<Exit> {
    match args.what {
        What::Save(args) => Box::pin(save(args, cancel)).await,
        What::Check(args) => Box::pin(check_again(args, cancel)).await,
    }
}

async fn save(args: SaveArgs, cancel: &CancellationToken) -> anyhow::Result<Exit> {
    let file = &args.file;
    if file.exists() {
        let text =
            format!("{}: it is there already; name another file or remove it", file.display());
        return super::failed(BenchError::Usage(text));
    }
    let options = one_server(args.binary, args.env).map(|server| BaselineOptions {
        server,
        work: args.work.work(),
        runs: args.runs.runs,
        max_time: args.runs.max_time,
        slowdown_max: args.runs.max_slowdown,
        command: shown_command(),
    });
    let baseline = match made(options, cancel).await {
        Ok(baseline) => baseline,
        Err(exit) => return exit,
    };
    baseline.save(file)?;
    print_out(&match args.format.is_json() {
        true => serde_json::to_string_pretty(&baseline)? + "\n",
        false => shown(&baseline),
    })?;
    eprintln!("kept in {}", file.display());
    Ok(Exit::Pass)
}

async fn check_again(args: CheckArgs, cancel: &CancellationToken) -> anyhow::Result<Exit> {
    let baseline = match load(&args.file) {
        Ok(baseline) => baseline,
        Err(error) => {
            eprintln!("inconclusive: {error}");
            return Ok(Exit::Inconclusive);
        }
    };
    let environment = baseline.circumstances.server.environment.clone();
    let options = one_server(args.binary, environment).map(|server| BaselineOptions {
        server,
        work: baseline.circumstances.work,
        runs: args.runs.runs,
        max_time: args.runs.max_time,
        slowdown_max: args.runs.max_slowdown,
        command: shown_command(),
    });
    let now = match made(options, cancel).await {
        Ok(now) => now,
        Err(exit) => return exit,
    };
    let report = check(baseline, now, args.runs.max_slowdown);
    print_out(&match args.format.is_json() {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => shown_check(&report),
    })?;
    Ok(match report.verdict {
        Verdict::Same | Verdict::Faster => Exit::Pass,
        Verdict::Slower => Exit::PerformanceGate,
        Verdict::Inconclusive => Exit::Inconclusive,
    })
}

/// The runs, or how the process ends without them.
async fn made(
    options: Result<BaselineOptions, BenchError>,
    cancel: &CancellationToken,
) -> Result<Baseline, anyhow::Result<Exit>> {
    let options = options.map_err(super::failed)?;
    match Box::pin(measure_all(&options, cancel)).await.map_err(super::failed)? {
        Runs::Enough(baseline) => Ok(*baseline),
        Runs::TooFew(why) => {
            eprintln!("inconclusive: {why}");
            Err(Ok(Exit::Inconclusive))
        }
        Runs::Invalid(broken) => {
            eprintln!("INVALID: {broken}");
            Err(Ok(Exit::Validity))
        }
    }
}

fn shown(baseline: &Baseline) -> String {
    let mut text = String::new();
    let (engine, durability) = (&baseline.engine, &baseline.durability);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "engine {engine}, durability {durability}, closed loop");
    let _ = writeln!(text, "{:28} {:>12} {:>12} {:>12} runs", "figure", "median", "min", "max");
    for (name, spread) in &baseline.figures {
        let _ = writeln!(
            text,
            "{name:28} {:>12.3} {:>12.3} {:>12.3} {}",
            spread.median,
            spread.min,
            spread.max,
            spread.values.len()
        );
    }
    text
}

fn shown_check(report: &CheckReport) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:28} {:>12} {:>12}  growth", "figure", "then", "now");
    for growth in &report.growths {
        let ratio = growth.growth.map_or_else(
            || "-".to_owned(),
            |ratio| format!("{:.4} ({:.4} to {:.4})", ratio.median, ratio.low, ratio.high),
        );
        let (before, now, verdict) = (growth.before, growth.now, growth.verdict);
        let _ =
            writeln!(text, "{:28} {before:>12.3} {now:>12.3}  {ratio}: {verdict}", growth.figure);
    }
    for why in &report.inconclusive_because {
        let _ = writeln!(text, "  {why}");
    }
    let word = match report.verdict {
        Verdict::Same | Verdict::Faster => "WITHIN",
        Verdict::Slower => "BEYOND",
        Verdict::Inconclusive => "INCONCLUSIVE about",
    };
    let _ = writeln!(text, "{word} a slow-down of {} %", report.slowdown_max * 100.0);
    text
}
