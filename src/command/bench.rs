//! `chatctl bench`: options into workloads, results onto stdout.

mod baseline;
mod compare;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::black_box::{cancel_on_ctrl_c, key_value, nodes, shown_command};
use crate::bench::idle_connections::{self, IdleConnectionsOptions};
use crate::bench::newest_page::{self, NewestPageOptions};
use crate::bench::paired_clients::{self, PairedClientsOptions, Volume};
use crate::bench::report::{Style, Verdict, render};
use crate::bench::{BenchError, Finished, RunOptions};
use crate::client::Address;
use crate::harness::{HarnessError, TargetOptions};

/// Measure a chat server, and prove that it kept its promises meanwhile.
///
/// Without --url a server of its own is started (this binary, fresh data, free port). Exit codes:
/// 0 pass, 1 the bench failed, 2 could not judge (connections broke, the machine was not quiet, or
/// stopped with Ctrl-C, which keeps the results so far), 3 slower than it may be, 4 a message was lost, doubled, reordered, altered or misrouted,
/// 64 wrong usage.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    #[command(flatten)]
    Workload(Workload),
    /// Is server B slower than server A? Interleaved pairs of fresh servers: two programs, two settings or two engines.
    Compare(Box<compare::CompareArgs>),
    /// Keep what a server costs in a file, and see later whether it costs more.
    Baseline(baseline::BaselineArgs),
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// Clients in pairs send chunks to each other; write, delivery and read latency.
    PairedClients(PairedClientsArgs),
    /// Memory of the server per connection that says nothing.
    IdleConnections(IdleConnectionsArgs),
    /// Latency of the newest page in conversations of different sizes.
    NewestPage(NewestPageArgs),
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Server to run against, like ws://127.0.0.1:8080/v1/ws; repeat for several nodes, clients are
    /// spread over them. None: a server is started for this run
    #[arg(long)]
    url: Vec<Address>,
    /// Admin listener of a --url server, like 127.0.0.1:9090, for its counters; repeat for several
    #[arg(long, value_name = "HOST:PORT")]
    admin: Vec<String>,
    /// Servers to start, on engines that they share; the two clients of a pair are on different ones
    #[arg(long, default_value_t = 1, value_parser = nodes, conflicts_with = "url")]
    nodes: usize,
    /// Environment of the started servers, like CHATCTL_LOCAL_SYNC=never; repeat for several. Their data
    /// is put under TMPDIR
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, conflicts_with = "url")]
    server_env: Vec<(String, String)>,
    /// Where result folders are made; nothing there is written over
    #[arg(long, default_value = "results", value_name = "DIR")]
    out: PathBuf,
    /// How long one client may take to connect
    #[arg(long, default_value = "10s", value_parser = duration)]
    connect_timeout: Duration,
    /// What user names begin with; the default is new for every run
    #[arg(long)]
    user_prefix: Option<String>,
    /// Print report.json on stdout instead of the summary
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PairedClientsArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Clients, an even number; each pair has a direct chat
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Messages that each client sends
    #[arg(long, default_value_t = 1_000, conflicts_with = "duration")]
    messages: u64,
    /// Send for this long instead, like 30s or 2m; a chunk that was begun is finished
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Messages that a client sends before both read a page and the roles swap
    #[arg(long, default_value_t = 32)]
    chunk: u64,
    /// Messages of one client that may be unanswered
    #[arg(long, default_value_t = 8)]
    in_flight: usize,
    /// Messages on the page that is read back
    #[arg(long, default_value_t = 50)]
    read_limit: usize,
    /// Bytes of each message's content
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// Share of messages that are sent with an older time, 0 to 1
    #[arg(long, default_value_t = 0.05)]
    late_ratio: f64,
    /// Decides contents, cids and which messages are late
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A message that is not delivered this long after its chunk was acknowledged is lost
    #[arg(long, default_value = "10s", value_parser = duration)]
    delivery_wait: Duration,
}

#[derive(Debug, Args)]
struct IdleConnectionsArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Connections
    #[arg(long, default_value_t = 5_000)]
    clients: usize,
}

#[derive(Debug, Args)]
struct NewestPageArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Messages in each conversation
    #[arg(long, value_delimiter = ',', default_value = "1000,1000000")]
    volumes: Vec<u64>,
    /// Reads of each kind in each conversation
    #[arg(long, default_value_t = 20_000)]
    reads: u64,
    /// Bytes of each message's content
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// Decides contents and the random times that are read at
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs a workload and prints what it found. An error is a failure of the bench itself.
pub async fn run(args: BenchArgs) -> anyhow::Result<Exit> {
    let cancel = CancellationToken::new();
    let waiting = tokio::spawn(cancel_on_ctrl_c(cancel.clone()));
    let exit = match args.what {
        What::Compare(args) => Box::pin(compare::run(*args, &cancel)).await,
        What::Baseline(args) => Box::pin(baseline::run(args, &cancel)).await,
        What::Workload(workload) => Box::pin(run_and_print(workload, &cancel)).await,
    };
    waiting.abort();
    exit
}

