//! `chatctl bench compare`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::super::black_box::{key_value, shown_command};
use super::super::{Exit, print_out};
use super::duration;
use crate::bench::BenchError;
use crate::bench::compare::measure::{ServerOptions, Work};
use crate::bench::compare::sequential::Rules;
use crate::bench::compare::verdict::Verdict;
use crate::bench::compare::{
    CompareOptions, CompareReport, Metric, compare, render, resume, server_options,
};
use crate::command::format::FormatArgs;

/// Of the bootstrap: the same runs give the same interval.
const SEED: u64 = 1;

/// The work of one run; `bench baseline` asks for the same.
#[derive(Debug, Args)]
pub(super) struct WorkArgs {
    /// Clients, an even number; each pair has a direct chat
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// Messages that each client sends in one run; a tenth of it is sent before as a warm-up
    #[arg(long, default_value_t = 500)]
    messages: u64,
    /// Bytes of each message's content
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// Messages of one client that may be unanswered
    #[arg(long, default_value_t = 8)]
    in_flight: usize,
}

impl WorkArgs {
    pub(super) fn work(&self) -> Work {
        let Self { clients, messages, size, in_flight } = *self;
        Work { clients, messages, size_bytes: size, in_flight }
    }
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Program of server A, what is compared with; default: this one
    #[arg(long, value_name = "PATH")]
    a_binary: Option<PathBuf>,
    /// Program of server B, what is judged; default: this one
    #[arg(long, value_name = "PATH")]
    b_binary: Option<PathBuf>,
    /// Environment of server A, like CHATCTL_LOCAL_SYNC=never; repeat for several
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    a_env: Vec<(String, String)>,
    /// Environment of server B
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    b_env: Vec<(String, String)>,
    #[command(flatten)]
    work: WorkArgs,
    /// Most pairs that count; it may end at half or three quarters of them
    #[arg(long, default_value_t = 24)]
    pairs: usize,
    /// A comparison ends within this
    #[arg(long, default_value = "60s", value_parser = duration)]
    max_time: Duration,
    /// What is compared: server.cpu_us_per_message, write.p50, write.p99, delivery.p50, delivery.p99 or rate
    #[arg(long, default_value_t = Metric::ServerCpu)]
    metric: Metric,
    /// A smaller difference does not matter; the larger, the less quiet the machine must be
    #[arg(long, default_value = "5%", value_parser = share)]
    min_effect: f64,
    /// How sure a difference must be
    #[arg(long, default_value_t = 0.95)]
    confidence: f64,
    /// Make so many comparisons and say how many came out how: with A and B alike it calibrates the others
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// Where result folders are made; nothing there is written over
    #[arg(long, default_value = "results", value_name = "DIR")]
    out: PathBuf,
    /// Go on with the stopped series in this folder; everything but --format is taken from there
    #[arg(long, value_name = "FOLDER", conflicts_with_all = [
        "a_binary", "b_binary", "a_env", "b_env", "clients", "messages", "size", "in_flight", "pairs", "max_time",
        "metric", "min_effect", "confidence", "repeat", "out",
    ])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

pub(super) async fn run(args: CompareArgs, cancel: &CancellationToken) -> anyhow::Result<Exit> {
    let json = args.format.is_json();
    let made = match &args.resume {
        Some(folder) => Box::pin(resume(folder, cancel)).await,
        None => match options(args) {
            Ok(options) => Box::pin(compare(options, cancel)).await,
            Err(error) => Err(error),
        },
    };
    let report = match made {
        Ok(report) => report,
        Err(error) => return super::failed(error),
    };
    let text = if json { serde_json::to_string_pretty(&report)? + "\n" } else { render(&report) };
    print_out(&text)?;
    eprintln!("kept in {}", report.folder.display());
    Ok(exit_of(&report))
}

fn options(args: CompareArgs) -> Result<CompareOptions, BenchError> {
    let server = |binary: Option<PathBuf>, environment, flag: &str| {
        let environment = without_secrets(flag, environment)?;
        server_options(binary.as_deref(), environment)
    };
    Ok(CompareOptions {
        a: server(args.a_binary, args.a_env, "--a-env")?,
        b: server(args.b_binary, args.b_env, "--b-env")?,
        work: args.work.work(),
        rules: Rules {
            metric: args.metric,
            pairs: args.pairs,
            max_time_s: args.max_time.as_secs_f64(),
            min_effect: args.min_effect,
            confidence: args.confidence,
            seed: SEED,
        },
        repeat: args.repeat,
        out: args.out,
        command: shown_command(),
    })
}

/// The environment of a server is kept in files.
pub(super) fn without_secrets(
    flag: &str,
    environment: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, BenchError> {
    for (key, value) in &environment {
        let written = format!("{key}={value}");
        if super::super::black_box::redacted(&written) != written {
            return Err(BenchError::Usage(format!(
                "{flag} {key}: it holds a secret and would be kept in a file; set it in the environment of chatctl, \
                 which servers inherit"
            )));
        }
    }
    Ok(environment)
}

/// The server of a side as `bench baseline` is given it.
pub(super) fn one_server(
    binary: Option<PathBuf>,
    environment: Vec<(String, String)>,
) -> Result<ServerOptions, BenchError> {
    server_options(binary.as_deref(), without_secrets("--env", environment)?)
}

fn exit_of(report: &CompareReport) -> Exit {
    if report.is_invalid() {
        return Exit::Validity;
    }
    if report.aborted {
        return Exit::Inconclusive;
    }
    // A calibration is done when all of it was done, whatever was found.
    if report.plan.repeat > 1 {
        return Exit::Pass;
    }
    match report.verdict() {
        Verdict::Same | Verdict::Faster => Exit::Pass,
        Verdict::Slower => Exit::PerformanceGate,
        Verdict::Inconclusive => Exit::Inconclusive,
    }
}

/// `5%` or `0.05`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().ok().map(|number| number / unit);
    share
        .filter(|share| share.is_finite() && *share >= 0.0)
        .ok_or_else(|| "write a share, like 5% or 0.05".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percent_or_fractions() {
        assert_eq!((share("5%"), share("0.25"), share("12.5%")), (Ok(0.05), Ok(0.25), Ok(0.125)));
        for wrong in ["", "%", "-1%", "inf", "five"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_refused_where_they_would_be_kept() {
        let environment = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        let secret = environment("REDIS_URL", "redis://me:pw@host/0");
        let error = without_secrets("--a-env", secret).unwrap_err().to_string();
        assert!(error.contains("--a-env REDIS_URL") && !error.contains("pw"), "{error}");
        assert!(without_secrets("--a-env", environment("CHATCTL_LOCAL_SYNC", "never")).is_ok());
    }
}
