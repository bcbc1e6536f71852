//! The same work over several engines, in turn: which is fast, which stays so as it grows.
//!
//! Every contestant is run once a round, forwards and backwards by turns, so that whatever changes on the machine meanwhile
//! meets all of them. Runs of one contestant are one row: percentiles come from the sum of their histograms, rates are medians.

mod row;
mod table;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

pub use row::Row;
pub use table::render;

use super::error::BenchError;
use super::paired_clients::{self, PairedClientsOptions};
use super::report::{Style, TABLE_FILE};
use super::run::{Finished, RunOptions};
use crate::harness::{ResultFolder, TargetOptions, Targets, folder_name};

/// Version of `engines.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// Engines that take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contestant {
    /// Where messages are and what brings hints, like `redis-kafka`.
    pub name: String,
    /// Variables of its servers; those of the user come after them.
    pub environment: Vec<(String, String)>,
}

/// What is compared.
#[derive(Debug, Clone)]
pub struct EnginesOptions {
    /// Who takes part.
    pub contestants: Vec<Contestant>,
    /// How often each is run.
    pub rounds: usize,
    /// Messages that are stored before each measured part, ascending; empty: every run begins with nothing.
    pub volumes: Vec<u64>,
    /// As of one run.
    pub run: RunOptions,
    /// The work of one run.
    pub work: PairedClientsOptions,
}

/// A comparison that is over and kept.
#[derive(Debug)]
pub struct Compared {
    /// A row for each contestant, and volume.
    pub rows: Vec<Row>,
    /// Stopped with Ctrl-C.
    pub aborted: bool,
    /// Where everything was kept, the folder of every run in it.
    pub folder: PathBuf,
}

/// Runs everybody, and keeps the table. One that fails is a row that says so; the others go on.
pub async fn run(
    options: &EnginesOptions,
    cancel: &CancellationToken,
) -> Result<Compared, BenchError> {
    options.work.validate()?;
    if options.rounds == 0 {
        return Err(BenchError::Usage("--rounds 0: give at least 1".to_owned()));
    }
    if !options.volumes.is_sorted() {
        return Err(BenchError::Usage("--grow: give the volumes in ascending order".to_owned()));
    }
    ResultFolder::check(&options.run.out)?;
    let mut folder = ResultFolder::create(&options.run.out, &folder_name("engines", "table"))?;
    let mut rows = Vec::<Row>::new();
    for round in 0..options.rounds {
        let mut order: Vec<&Contestant> = options.contestants.iter().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for contestant in order {
            if cancel.is_cancelled() {
                break;
            }
            eprintln!("round {} of {}: {}", round + 1, options.rounds, contestant.name);
            let run = RunOptions { out: folder.path().to_owned(), ..options.run.clone() };
            // Conversations that nobody has used, also where data outlives a server.
            let prefix = format!("{}-{round}", options.work.user_prefix);
            let work = PairedClientsOptions { user_prefix: prefix, ..options.work.clone() };
            let ran = Box::pin(series(options, contestant, run, &work, cancel)).await;
            for (stored, outcome) in ran {
                take(&mut rows, contestant, stored, outcome?);
            }
        }
    }
    let aborted = cancel.is_cancelled();
    let json = serde_json::json!({
        "schema_version": SCHEMA_VERSION, "command": options.run.command, "aborted": aborted, "rows": rows,
    });
    let json = serde_json::to_vec_pretty(&json).map_err(|error| folder.error(error.into()))?;
    folder.write(TABLE_FILE, &json)?;
    folder.write("engines.txt", render(&rows, Style::Plain).as_bytes())?;
    Ok(Compared { rows, aborted, folder: folder.path().to_owned() })
}

/// What came of one run: its results, or why there are none.
type Outcome = Result<Finished, String>;

/// One contestant, once: a run, or one for each volume on the same servers.
async fn series(
    options: &EnginesOptions,
    contestant: &Contestant,
    run: RunOptions,
    work: &PairedClientsOptions,
    cancel: &CancellationToken,
) -> Vec<(Option<u64>, Result<Outcome, BenchError>)> {
    let environment = contestant.environment.iter().chain(&run.targets.environment).cloned();
    let targets = TargetOptions {
        environment: environment.collect(),
        label: Some(contestant.name.clone()),
        ..run.targets.clone()
    };
    if options.volumes.is_empty() {
        let run = RunOptions { targets, ..run };
        return vec![(None, outcome(Box::pin(paired_clients::run(&run, work, cancel)).await))];
    }
    let mut servers = match Targets::start(&targets).await {
        Ok(servers) => servers,
        Err(error) => return vec![(None, outcome(Err(error.into())))],
    };
    let mut results = Vec::new();
    for &volume in &options.volumes {
        if cancel.is_cancelled() {
            break;
        }
        eprintln!("{}: {volume} messages", contestant.name);
        let run = RunOptions { targets: servers.again(&targets), ..run.clone() };
        let work = PairedClientsOptions { fill_to: volume, ..work.clone() };
        let ran = outcome(Box::pin(paired_clients::run(&run, &work, cancel)).await);
        let goes_on = matches!(ran, Ok(Ok(_)));
        results.push((Some(volume), ran));
        if !goes_on {
            break;
        }
    }
    servers.stop().await;
    results
}

/// Wrong usage ends everything; anything else is what this contestant came to.
fn outcome(result: Result<Finished, BenchError>) -> Result<Outcome, BenchError> {
    match result {
        Ok(finished) => Ok(Ok(finished)),
        Err(BenchError::Usage(text)) => Err(BenchError::Usage(text)),
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn take(rows: &mut Vec<Row>, contestant: &Contestant, stored: Option<u64>, outcome: Outcome) {
    let is_it = |row: &&mut Row| row.contestant == contestant.name && row.stored_before == stored;
    let row = match rows.iter_mut().find(is_it) {
        Some(row) => row,
        None => {
            rows.push(Row::new(&contestant.name, stored));
            let last = rows.len() - 1;
            &mut rows[last]
        }
    };
    match outcome {
        Ok(finished) => row.add(&finished),
        Err(reason) => row.failed = Some(reason),
    }
}
