//! `chatctl bench paired-clients`: its options, and what they ask for.

use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::engines::EnginesArgs;
use super::nemesis::NemesisArgs;
use super::{CommonArgs, failed, find_max, millis, overload};
use crate::bench::find_max::FindMaxOptions;
use crate::bench::gate::Gate;
use crate::bench::load_profile::{Arrivals, LoadProfile};
use crate::bench::overload::OverloadOptions;
use crate::bench::paired_clients::{self, Load, PairedClientsOptions, Volume};
use crate::bench::pause::Pause;
use crate::bench::{BenchError, Finished};
use crate::command::Exit;
use crate::command::place::Place;
use crate::harness::duration::parse as duration;

/// How long an open loop lasts where nobody says so.
const OPEN_DURATION: Duration = Duration::from_secs(20);

/// The same beside a nemesis, and of a closed loop too: it needs time.
const NEMESIS_DURATION: Duration = Duration::from_secs(60);

/// How long it may warm up.
const OPEN_WARMUP: Duration = Duration::from_secs(10);

/// Messages of a pair that may be due and unsent …
const BACKLOG: usize = 1_024;

/// … and beside an overload, which is about the server: what a pair would send late belongs to the time before.
const OVERLOAD_BACKLOG: usize = 32;

/// Where a search for the highest rate begins, messages a second.
const FIND_FROM_PER_S: f64 = 500.0;

/// How long it measures each rate …
const FIND_DURATION: Duration = Duration::from_secs(10);

/// … after warming up for so long.
const FIND_WARMUP: Duration = Duration::from_secs(4);

#[derive(Debug, Args)]
pub(super) struct PairedClientsArgs {
    #[command(flatten)]
    pub(super) common: CommonArgs,
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
    #[arg(long, value_name = "RATE", conflicts_with = "messages", group = "open_loop")]
    rate: Option<LoadProfile>,
    /// Search the highest rate at which this gate holds and nothing is wrong, like 'delivery.p99<20ms'. --rate is
    /// where to begin (default 500), --duration how long each rate is measured (default 10s)
    #[arg(long, value_name = "GATE", conflicts_with_all = ["messages", "engines", "gates", "gate_files", "junit", "summary_md", "push_url"])]
    find_max: Option<Gate>,
    /// Find what the server can do in a closed loop, then offer these multiples of it in an open one, between two calm steps of a half, each for
    /// --duration (default 10s): how much gets done, how long it takes, and how soon all is as before. Exit code 3 when less than
    /// 0.9 of the peak gets done, p99 of what is accepted exceeds --overload-p99, or 5 s later it is not as before
    #[arg(long, value_name = "MULTIPLES", value_delimiter = ',', conflicts_with_all = ["messages", "rate", "find_max", "engines", "gates", "gate_files", "junit", "summary_md", "push_url", "pause", "nemesis"], group = "open_loop")]
    overload: Vec<f64>,
    /// What messages accepted under overload may take, p99
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, requires = "overload")]
    overload_p99: Duration,
    /// Messages of a pair that may be due and unsent in an open loop; what comes on top is dropped, and counted [default: 1024, with
    /// --overload 32]
    #[arg(long, value_name = "MESSAGES", requires = "open_loop")]
    backlog: Option<usize>,
    /// How the intended times of --rate lie
    #[arg(long, value_enum, default_value_t = ArrivalsArg::Constant, requires = "open_loop")]
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
    /// Decides contents, cids and which messages are late, and what a nemesis does
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop a server that the bench started in the middle of the run and let it go on, like 8s+1s: after 8 s of what counts, for
    /// 1 s. Repeat for several; of several servers by turns
    #[arg(long, value_name = "WHEN+HOW_LONG", conflicts_with_all = ["url", "find_max", "engines"])]
    pause: Vec<Pause>,
    #[command(flatten)]
    nemesis: NemesisArgs,
    /// Record what clients do and see, read everything in the end, and give the verdict of `check validity` too
    #[arg(long)]
    check: bool,
    /// A message that is not delivered this long after its chunk was acknowledged is lost
    #[arg(long, default_value = "10s", value_parser = duration)]
    delivery_wait: Duration,
}

/// How intended times lie.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ArrivalsArg {
    /// At equal distances
    Constant,
    /// As independent people would
    Poisson,
}

