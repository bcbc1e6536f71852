//! The workload `newest-page`: does a read grow with what is stored?
//!
//! Conversations of different sizes in one store, filled through the protocol; then one client
//! reads them in turn, so that whatever disturbs the machine disturbs all of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::error::BenchError;
use super::filled::{Filled, PAGE};
use super::filling::{Filling, check_size, connect, user};
use super::progress::Progress;
use super::recorder::Recorder;
use super::run::{Findings, Finished, Run, RunOptions};
use super::stats::LatencyStats;
use crate::client::{Address, Client, ClientError, PushHandler};

/// The ways of reading a page that are measured.
const WAYS: [&str; 3] = ["open", "read", "read-at-random-ts"];

/// Options of the workload.
#[derive(Debug, Clone, Serialize)]
pub struct NewestPageOptions {
    /// Messages stored in each conversation.
    pub volumes: Vec<u64>,
    /// Reads of each kind in each conversation.
    pub reads: u64,
    /// Bytes of each message's content.
    pub size_bytes: usize,
    /// Decides contents and random times.
    pub seed: u64,
    /// What user names begin with; must be new to the server.
    pub user_prefix: String,
    /// How long one client may take to connect, ms.
    pub connect_timeout_ms: u64,
}

/// Fills, reads, compares.
pub async fn run(
    run_options: &RunOptions,
    options: &NewestPageOptions,
    cancel: &CancellationToken,
) -> Result<Finished, BenchError> {
    validate(options)?;
    let names: Vec<String> = options
        .volumes
        .iter()
        .flat_map(|volume| WAYS.iter().map(move |way| format!("{way}-{volume}")))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let run = Run::begin("newest-page", run_options, &names).await?;
    let filling_since = Instant::now();
    let address = &run.targets().addresses()[0];
    let filled = tokio::select! {
        filled = fill_all(address, options) => Some(filled?),
        () = cancel.cancelled() => None,
    };
    let filling_s = filling_since.elapsed().as_secs_f64();
    let mut findings = Findings {
        config: serde_json::to_value(options).unwrap_or_default(),
        durations_s: BTreeMap::from([("filling".to_owned(), filling_s)]),
        ..Findings::default()
    };
    if let Some((client, filled)) = filled {
        let stored: u64 = options.volumes.iter().sum();
        findings.messages = stored;
        findings.counts.insert("stored".to_owned(), stored);
        findings.rates.insert("filled_per_s".to_owned(), stored as f64 / filling_s);
        run.record.start();
        let reading = read_all(&client, &filled, options, &run, &mut findings);
        tokio::select! {
            result = reading => result.map_err(BenchError::client("reading pages"))?,
            () = cancel.cancelled() => {}
        }
        client.close().await;
        compare(&run, options, &mut findings.figures);
    }
    findings.aborted = cancel.is_cancelled();
    findings.complete = !findings.aborted;
    run.finish(findings).await
}

fn validate(options: &NewestPageOptions) -> Result<(), BenchError> {
    let refuse = |text: String| Err(BenchError::Usage(text));
    if options.volumes.is_empty() || options.volumes.iter().any(|&volume| volume < PAGE as u64) {
        return refuse(format!(
            "--volumes: give one or more sizes of at least {PAGE}, like 1000,1000000"
        ));
    }
    let mut different = options.volumes.clone();
    different.sort_unstable();
    different.dedup();
    if different.len() != options.volumes.len() {
        return refuse("--volumes: give each size once".into());
    }
    if options.reads == 0 {
        return refuse("--reads 0: give at least 1; p99 needs 1000".into());
    }
    check_size(options.size_bytes)?;
    user(&options.user_prefix, "reader").map(|_| ())
}

/// Fills one conversation per volume, and opens all of them in the client that will read.
async fn fill_all(
    address: &Address,
    options: &NewestPageOptions,
) -> Result<(Client, Vec<Filled>), BenchError> {
    let reader = user(&options.user_prefix, "reader")?;
    let connect_timeout = Duration::from_millis(options.connect_timeout_ms);
    let client = connect(address, &reader, connect_timeout, PushHandler::Ignore).await?;
    let mut filled = Vec::new();
    for &volume in &options.volumes {
        let writer = user(&options.user_prefix, &format!("writer{volume}"))?;
        let filling = Filling {
            address,
            writer: &writer,
            reader: &reader,
            size_bytes: options.size_bytes,
            seed: options.seed,
            connect_timeout,
        };
        filling.fill(0..volume).await?;
        filled.push(Filled::open(&client, writer, volume).await?);
    }
    Ok((client, filled))
}

/// Reads every conversation in every way, forward and backward in turn (ABBA), so that a drift of
/// the machine falls on all of them alike.
async fn read_all(
    client: &Client,
    filled: &[Filled],
    options: &NewestPageOptions,
    run: &Run,
    findings: &mut Findings,
) -> Result<(), ClientError> {
    let since = Instant::now();
    let total = options.reads * (filled.len() * WAYS.len()) as u64;
    let progress = Progress::start("reading", Some(total));
    let mut random = SmallRng::seed_from_u64(options.seed);
    let mut recorder = Recorder::new();
    let mut order: Vec<usize> = (0..filled.len() * WAYS.len()).collect();
    for round in 0..options.reads {
        for &index in &order {
            let conversation = &filled[index / WAYS.len()];
            let way = WAYS[index % WAYS.len()];
            let to = (way == "read-at-random-ts")
                .then(|| random.random_range(conversation.ts_oldest..=conversation.ts_newest));
            let command = match way {
                "open" => conversation.open_command(),
                _ => conversation.read_command(to),
            };
            let asked_at = Instant::now();
            let answered = client.call(&command).await?;
            recorder.record(index, answered.received_at, answered.received_at - asked_at);
            conversation.judge(&answered.reply, to, &mut findings.correctness);
        }
        order.reverse();
        progress.add(order.len() as u64);
        if round % 256 == 0 || round + 1 == options.reads {
            run.record.merge(&mut recorder);
        }
    }
    let reading_s = since.elapsed().as_secs_f64();
    findings.durations_s.insert("reading".to_owned(), reading_s);
    findings.rates.insert("reads_per_s".to_owned(), total as f64 / reading_s);
    findings.counts.insert("reads".to_owned(), total);
    Ok(())
}

/// The largest volume against the smallest.
fn compare(run: &Run, options: &NewestPageOptions, figures: &mut BTreeMap<String, f64>) {
    let stats: BTreeMap<String, LatencyStats> = run
        .record
        .totals()
        .iter()
        .map(|(name, histogram)| (name.clone(), LatencyStats::of(histogram)))
        .collect();
    let (Some(least), Some(most)) = (options.volumes.iter().min(), options.volumes.iter().max())
    else {
        return;
    };
    for way in WAYS {
        let of = |volume: &u64| stats.get(&format!("{way}-{volume}"));
        let (Some(small), Some(large)) = (of(least), of(most)) else { continue };
        let ratios =
            [("p50", large.p50_us.zip(small.p50_us)), ("p99", large.p99_us.zip(small.p99_us))];
        for (percentile, both) in ratios {
            if let Some((large, small)) = both.filter(|&(_, small)| small > 0.0) {
                figures.insert(format!("{way}_{percentile}_ratio"), large / small);
            }
        }
    }
}
