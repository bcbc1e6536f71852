//! `chatctl check`: drives a server or reads a history, and judges it.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::black_box::{cancel_on_ctrl_c, key_value, nodes, shown_command};
use super::format::FormatArgs;
use crate::check::drive::{DriveOptions, Driven, drive};
use crate::check::report::CheckReport;
use crate::checker::judge;
use crate::checker::verdict::{Outcome, Verdict};
use crate::client::Address;
use crate::harness::{HarnessError, ResultFolder, TargetOptions, Targets, folder_name, fresh_name};
use crate::history::{Event, HistoryError, read_history};

/// How long one client may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Judge a chat server: was anything lost, doubled, reordered, altered, leaked or wrongly marked read?
///
/// Exit codes: 0 valid, 1 the check failed, 2 unknown (nothing to judge, stopped with Ctrl-C, or a
/// damaged history), 4 invalid, 64 wrong usage.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Drive a server with clients that do everything, record what they see, and judge it.
    Validity(ValidityArgs),
    /// Judge a recorded history again.
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
struct ValidityArgs {
    /// Server to judge, like ws://127.0.0.1:8080/v1/ws; repeat for several nodes of one store, clients
    /// are spread over them. None: a server is started for this run
    #[arg(long)]
    url: Vec<Address>,
    /// Servers to start, on engines that they share; clients are spread over them
    #[arg(long, default_value_t = 1, value_parser = nodes, conflicts_with = "url")]
    nodes: usize,
    /// Environment of the started servers, like CHATCTL_LOCAL_SYNC=never; repeat for several. Their data
    /// is put under TMPDIR
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, conflicts_with = "url")]
    server_env: Vec<(String, String)>,
    /// Sessions at a time; some users have two
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Messages that each sends
    #[arg(long, default_value_t = 100)]
    messages: u64,
    /// Decides what is asked
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where result folders are made; nothing there is written over
    #[arg(long, default_value = "results", value_name = "DIR")]
    out: PathBuf,
    /// What user and channel names begin with; the default is new for every run
    #[arg(long)]
    user_prefix: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// The history.jsonl of an earlier check
    history: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
}

/// Runs a check and prints its verdict. An error is a failure of the check itself.
pub async fn run(args: CheckArgs) -> anyhow::Result<Exit> {
    match args.what {
        What::Replay(args) => replay(&args),
        What::Validity(args) => {
            let cancel = CancellationToken::new();
            let waiting = tokio::spawn(cancel_on_ctrl_c(cancel.clone()));
            let result = Box::pin(validity(args, &cancel)).await;
            waiting.abort();
            match result {
                Err(error) => match error.downcast::<HarnessError>() {
                    Ok(HarnessError::Usage(text)) => {
                        eprintln!("error: {text}");
                        Ok(Exit::Usage)
                    }
                    // Its text holds its source's already; as a chain they would be printed twice.
                    Ok(error) => Err(anyhow::anyhow!("{error}")),
                    Err(error) => Err(error),
                },
                exit => exit,
            }
        }
    }
}

async fn validity(args: ValidityArgs, cancel: &CancellationToken) -> anyhow::Result<Exit> {
    ResultFolder::check(&args.out)?;
    let targets = Targets::start(&TargetOptions {
        addresses: args.url,
        admins: Vec::new(),
        nodes: args.nodes,
        program: None,
        environment: args.server_env,
        connect_timeout: CONNECT_TIMEOUT,
        label: None,
    })
    .await?;
    let options = DriveOptions {
        addresses: targets.addresses().to_vec(),
        clients: args.clients,
        messages: args.messages,
        seed: args.seed,
        user_prefix: args.user_prefix.unwrap_or_else(|| fresh_name("check")),
        connect_timeout: CONNECT_TIMEOUT,
    };
    let Driven { events, shortfalls } = Box::pin(drive(&options, cancel)).await?;
    let servers = targets.infos().to_vec();
    let engine = targets.engine_label();
    let mut notes = shortfalls.clone();
    if !shortfalls.is_empty() {
        notes.extend(targets.log_tail().into_iter().map(|line| format!("server log: {line}")));
    }
    notes.extend(targets.stop().await);
    let verdict = judge(&events).at_most_unknown(shortfalls);
    let mut folder = ResultFolder::create(&args.out, &folder_name("check-validity", &engine))?;
    let command = shown_command();
    let report = CheckReport {
        command: &command,
        options: &options,
        servers: &servers,
        verdict: &verdict,
        notes: &notes,
    };
    report.write(&mut folder, &events)?;
    print(&verdict, args.format.is_json()).context("writing to stdout")?;
    notes.iter().for_each(|note| eprintln!("note: {note}"));
    eprintln!("kept in {}", folder.path().display());
    Ok(exit_of(&verdict))
}

fn replay(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let path = &args.history;
    let events = match read(path) {
        Ok(events) => events,
        Err(error @ HistoryError::Damaged { .. }) => {
            eprintln!("{}: {error}", path.display());
            return Ok(Exit::Inconclusive);
        }
        Err(error) => anyhow::bail!("{}: {error}", path.display()),
    };
    let verdict = judge(&events);
    print(&verdict, args.format.is_json()).context("writing to stdout")?;
    Ok(exit_of(&verdict))
}

fn read(path: &Path) -> Result<Vec<Event>, HistoryError> {
    read_history(BufReader::new(File::open(path)?))
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