impl From<ArrivalsArg> for Arrivals {
    fn from(arg: ArrivalsArg) -> Self {
        match arg {
            ArrivalsArg::Constant => Self::Constant,
            ArrivalsArg::Poisson => Self::Poisson,
        }
    }
}

impl PairedClientsArgs {
    /// Whether one run is not enough.
    pub(super) fn is_several_runs(&self) -> bool {
        self.find_max.is_some()
            || !self.overload.is_empty()
            || self.engines.is_asked() && !self.nemesis.is_asked()
    }

    /// One run.
    pub(super) async fn run_once(
        self,
        options: &PairedClientsOptions,
        cancel: &CancellationToken,
    ) -> anyhow::Result<Finished> {
        let run = self.common.run_options(&[]);
        if !self.nemesis.is_asked() {
            return Ok(Box::pin(paired_clients::run(&run, options, cancel)).await?);
        }
        paired_clients::check(&run, options)?;
        let Place { world, addresses } =
            Box::pin(self.nemesis.place(&self.engines, run.targets.clone())).await?;
        let running = paired_clients::run_in(world, &addresses, &run, options, cancel);
        Ok(Box::pin(running).await?)
    }

    /// How long what counts lasts, where the user or a nemesis says so.
    fn length(&self) -> Option<Duration> {
        self.duration.or(self.nemesis.is_asked().then_some(NEMESIS_DURATION))
    }

    /// A table of engines, or the search for the highest rate.
    pub(super) async fn run_several(self, cancel: &CancellationToken) -> anyhow::Result<Exit> {
        let work = match self.work() {
            Ok(work) => work,
            Err(text) => return failed(BenchError::Usage(text)),
        };
        let json = self.common.format.is_json();
        if !self.overload.is_empty() {
            let options = OverloadOptions {
                multiples: self.overload,
                step: self.duration.unwrap_or(FIND_DURATION),
                p99_max: self.overload_p99,
                arrivals: self.arrivals.into(),
                work,
                run: self.common.run_options(&[]),
            };
            return overload::run(&options, json, cancel).await;
        }
        let Some(goal) = self.find_max else {
            return self.engines.run(self.common.run_options(&[]), work, json, cancel).await;
        };
        let options = FindMaxOptions {
            goal,
            from_per_s: self.rate.map_or(FIND_FROM_PER_S, |rate| rate.first_per_s()),
            arrivals: self.arrivals.into(),
            trial: self.duration.unwrap_or(FIND_DURATION),
            work: PairedClientsOptions {
                warmup_ms: millis(self.warmup.unwrap_or(FIND_WARMUP)),
                ..work
            },
            run: self.common.run_options(&[]),
        };
        find_max::run(&options, json, cancel).await
    }

    pub(super) fn work(&self) -> Result<PairedClientsOptions, String> {
        let load = self.load()?;
        let warmup = self.warmup.unwrap_or(match load {
            Load::Closed => Duration::ZERO,
            Load::Open { .. } => OPEN_WARMUP,
        });
        Ok(PairedClientsOptions {
            clients: self.clients,
            load,
            volume: match self.length() {
                Some(duration) => Volume::DurationMs(millis(duration)),
                None => Volume::MessagesPerClient(self.messages),
            },
            fill_to: self.fill,
            warmup_ms: millis(warmup),
            connecting: self.connecting,
            chunk: self.chunk,
            in_flight: self.in_flight,
            waiting_max: self.backlog.unwrap_or(match self.overload.is_empty() {
                true => BACKLOG,
                false => OVERLOAD_BACKLOG,
            }),
            read_limit: self.read_limit,
            size_bytes: self.size,
            late_ratio: self.late_ratio,
            seed: self.seed,
            user_prefix: self.common.user_prefix(),
            pauses: self.pause.clone(),
            nemesis: self.nemesis.plan(self.seed),
            check: self.check,
            connect_timeout_ms: millis(self.common.connect_timeout),
            delivery_wait_ms: millis(self.delivery_wait),
        })
    }

    fn load(&self) -> Result<Load, String> {
        let Some(profile) = self.rate.clone() else { return Ok(Load::Closed) };
        let profile = profile.within(self.length().unwrap_or(OPEN_DURATION));
        let profile = profile.map_err(|error| format!("--rate: {error}; raise --duration"))?;
        let arrivals = self.arrivals.into();
        Ok(Load::Open { profile, arrivals })
    }
}
