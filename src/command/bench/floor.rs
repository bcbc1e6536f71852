//! `chatctl bench floor`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::super::black_box::{server_variable, shown_command};
use super::super::{Exit, print_out};
use super::served::ServedArgs;
use super::{duration, failed};
use crate::bench::floor::{FloorOptions, line, render, run as measure};
use crate::command::format::FormatArgs;

#[derive(Debug, Args)]
pub(super) struct FloorArgs {
    /// Only these figures, like G1,G3; default: all
    #[arg(long, value_delimiter = ',', value_name = "FIGURES")]
    only: Vec<String>,
    /// Times that each figure is measured; the table has the medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each step of a round is
    #[arg(long, default_value = "1s", value_parser = duration)]
    slice: Duration,
    /// Program of the chat servers; default: this one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Environment of the chat servers; repeat for several
    #[arg(long, value_name = "KEY=VALUE", value_parser = server_variable)]
    server_env: Vec<(String, String)>,
    /// Where result folders are made; nothing there is written over
    #[arg(long, default_value = "results", value_name = "DIR")]
    out: PathBuf,
    /// Exit code 3 where a figure is not as it should be on a quiet machine of two cores, 2 where one could not be told
    #[arg(long)]
    require: bool,
    #[command(flatten)]
    served: ServedArgs,
    #[command(flatten)]
    format: FormatArgs,
}

pub(super) async fn run(args: FloorArgs, cancel: &CancellationToken) -> anyhow::Result<Exit> {
    let mut options = FloorOptions {
        only: args.only,
        rounds: args.rounds,
        slice: args.slice,
        program: args.binary,
        environment: args.server_env,
        served: Vec::new(),
        out: args.out,
        command: shown_command(),
    };
    // Before services are brought up for nothing.
    if let Err(error) = options.validate() {
        return failed(error);
    }
    let brought_up = match Box::pin(args.served.bring_up()).await {
        Ok(brought_up) => brought_up,
        Err(error) => return error.downcast().map_or_else(Err, failed),
    };
    let redis_before;
    (options.served, redis_before) = brought_up;
    let measured = measure(&options, cancel, |figure| eprintln!("{}", line(figure))).await;
    if let Some(before) = redis_before {
        before.restore().await?;
    }
    let measured = match measured {
        Ok(measured) => measured,
        Err(error) => return failed(error),
    };
    let report = &measured.report;
    print_out(&match args.format.is_json() {
        true => serde_json::to_string_pretty(report)? + "\n",
        false => render(report),
    })?;
    eprintln!("kept in {}", measured.folder.display());
    Ok(match report.missed() {
        _ if report.aborted || !report.failures.is_empty() => Exit::Inconclusive,
        missed if missed > 0 && args.require => Exit::PerformanceGate,
        _ if args.require && report.unknown() > 0 => Exit::Inconclusive,
        _ => Exit::Pass,
    })
}
