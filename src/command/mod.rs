//! One thin `run` per subcommand, and how the process ends.

pub mod bench;
mod black_box;
pub mod check;
pub mod completions;
pub mod config;
pub mod demo;
pub mod doctor;
mod document;
pub mod dump;
mod engine_choice;
mod engines;
mod first_steps;
mod format;
mod identity;
pub mod init_env;
mod links;
pub mod man;
mod place;
pub mod revoke;
pub mod serve;
mod tenancy;
pub mod token;
pub mod transfer;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::bench::report::Style;
use crate::cli::Command;
use crate::config::no_colour;

/// How the process ends; scripts branch on these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, and all is well.
    Pass = 0,
    /// The tool itself failed: wrong settings, a port that is taken, a broken disk.
    ToolError = 1,
    /// It ran and cannot judge: incomplete, inconclusive, unknown, or stopped with Ctrl-C.
    Inconclusive = 2,
    /// A performance gate is not met.
    PerformanceGate = 3,
    /// An invariant is broken.
    Validity = 4,
    /// The command line is wrong.
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs a subcommand; none says what there is to do first. An error has been neither printed nor logged yet; it means
/// [`Exit::ToolError`].
pub async fn run(command: Option<Command>) -> anyhow::Result<Exit> {
    let Some(command) = command else { return first_steps::run() };
    match command {
        Command::Demo(args) => Box::pin(demo::run(args)).await,
        Command::Serve(args) => Box::pin(serve::run(args)).await,
        Command::InitEnv(args) => Box::pin(init_env::run(args)).await,
        Command::Bench(args) => Box::pin(bench::run(*args)).await,
        Command::Doctor(args) => Box::pin(doctor::run(*args)).await,
        Command::Config(args) => config::run(args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Token(args) => Box::pin(token::run(args)).await,
        Command::Revoke(args) => Box::pin(revoke::run(args)).await,
        Command::Export(args) => Box::pin(transfer::run_export(*args)).await,
        Command::Import(args) => Box::pin(transfer::run_import(*args)).await,
        Command::Dump(args) => Box::pin(dump::run(args)).await,
        Command::Check(args) => Box::pin(check::run(*args)).await,
    }
}

/// What standard output takes.
fn style_of_stdout() -> Style {
    let plain = no_colour() || !std::io::stdout().is_terminal();
    if plain { Style::Plain } else { Style::Terminal }
}

/// Writes to stdout at once, also where it is a pipe: somebody may be waiting for the line.
fn print_out(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("cannot write to stdout")
}
