//! `chatctl check`: drives a server or reads a history, and judges it.

mod equivalence;
mod export;
mod replay;
mod validity;

use std::io::Write;

use clap::{Args, Subcommand};

use super::Exit;
use super::black_box::until_ctrl_c;
use super::identity::{SigningArgs, sign_in_clients};
use crate::checker::verdict::{Outcome, Verdict};
use crate::harness::HarnessError;

/// Judge a chat server: nothing lost, doubled, reordered, altered or wrongly marked read.
///
/// Exit codes: 0 valid, 1 the check failed, 2 unknown (nothing to judge, stopped with Ctrl-C, or a
/// damaged history), 4 invalid, 64 wrong usage.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    signing: SigningArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Drive a server with clients that do everything, record what they see, and judge it.
    Validity(Box<validity::ValidityArgs>),
    /// Do the same on several engines, and compare every answer.
    Equivalence(equivalence::EquivalenceArgs),
    /// Judge a recorded history again.
    Replay(replay::ReplayArgs),
    /// Write a recorded history in the form of another checker, for a second opinion.
    Export(export::ExportArgs),
}

/// Runs a check and prints its verdict. An error is a failure of the check itself.
pub async fn run(args: CheckArgs) -> anyhow::Result<Exit> {
    let CheckArgs { what, signing } = args;
    if matches!(what, What::Validity(_) | What::Equivalence(_)) {
        sign_in_clients(&signing).await?;
    }
    match what {
        What::Replay(args) => replay::run(&args),
        What::Export(args) => export::run(args),
        What::Validity(args) => {
            let certificates = signing.certificates();
            until_ctrl_c(async |cancel| Box::pin(validity::run(*args, certificates, cancel)).await)
                .await
                .or_else(said)
        }
        What::Equivalence(args) => {
            until_ctrl_c(async |cancel| equivalence::run(args, cancel).await).await.or_else(said)
        }
    }
}

/// How the process ends after an error.
fn said(error: anyhow::Error) -> anyhow::Result<Exit> {
    match error.downcast::<HarnessError>() {
        Ok(HarnessError::Usage(text)) => {
            eprintln!("error: {text}");
            Ok(Exit::Usage)
        }
        // Its text holds its source's already; as a chain they would be printed twice.
        Ok(error) => Err(anyhow::anyhow!("{error}")),
        Err(error) => Err(error),
    }
}

fn exit_of(verdict: &Verdict) -> Exit {
    match verdict.outcome {
        Outcome::Valid => Exit::Pass,
        Outcome::Unknown => Exit::Inconclusive,
        Outcome::Invalid => Exit::Validity,
    }
}

fn print(verdict: &Verdict, json: bool) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    if json {
        serde_json::to_writer_pretty(&mut stdout, verdict)?;
        writeln!(stdout)?;
    } else {
        write!(stdout, "{verdict}")?;
    }
    Ok(())
}
