//! The workload `paired-clients`: clients in pairs, each pair a direct chat over real sockets.
//!
//! A client sends a chunk of messages, its peer receives them all as pushes, then both read the
//! newest page back, then the roles swap. Both ends share this process and its monotonic clock.
//! Every delivery and every page is judged, so that a fast engine that loses messages does not
//! look like a fast engine.

mod chatter;
#[cfg(test)]
mod fake_server;
mod inbox;
mod options;
mod pair;
mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use options::{PairedClientsOptions, Volume};
pub use tally::Tally;

use super::error::BenchError;
use super::file_limit::make_room_for;
use super::pacer::{ClosedLoop, Pacer};
use super::progress::Progress;
use super::recorder::RunRecord;
use super::run::{Findings, Finished, Run, RunOptions};
use crate::client::Address;
use crate::harness::content::ContentMaker;
use chatter::Chatter;
use pair::Pair;

/// The three latencies of a message, in the order of the record. *write*: from handing a message to
/// the connection to its durable reply. *delivery*: from there to the peer's socket. *read*: from
/// asking for a page to its last byte.
pub const LATENCIES: [&str; 3] = ["write", "delivery", "read"];
const WRITE: usize = 0;
const DELIVERY: usize = 1;
const READ: usize = 2;

/// Connections that are made at the same time.
const CONNECTING_MAX: usize = 64;

/// What a run did, and how long its parts took.
#[derive(Debug)]
pub struct Driven {
    /// The sum over all pairs.
    pub tally: Tally,
    /// Until every client was connected and had its conversation open.
    pub connecting: Duration,
    /// From the start of the first chunk to the end of the last page.
    pub talking: Duration,
}

/// Connects everybody, then lets all pairs talk at once.
pub async fn drive(
    addresses: &[Address],
    options: &PairedClientsOptions,
    record: &Arc<RunRecord>,
    cancel: &CancellationToken,
) -> Result<Driven, BenchError> {
    options.validate()?;
    let connecting_since = Instant::now();
    let progress = Progress::start("connecting", Some(options.clients as u64));
    let maker = Arc::new(ContentMaker::new(options.size_bytes, options.seed));
    let joining = stream::iter(0..options.clients).map(|index| {
        let (maker, progress) = (Arc::clone(&maker), &progress);
        async move {
            let address = &addresses[index % addresses.len()];
            let peer = options.user(index ^ 1)?;
            let chatter = Chatter::join(address, index, peer, options, maker).await?;
            progress.add(1);
            Ok::<_, BenchError>(chatter)
        }
    });
    // In order, so that neighbours are pairs.
    let joining = joining.buffered(CONNECTING_MAX).try_collect::<Vec<_>>();
    let chatters = tokio::select! {
        chatters = joining => chatters?,
        () = cancel.cancelled() => Vec::new(),
    };
    drop(progress);
    let connecting = connecting_since.elapsed();

    let total = match options.volume {
        Volume::MessagesPerClient(messages) => Some(messages * options.clients as u64),
        Volume::DurationMs(_) => None,
    };
    let progress = Progress::start("messages", total);
    record.start();
    let talking_since = Instant::now();
    let mut pairs = JoinSet::new();
    let mut chatters = chatters.into_iter();
    while let (Some(one), Some(other)) = (chatters.next(), chatters.next()) {
        let pair = Pair::new(one, other, options, progress.counter());
        let pacer = pacer(options, talking_since);
        let (record, cancel) = (Arc::clone(record), cancel.clone());
        pairs.spawn(async move { pair.run(pacer, &record, &cancel).await });
    }
    let mut tally = Tally::default();
    while let Some(joined) = pairs.join_next().await {
        match joined {
            Ok(pair) => tally.add(pair),
            Err(error) => tally.broke(format!("a pair's task ended by itself: {error}")),
        }
    }
    Ok(Driven { tally, connecting, talking: talking_since.elapsed() })
}

fn pacer(options: &PairedClientsOptions, start: Instant) -> Box<dyn Pacer> {
    Box::new(match options.volume {
        Volume::MessagesPerClient(messages) => ClosedLoop::pieces(messages.div_ceil(options.chunk)),
        Volume::DurationMs(ms) => ClosedLoop::duration(start, Duration::from_millis(ms)),
    })
}

/// The whole workload: servers, talk, results.
pub async fn run(
    run_options: &RunOptions,
    options: &PairedClientsOptions,
    cancel: &CancellationToken,
) -> Result<Finished, BenchError> {
    options.validate()?;
    make_room_for(options.clients)?;
    let run = Run::begin("paired-clients", run_options, &LATENCIES).await?;
    let driven = drive(run.targets.addresses(), options, &run.record, cancel).await?;
    run.finish(findings(driven, options, cancel.is_cancelled())).await
}

fn findings(driven: Driven, options: &PairedClientsOptions, aborted: bool) -> Findings {
    let Driven { tally, connecting, talking } = driven;
    let talking_s = talking.as_secs_f64();
    let named = |named: &[(&str, f64)]| {
        named.iter().map(|&(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>()
    };
    let per_s = |count: u64| if talking_s > 0.0 { count as f64 / talking_s } else { 0.0 };
    let counts = [
        ("sent", tally.sent),
        ("late", tally.late),
        ("retries", tally.retries),
        ("given_up", tally.given_up),
        ("reads", tally.reads),
        ("reads_failed", tally.reads_failed),
        ("broken_pairs", tally.broken_pairs),
    ];
    Findings {
        config: serde_json::to_value(options).unwrap_or_default(),
        durations_s: named(&[("connecting", connecting.as_secs_f64()), ("talking", talking_s)]),
        rates: named(&[
            ("messages_per_s", per_s(tally.sent)),
            ("deliveries_per_s", per_s(tally.correctness.delivered)),
            ("reads_per_s", per_s(tally.reads)),
        ]),
        figures: BTreeMap::new(),
        counts: counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        complete: tally.is_complete(),
        correctness: tally.correctness,
        errors: tally.errors,
        messages: tally.sent,
        aborted,
        notes: tally.broken,
    }
}