async fn run_and_print(workload: Workload, cancel: &CancellationToken) -> anyhow::Result<Exit> {
    let (json, result) = Box::pin(run_workload(workload, cancel)).await;
    match result {
        Ok(finished) => {
            print(&finished, json).context("writing to stdout")?;
            Ok(exit_of(&finished))
        }
        Err(error) => failed(error),
    }
}

/// How the process ends after an error.
fn failed(error: BenchError) -> anyhow::Result<Exit> {
    match error {
        BenchError::Usage(text) | BenchError::Harness(HarnessError::Usage(text)) => {
            eprintln!("error: {text}");
            Ok(Exit::Usage)
        }
        // Its text holds its source's already; as a chain they would be printed twice.
        error => Err(anyhow::anyhow!("{error}")),
    }
}

async fn run_workload(
    workload: Workload,
    cancel: &CancellationToken,
) -> (bool, Result<Finished, BenchError>) {
    match workload {
        Workload::PairedClients(args) => {
            let volume = match args.duration {
                Some(duration) => Volume::DurationMs(millis(duration)),
                None => Volume::MessagesPerClient(args.messages),
            };
            let options = PairedClientsOptions {
                clients: args.clients,
                volume,
                chunk: args.chunk,
                in_flight: args.in_flight,
                read_limit: args.read_limit,
                size_bytes: args.size,
                late_ratio: args.late_ratio,
                seed: args.seed,
                user_prefix: args.common.user_prefix(),
                connect_timeout_ms: millis(args.common.connect_timeout),
                delivery_wait_ms: millis(args.delivery_wait),
            };
            let (json, common) = (args.common.json, args.common.run_options(&[]));
            (json, Box::pin(paired_clients::run(&common, &options, cancel)).await)
        }
        Workload::IdleConnections(args) => {
            let options = IdleConnectionsOptions {
                clients: args.clients,
                connect_timeout_ms: millis(args.common.connect_timeout),
                user_prefix: args.common.user_prefix(),
            };
            let (json, common) = (args.common.json, args.common.run_options(&[]));
            (json, Box::pin(idle_connections::run(&common, &options, cancel)).await)
        }
        Workload::NewestPage(args) => {
            let options = NewestPageOptions {
                volumes: args.volumes,
                reads: args.reads,
                size_bytes: args.size,
                seed: args.seed,
                user_prefix: args.common.user_prefix(),
                connect_timeout_ms: millis(args.common.connect_timeout),
            };
            // Reads are what is measured; filling a million messages need not wait for a disk.
            let environment = [("CHATCTL_LOCAL_SYNC", "never")];
            let (json, common) = (args.common.json, args.common.run_options(&environment));
            (json, Box::pin(newest_page::run(&common, &options, cancel)).await)
        }
    }
}

impl CommonArgs {
    fn user_prefix(&self) -> String {
        self.user_prefix.clone().unwrap_or_else(|| {
            let id = uuid::Uuid::now_v7().simple().to_string();
            // The last characters of a version 7 id are random.
            format!("bench-{}", &id[24..])
        })
    }

    /// `environment` is what the workload wants where the user says nothing.
    fn run_options(self, environment: &[(&str, &str)]) -> RunOptions {
        let wanted = environment.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
        let targets = TargetOptions {
            addresses: self.url,
            admins: self.admin,
            nodes: self.nodes,
            program: None,
            environment: wanted.chain(self.server_env).collect(),
            connect_timeout: self.connect_timeout,
        };
        RunOptions { targets, out: self.out, command: shown_command() }
    }
}

fn exit_of(finished: &Finished) -> Exit {
    match finished.report.verdict {
        Verdict::Pass => Exit::Pass,
        Verdict::Incomplete => Exit::Inconclusive,
        Verdict::Invalid => Exit::Validity,
    }
}

fn print(finished: &Finished, json: bool) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    if json {
        serde_json::to_writer_pretty(&mut stdout, &finished.report)?;
        writeln!(stdout)?;
    } else {
        let style = if stdout.is_terminal() { Style::Terminal } else { Style::Plain };
        write!(stdout, "{}", render(&finished.report, &finished.totals, style))?;
    }
    eprintln!("kept in {}", finished.folder.display());
    Ok(())
}

/// `500ms`, `10s`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write it with a unit, like 500ms, 10s, 2m, 1h".to_owned()),
    };
    let number: u64 = text[..digits].parse().map_err(|error| format!("{error}"))?;
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        bench: BenchArgs,
    }

    #[test]
    fn the_options_are_consistent() {
        Cli::command().debug_assert();
        let both = ["bench", "paired-clients", "--messages", "5", "--duration", "1s"];
        assert!(Cli::try_parse_from(both).is_err());
        let bad_url = ["bench", "idle-connections", "--url", "http://x"];
        let error = Cli::try_parse_from(bad_url).unwrap_err().to_string();
        assert!(error.contains("ws://127.0.0.1:8080"), "{error}");
        let volumes = Cli::try_parse_from(["bench", "newest-page", "--volumes", "10,20"]).unwrap();
        let What::Workload(Workload::NewestPage(args)) = volumes.bench.what else {
            panic!("another workload")
        };
        assert_eq!(args.volumes, [10, 20]);
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["10", "s", "1.5s", "-1s", "99999999999999999999h", "9999999999999999h", ""] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
