//! `chatctl bench`: options into workloads, results onto stdout.

mod baseline;
mod compare;
mod engines;
mod find_max;
mod floor;
mod gate_args;
mod growth;
mod nemesis;
mod overload;
mod paired_clients;
mod report;
mod served;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::black_box::{nodes, server_variable, shown_command, until_ctrl_c};
use super::identity::{SigningArgs, sign_in_clients};
use super::{Exit, style_of_stdout};
use crate::bench::idle_connections::{self, IdleConnectionsOptions};
use crate::bench::newest_page::{self, NewestPageOptions};
use crate::bench::report::{GateOutcome, Report, Verdict, openmetrics, render};
use crate::bench::{BenchError, Finished, RunOptions};
use crate::client::Address;
use crate::command::format::FormatArgs;
use crate::harness::duration::parse as duration;
use crate::harness::{HarnessError, PushError, PushUrl, TargetOptions, fresh_name};

/// Measure a chat server with real clients, and check every delivery.
///
/// Its clients are WebSockets at /v1/ws: with stock clients of Socket.IO the time that node takes would be measured (`check validity --transport socketio`
/// judges them). Without --url a server of its own is started (this binary, fresh data, free port). Exit codes:
/// 0 pass, 1 the bench failed, 2 could not judge (connections broke, a gate is inconclusive, the machine was not
/// quiet, or stopped with Ctrl-C, which keeps the results so far), 3 a performance gate failed or it is slower than it may
/// be, 4 a message was lost, doubled, reordered, altered or misrouted, 64 wrong usage.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    signing: SigningArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    #[command(flatten)]
    Workload(Workload),
    /// Make report.html again from result folders, or one page that compares several; needs no server
    Report(report::ReportArgs),
    /// Print the JSON schema of report.json
    Schema,
    /// Is server B slower than server A? Interleaved pairs of fresh servers: two programs, two settings or two engines.
    Compare(Box<compare::CompareArgs>),
    /// Keep what a server costs in a file, and see later whether it costs more.
    Baseline(baseline::BaselineArgs),
    /// How near is the server to what the machine allows? Bare programs and the real server by turns, servers on one core, clients on another
    Floor(floor::FloorArgs),
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// Clients in pairs send chunks to each other; write, delivery and read latency.
    PairedClients(Box<paired_clients::PairedClientsArgs>),
    /// Memory of the server per connection that says nothing.
    IdleConnections(Box<IdleConnectionsArgs>),
    /// Latency of the newest page in conversations of different sizes.
    NewestPage(Box<NewestPageArgs>),
    /// What each operation costs at each size: of a conversation, of the store, of the crowd of connections, of the cluster.
    Growth(Box<growth::GrowthArgs>),
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Server to run against, like ws://127.0.0.1:8080/v1/ws or wss:// (TLS); repeat for several nodes, clients are
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
    #[arg(long, value_name = "KEY=VALUE", value_parser = server_variable, conflicts_with = "url")]
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
    /// Put the numbers there as OpenMetrics text when the run is over, as to a Pushgateway:
    /// http://127.0.0.1:9091/metrics/job/chatctl. What cannot be put is an error (1), the run is kept all the same
    #[arg(long, value_name = "URL")]
    push_url: Option<PushUrl>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    gating: gate_args::GateArgs,
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

/// Runs what was asked for and prints what it found. An error is a failure of the bench itself.
pub async fn run(args: BenchArgs) -> anyhow::Result<Exit> {
    if !matches!(args.what, What::Report(_) | What::Schema) {
        sign_in_clients(&args.signing).await?;
    }
    until_ctrl_c(async |cancel| match args.what {
        What::Report(args) => report::run(args),
        What::Schema => report::print_schema(),
        What::Compare(args) => Box::pin(compare::run(*args, cancel)).await,
        What::Baseline(args) => Box::pin(baseline::run(args, cancel)).await,
        What::Floor(args) => Box::pin(floor::run(args, cancel)).await,
        What::Workload(Workload::PairedClients(args)) if args.is_several_runs() => {
            Box::pin(args.run_several(cancel)).await
        }
        What::Workload(workload) => Box::pin(run_and_print(workload, cancel)).await,
    })
    .await
}

async fn run_and_print(workload: Workload, cancel: &CancellationToken) -> anyhow::Result<Exit> {
    let outputs = workload.common().gating.open_outputs()?;
    let push_url = workload.common().push_url.clone();
    let (json, result) = Box::pin(run_workload(workload, cancel)).await;
    match result {
        Ok(finished) => {
            let written = outputs.write(&finished.report);
            print(&finished, json).context("writing to stdout")?;
            written?;
            let gates: Vec<_> = finished.report.gates.iter().map(|gate| gate.outcome).collect();
            let exit = exit_of(finished.report.verdict, &gates);
            match push(push_url.as_ref(), &finished.report).await {
                Ok(()) => Ok(exit),
                Err(error) if exit == Exit::Pass => Err(error.into()),
                Err(error) => {
                    // What the run found says more than that nobody heard of it.
                    eprintln!("error: {error}");
                    Ok(exit)
                }
            }
        }
        Err(error) => match error.downcast::<BenchError>() {
            Ok(error) => failed(error),
            Err(error) => Err(error),
        },
    }
}

