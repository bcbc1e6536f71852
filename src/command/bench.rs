//! `chatctl bench`: options into workloads, results onto stdout.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::bench_report::{self, ReportArgs};
use super::black_box::{cancel_on_ctrl_c, key_value, nodes, shown_command};
use super::engines::EnginesArgs;
use super::gate_args::GateArgs;
use super::{Exit, style_of_stdout};
use crate::bench::duration::parse as duration;
use crate::bench::idle_connections::{self, IdleConnectionsOptions};
use crate::bench::load_profile::{Arrivals, LoadProfile};
use crate::bench::newest_page::{self, NewestPageOptions};
use crate::bench::paired_clients::{self, Load, PairedClientsOptions, Volume};
use crate::bench::report::{GateOutcome, Verdict, render};
use crate::bench::{BenchError, Finished, RunOptions};
use crate::client::Address;
use crate::harness::TargetOptions;

/// How long an open loop lasts where nobody says so.
const OPEN_DURATION: Duration = Duration::from_secs(20);

/// How long it may warm up.
const OPEN_WARMUP: Duration = Duration::from_secs(10);

/// Measure a chat server, and prove that it kept its promises meanwhile.
///
/// Without --url a server of its own is started (this binary, fresh data, free port). Exit codes:
/// 0 pass, 1 the bench failed, 2 could not judge (connections broke, a gate is inconclusive, or stopped
/// with Ctrl-C, which keeps the results so far), 3 a performance gate failed, 4 a message was lost,
/// doubled, reordered, altered or misrouted, 64 wrong usage.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    #[command(flatten)]
    Workload(Workload),
    /// Make report.html again from result folders, or one page that compares several; needs no server
    Report(ReportArgs),
    /// Print the JSON schema of report.json
    Schema,
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
    #[command(flatten)]
    gating: GateArgs,
}

#[derive(Debug, Args)]
struct PairedClientsArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    engines: EnginesArgs,
    /// Clients, an even number; each pair has a direct chat
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Messages that each client sends
    #[arg(long, default_value_t = 1_000, conflicts_with = "duration")]
    messages: u64,
    /// Send for this long instead, like 30s or 2m; a chunk that was begun is finished
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Open loop: messages a second of all clients together, whatever is unanswered; latencies run from when each should have been
    /// sent. 2000, a ramp 500..4000, or stages 500@10s,500..4000@20s,4000; stages without a time share --duration (default 20s)
    #[arg(long, value_name = "RATE", conflicts_with = "messages")]
    rate: Option<LoadProfile>,
    /// How the intended times of --rate lie
    #[arg(long, value_enum, default_value_t = ArrivalsArg::Constant, requires = "rate")]
    arrivals: ArrivalsArg,
    /// Make the load without measuring until two seconds in a row are alike, but no longer than this [default: 0s, with --rate 10s]
    #[arg(long, value_parser = duration)]
    warmup: Option<Duration>,
    /// Store so many messages in all conversations together before anything is measured
    #[arg(long, default_value_t = 0)]
    fill: u64,
    /// Clients that connect at the same time
    #[arg(long, default_value_t = 64)]
    connecting: usize,
    /// Messages that a client sends before both read a page and the roles swap; with --rate, a page is read after so many of
    /// a pair
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

/// How intended times lie.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ArrivalsArg {
    /// At equal distances
    Constant,
    /// As independent people would
    Poisson,
}

/// Runs a workload and prints what it found. An error is a failure of the bench itself.
pub async fn run(args: BenchArgs) -> anyhow::Result<Exit> {
    let workload = match args.what {
        What::Workload(workload) => workload,
        What::Report(args) => return bench_report::run(args),
        What::Schema => return bench_report::print_schema(),
    };
    let outputs = workload.common().gating.open_outputs()?;
    let cancel = CancellationToken::new();
    let waiting = tokio::spawn(cancel_on_ctrl_c(cancel.clone()));
    let workload = match workload {
        Workload::PairedClients(args) if args.engines.is_asked() => {
            let exit = Box::pin(compare_engines(args, &cancel)).await;
            waiting.abort();
            return exit;
        }
        workload => workload,
    };
    let (json, result) = Box::pin(run_workload(workload, &cancel)).await;
    waiting.abort();
    match result {
        Ok(finished) => {
            let written = outputs.write(&finished.report);
            print(&finished, json).context("writing to stdout")?;
            written?;
            let gates: Vec<_> = finished.report.gates.iter().map(|gate| gate.outcome).collect();
            Ok(exit_of(finished.report.verdict, &gates))
        }
        Err(BenchError::Usage(text)) => {
            eprintln!("error: {text}");
            Ok(Exit::Usage)
        }
        // Its text holds its source's already; as a chain they would be printed twice.
        Err(error) => Err(anyhow::anyhow!("{error}")),
    }
}

async fn run_workload(
    workload: Workload,
    cancel: &CancellationToken,
) -> (bool, Result<Finished, BenchError>) {
    match workload {
        Workload::PairedClients(args) => {
            let options = match args.work() {
                Ok(options) => options,
                Err(text) => return (args.common.json, Err(BenchError::Usage(text))),
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

async fn compare_engines(
    args: PairedClientsArgs,
    cancel: &CancellationToken,
) -> anyhow::Result<Exit> {
    let work = match args.work() {
        Ok(work) => work,
        Err(text) => {
            eprintln!("error: {text}");
            return Ok(Exit::Usage);
        }
    };
    let json = args.common.json;
    args.engines.run(args.common.run_options(&[]), work, json, cancel).await
}

impl PairedClientsArgs {
    fn work(&self) -> Result<PairedClientsOptions, String> {
        let load = self.load()?;
        let warmup = self.warmup.unwrap_or(match load {
            Load::Closed => Duration::ZERO,
            Load::Open { .. } => OPEN_WARMUP,
        });
        Ok(PairedClientsOptions {
            clients: self.clients,
            load,
            volume: match self.duration {
                Some(duration) => Volume::DurationMs(millis(duration)),
                None => Volume::MessagesPerClient(self.messages),
            },
            fill_to: self.fill,
            warmup_ms: millis(warmup),
            connecting: self.connecting,
            chunk: self.chunk,
            in_flight: self.in_flight,
            read_limit: self.read_limit,
            size_bytes: self.size,
            late_ratio: self.late_ratio,
            seed: self.seed,
            user_prefix: self.common.user_prefix(),
            connect_timeout_ms: millis(self.common.connect_timeout),
            delivery_wait_ms: millis(self.delivery_wait),
        })
    }

    fn load(&self) -> Result<Load, String> {
        let Some(profile) = self.rate.clone() else { return Ok(Load::Closed) };
        let profile = profile.within(self.duration.unwrap_or(OPEN_DURATION));
        let profile = profile.map_err(|error| format!("--rate: {error}; raise --duration"))?;
        let arrivals = match self.arrivals {
            ArrivalsArg::Constant => Arrivals::Constant,
            ArrivalsArg::Poisson => Arrivals::Poisson,
        };
        Ok(Load::Open { profile, arrivals })
    }
}

impl Workload {
    fn common(&self) -> &CommonArgs {
        match self {
            Self::PairedClients(args) => &args.common,
            Self::IdleConnections(args) => &args.common,
            Self::NewestPage(args) => &args.common,
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
            environment: wanted.chain(self.server_env).collect(),
            connect_timeout: self.connect_timeout,
            label: None,
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
