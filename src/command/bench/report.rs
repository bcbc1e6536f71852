//! `chatctl bench report` and `chatctl bench schema`: what needs no server, only files.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::bench::BenchError;
use crate::bench::report::{Rebuild, rebuild, schema};
use crate::command::{Exit, print_out};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Result folders of chatctl bench; report.json and latencies.hlog are read. That of --engines stands for the
    /// runs in it
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// The page to write, over one that is there. Default: report.html in a single folder,
    /// bench-report.html in that of --engines, or in the working directory
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Add up the histograms of runs of the same workload, engine and durability into one row
    #[arg(long)]
    merge: bool,
}

/// Writes the page and prints where it is.
pub(super) fn run(args: ReportArgs) -> anyhow::Result<Exit> {
    let ReportArgs { folders, out, merge } = args;
    match rebuild(&Rebuild { folders, out, merge }) {
        Ok(path) => {
            print_out(&format!("{}\n", path.display()))?;
            Ok(Exit::Pass)
        }
        Err(BenchError::Usage(text)) => {
            eprintln!("error: {text}");
            Ok(Exit::Usage)
        }
        // Its text holds its source's already; as a chain they would be printed twice.
        Err(error) => Err(anyhow::anyhow!("{error}")),
    }
}

/// Prints the schema.
pub(super) fn print_schema() -> anyhow::Result<Exit> {
    print_out(&schema().context("the schema cannot be written as JSON")?)?;
    Ok(Exit::Pass)
}