async fn push(url: Option<&PushUrl>, report: &Report) -> Result<(), PushError> {
    match url {
        Some(url) => url.push(openmetrics(report)).await,
        None => Ok(()),
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
) -> (bool, anyhow::Result<Finished>) {
    match workload {
        Workload::PairedClients(args) => {
            let options = match args.work() {
                Ok(options) => options,
                Err(text) => {
                    return (args.common.format.is_json(), Err(BenchError::Usage(text).into()));
                }
            };
            let json = args.common.format.is_json();
            (json, Box::pin(args.run_once(&options, cancel)).await)
        }
        Workload::IdleConnections(args) => {
            let options = IdleConnectionsOptions {
                clients: args.clients,
                connect_timeout_ms: millis(args.common.connect_timeout),
                user_prefix: args.common.user_prefix(),
            };
            let (json, common) = (args.common.format.is_json(), args.common.run_options(&[]));
            let finished = Box::pin(idle_connections::run(&common, &options, cancel)).await;
            (json, finished.map_err(Into::into))
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
            let (json, common) =
                (args.common.format.is_json(), args.common.run_options(&environment));
            let finished = Box::pin(newest_page::run(&common, &options, cancel)).await;
            (json, finished.map_err(Into::into))
        }
        Workload::Growth(args) => {
            let json = args.common.format.is_json();
            (json, Box::pin(args.run(cancel)).await)
        }
    }
}

impl Workload {
    fn common(&self) -> &CommonArgs {
        match self {
            Self::PairedClients(args) => &args.common,
            Self::IdleConnections(args) => &args.common,
            Self::NewestPage(args) => &args.common,
            Self::Growth(args) => &args.common,
        }
    }
}

impl CommonArgs {
    fn user_prefix(&self) -> String {
        self.user_prefix.clone().unwrap_or_else(|| fresh_name("bench"))
    }

    /// `environment` is what the workload wants where the user says nothing.
    fn run_options(self, environment: &[(&str, &str)]) -> RunOptions {
        let wanted = environment.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
        let targets = TargetOptions {
            addresses: self.url,
            admins: self.admin,
            nodes: self.nodes,
            environment: wanted.chain(self.server_env).collect(),
            connect_timeout: self.connect_timeout,
            ..TargetOptions::default()
        };
        let gates = self.gating.gates();
        RunOptions { targets, out: self.out, command: shown_command(), gates }
    }
}

/// A broken promise outranks a failed gate, and that one whatever could not be judged.
fn exit_of(verdict: Verdict, gates: &[GateOutcome]) -> Exit {
    match verdict {
        Verdict::Invalid => Exit::Validity,
        _ if gates.contains(&GateOutcome::Failed) => Exit::PerformanceGate,
        _ if gates.contains(&GateOutcome::Inconclusive) => Exit::Inconclusive,
        Verdict::Incomplete => Exit::Inconclusive,
        Verdict::Pass => Exit::Pass,
    }
}

fn print(finished: &Finished, json: bool) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    if json {
        serde_json::to_writer_pretty(&mut stdout, &finished.report)?;
        writeln!(stdout)?;
    } else {
        write!(stdout, "{}", render(&finished.report, &finished.totals, style_of_stdout()))?;
    }
    eprintln!("kept in {}", finished.folder.display());
    Ok(())
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
    fn what_is_not_known_is_never_a_pass() {
        use GateOutcome::{Failed, Inconclusive, Passed};
        for (verdict, gates, exit) in [
            (Verdict::Pass, vec![], Exit::Pass),
            (Verdict::Pass, vec![Passed, Passed], Exit::Pass),
            (Verdict::Pass, vec![Passed, Inconclusive], Exit::Inconclusive),
            (Verdict::Pass, vec![Inconclusive, Failed, Passed], Exit::PerformanceGate),
            (Verdict::Incomplete, vec![], Exit::Inconclusive),
            (Verdict::Incomplete, vec![Inconclusive], Exit::Inconclusive),
            (Verdict::Invalid, vec![Passed], Exit::Validity),
            (Verdict::Invalid, vec![Failed, Inconclusive], Exit::Validity),
        ] {
            assert_eq!(exit_of(verdict, &gates), exit, "{verdict:?} {gates:?}");
        }
    }
}
