//! `chatctl export` and `chatctl import`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::engines::{Store, open_archive};
use super::format::FormatArgs;
use super::serve::until_broken;
use super::tenancy::tenancy_of;
use super::{Exit, print_out};
use crate::config::{Config, LocalSync, PersistenceEngine, Sources, VariableArgs};
use crate::model::NodeId;
use crate::persistence::Archive;
use crate::registry::tenancy::Company;
use crate::transfer::{Exported, Imported, TransferError, export, import};

/// How often progress is shown.
const SHOW_PAUSE: Duration = Duration::from_millis(500);

/// Write all conversations of a message engine into a file
///
/// Messages, acknowledgements, groups and lists, each line hashed over the one before. The settings are those of the servers. With LOCAL no server may
/// run on the data folder; with the others servers may go on: of each conversation the file has a prefix. Run again with the same
/// file, it goes on where it was stopped.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The file to write, or to go on with
    file: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
    /// The flags, made from the table of variables.
    #[command(flatten)]
    variables: VariableArgs,
}

/// Put everything that `export` wrote into a message engine
///
/// The engine may be another than the one it comes from. Numbers, times and names of messages stay as they were; streams get a new epoch, so clients open
/// again. Nothing is written of a file that is cut off or altered, and a conversation that the store has with other messages is refused.
/// What was written is read back and compared. No server may use the store meanwhile, and none starts. Run again, it goes on where it was stopped.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file that `export` wrote
    file: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
    /// The flags, made from the table of variables.
    #[command(flatten)]
    variables: VariableArgs,
}

/// Writes the file, and prints what is in it.
pub async fn run_export(args: ExportArgs) -> anyhow::Result<Exit> {
    let (_, store) = open(&args.variables, "export").await?;
    let cancel = cancel_on_ctrl_c();
    let mut progress = Progress::new("exported");
    let archive = Arc::clone(&store.persistence);
    let work = export(&*archive, &args.file, &cancel, |convs, messages| {
        progress.show(convs, messages);
    });
    let outcome = work.await.map_err(anyhow::Error::from);
    progress.end();
    archive.close().await;
    finish(outcome, &args.format, |exported: &Exported| {
        let Exported { epoch, conversations, messages, resumed_after, digest } = exported;
        let resumed = match resumed_after {
            0 => String::new(),
            count => format!(" ({count} of them by an earlier run)"),
        };
        format!(
            "{conversations} conversations{resumed}, {messages} messages of life {epoch}\ndigest {digest}\n"
        )
    })
}

/// Puts the file into the engine, and prints what came of it.
pub async fn run_import(args: ImportArgs) -> anyhow::Result<Exit> {
    let (config, store) = open(&args.variables, "import").await?;
    let node = NodeId::generate();
    let (name, alone) = (format!("import/{node}"), Company::Alone("an import"));
    let tenancy = tenancy_of(&config, &node, &name, alone)?;
    let crowded = match &tenancy {
        Some(tenancy) => Some(tenancy.claim().await.context("nothing was imported")?),
        None => None,
    };
    let cancel = cancel_on_ctrl_c();
    let mut progress = Progress::new("imported");
    let archive = Arc::clone(&store.persistence);
    let work = import(Arc::clone(&archive), &args.file, &cancel, |convs, messages| {
        progress.show(convs, messages);
    });
    let outcome = tokio::select! {
        outcome = work => outcome.map_err(anyhow::Error::from),
        reason = until_broken(crowded) => Err(anyhow!("stopped, for another is at work here: {reason}")),
    };
    progress.end();
    archive.close().await;
    if let Some(tenancy) = &tenancy {
        tenancy.close().await;
    }
    finish(outcome, &args.format, |imported: &Imported| {
        let Imported { from_epoch, epoch, conversations, messages, written, digest } = imported;
        format!(
            "{conversations} conversations, {messages} messages of life {from_epoch}, {written} of them new, in life {epoch}\ndigest {digest}\n"
        )
    })
}

async fn open(
    variables: &VariableArgs,
    what: &str,
) -> anyhow::Result<(Config, Store<dyn Archive>)> {
    let sources = Sources::of_process(variables)?;
    let config = Config::load(&sources)?;
    if let PersistenceEngine::Local(local) = &config.persistence
        && matches!(local.sync, LocalSync::Memory)
    {
        bail!(
            "CHATCTL_LOCAL_SYNC=memory keeps nothing: there is nothing to {what}; set another policy"
        );
    }
    let store = open_archive(&config).await?;
    Ok((config, store))
}

/// Ctrl-C ends the work between two steps; a second one ends the process.
fn cancel_on_ctrl_c() -> CancellationToken {
    let cancel = CancellationToken::new();
    let told = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            told.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(i32::from(Exit::Inconclusive as u8));
        }
    });
    cancel
}

fn finish<T: serde::Serialize>(
    outcome: anyhow::Result<T>,
    format: &FormatArgs,
    shown: impl FnOnce(&T) -> String,
) -> anyhow::Result<Exit> {
    match outcome {
        Ok(done) => {
            print_out(&match format.is_json() {
                true => serde_json::to_string_pretty(&done)? + "\n",
                false => shown(&done),
            })?;
            Ok(Exit::Pass)
        }
        Err(error) if matches!(error.downcast_ref(), Some(TransferError::Stopped)) => {
            eprintln!("{error}");
            Ok(Exit::Inconclusive)
        }
        Err(error) => Err(error),
    }
}

/// A line on a terminal that says how far it is.
struct Progress {
    what: &'static str,
    is_shown: bool,
    next: Instant,
}

impl Progress {
    fn new(what: &'static str) -> Self {
        Self { what, is_shown: std::io::stderr().is_terminal(), next: Instant::now() }
    }

    fn show(&mut self, conversations: u64, messages: u64) {
        if self.is_shown && Instant::now() >= self.next {
            self.next = Instant::now() + SHOW_PAUSE;
            eprint!("\r{} {conversations} conversations, {messages} messages", self.what);
        }
    }

    fn end(&self) {
        if self.is_shown {
            eprintln!();
        }
    }
}
