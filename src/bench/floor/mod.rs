//! `bench floor`: how near the server is to what the machine allows.
//!
//! Bare programs that do the same work without a chat (an echo, a relay, a sync of the disk, a write to the service of an engine) and the
//! real server, by turns, on one core; the clients on another. So every figure is a ratio of one run, or is told beside what the machine
//! gave at that moment.

mod bare;
mod cores;
mod disk;
mod figure;
mod figures;
mod line;
mod load;
mod report;
mod service;
mod subject;
mod wire;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub use figure::{Figure, Goal};
pub use report::{FloorReport, SCHEMA_VERSION, line, render};
pub use service::{Served, Service, set_redis_fsync};

use super::error::BenchError;
use crate::harness::{Host, ResultFolder, Versions, folder_name};
use cores::Cores;
use figures::{Bench, Experiment, is_asked};

/// More than the experiments have at a time, but the one that says so itself.
const CONNECTIONS_USUAL: usize = 1_000;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct FloorOptions {
    /// Names of figures; none: all.
    pub only: Vec<String>,
    /// Times that each is measured.
    pub rounds: usize,
    /// How long each step of a round is.
    pub slice: Duration,
    /// Program of the chat servers; `None`: this one.
    pub program: Option<PathBuf>,
    /// On top of ours, of the chat servers.
    pub environment: Vec<(String, String)>,
    /// Engines that stand on services, to be measured too.
    pub served: Vec<Served>,
    /// Where result folders go.
    pub out: PathBuf,
    /// The command line for the report, secrets already left out.
    pub command: String,
}

impl FloorOptions {
    /// Whether they can be done; the error names the flag.
    pub fn validate(&self) -> Result<(), BenchError> {
        Experiment::choose(&self.only)?;
        if self.rounds == 0 {
            return Err(BenchError::Usage("--rounds 0: give at least 1".to_owned()));
        }
        if self.slice < Duration::from_millis(10) {
            return Err(BenchError::Usage("--slice: give at least 10ms".to_owned()));
        }
        Ok(())
    }
}

/// A table that is over and kept.
#[derive(Debug)]
pub struct Measured {
    /// The table.
    pub report: FloorReport,
    /// Where it was kept.
    pub folder: PathBuf,
}

/// Measures, on threads and cores of its own. `told` hears of each figure as soon as it is known.
pub async fn run(
    options: &FloorOptions,
    cancel: &CancellationToken,
    told: impl Fn(&Figure) + Send + 'static,
) -> Result<Measured, BenchError> {
    options.validate()?;
    let experiments = Experiment::choose(&options.only)?;
    super::file_limit::make_room_for(CONNECTIONS_USUAL)?;
    ResultFolder::check(&options.out)?;
    let started_at = jiff::Timestamp::now().to_string();
    let bench = Bench {
        cores: Cores::find()?,
        rounds: options.rounds,
        slice: options.slice,
        epoch: Instant::now(),
        only: options.only.clone(),
        program: options.program.clone(),
        environment: options.environment.clone(),
        served: options.served.clone(),
    };
    let (figures, failures) = on_its_core(bench, experiments, cancel.clone(), told).await?;
    let report = FloorReport {
        schema_version: SCHEMA_VERSION,
        command: options.command.clone(),
        started_at,
        versions: Versions::of_this_binary(),
        host: Host::find(),
        rounds: options.rounds,
        slice_ms: options.slice.as_millis() as u64,
        aborted: cancel.is_cancelled(),
        figures,
        failures,
    };
    let mut folder = ResultFolder::create(&options.out, &folder_name("floor", "local"))?;
    folder.write("floor.json", &serde_json::to_vec_pretty(&report).unwrap_or_default())?;
    folder.write("floor.txt", render(&report).as_bytes())?;
    Ok(Measured { report, folder: folder.path().to_owned() })
}

/// Everything that makes load is one thread, which is kept on its core; servers are started by it.
async fn on_its_core(
    bench: Bench,
    experiments: Vec<Experiment>,
    cancel: CancellationToken,
    told: impl Fn(&Figure) + Send + 'static,
) -> Result<(Vec<Figure>, Vec<String>), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(BenchError::Thread)?;
    let (over, ended) = tokio::sync::oneshot::channel();
    let measuring = move || {
        let all = Cores::stay_on(bench.cores.clients).map(|()| {
            runtime.block_on(async {
                let (mut figures, mut failures) = (Vec::new(), Vec::new());
                for experiment in experiments {
                    let measured = tokio::select! {
                        () = cancel.cancelled() => break,
                        measured = Box::pin(experiment.measure(&bench)) => measured,
                    };
                    match measured {
                        Ok(mut measured) => {
                            measured.retain(|figure| is_asked(&bench.only, figure.id));
                            measured.iter().for_each(&told);
                            figures.extend(measured);
                        }
                        Err(failure) => failures.push(format!("{experiment:?}: {failure}")),
                    }
                }
                (figures, failures)
            })
        });
        // Whoever waits for it is there, or does not want to know.
        let _ = over.send(all);
    };
    let thread = std::thread::Builder::new().name("floor".to_owned()).spawn(measuring);
    thread.map_err(BenchError::Thread)?;
    ended.await.unwrap_or_else(|_| {
        Err(BenchError::Unmeasurable("the thread of the load has ended".to_owned()))
    })
}
