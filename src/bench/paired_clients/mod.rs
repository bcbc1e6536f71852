//! The workload `paired-clients`: clients in pairs, each pair a direct chat over real sockets.
//!
//! In a closed loop a client sends a chunk of messages, its peer receives them all as pushes, then both read the
//! newest page back, then the roles swap. In an open one messages are sent when they are due, whatever is unanswered, and
//! times run from when they were due. Both ends share this process and its monotonic clock.
//! Every delivery and every page is judged, so that a fast engine that loses messages does not
//! look like a fast engine.

mod books;
mod chatter;
mod drive;
#[cfg(test)]
mod fake_server;
mod finale;
mod inbox;
mod open_loop;
mod options;
mod pair;
mod phase;
mod reading;
mod sending;
mod tally;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use drive::{Driven, drive};
pub use finale::Finale;
pub use options::{Load, PairedClientsOptions, Volume};
pub use tally::Tally;

use super::error::BenchError;
use super::file_limit::make_room_for;
use super::load_profile::Arrivals;
use super::pause;
use super::run::{Findings, Finished, Run, RunOptions};

/// The latencies of a message, in the order of the record. *write*: from handing a message to
/// the connection to its durable reply. *delivery*: from there to the peer's socket. *read*: from
/// asking for a page to its last byte. *connect*: from the first packet to the reply to `open`. In an open loop the first three
/// begin when they should have, and those named `…_service` when they did.
pub const LATENCIES: [&str; 7] =
    ["write", "delivery", "read", "connect", "write_service", "delivery_service", "read_service"];
const WRITE: usize = 0;
const DELIVERY: usize = 1;
const READ: usize = 2;
const CONNECT: usize = 3;
const WRITE_SERVICE: usize = 4;
const DELIVERY_SERVICE: usize = 5;
const READ_SERVICE: usize = 6;

/// The whole workload: servers, talk, results.
pub async fn run(
    run_options: &RunOptions,
    options: &PairedClientsOptions,
    cancel: &CancellationToken,
) -> Result<Finished, BenchError> {
    options.validate()?;
    make_room_for(options.clients)?;
    let mut run = Run::begin("paired-clients", run_options, &LATENCIES).await?;
    let (addresses, record) = (run.targets.addresses().to_vec(), run.record.clone());
    let (servers, marks) = (run.targets.stoppable(), RefCell::new(Vec::new()));
    let (begin, begun) = oneshot::channel();
    let measure = async {
        run.measure().await;
        // Nobody listens where there is nothing to pause any more.
        let _ = begin.send(Instant::now());
    };
    let pausing = async {
        if let Ok(begun) = begun.await {
            pause::make(&options.pauses, &servers, begun, &marks).await;
        }
        std::future::pending().await
    };
    let mut driven = tokio::select! {
        driven = Box::pin(drive(&addresses, options, &record, cancel, measure)) => driven?,
        () = pausing => unreachable!("it waits for the run to end"),
    };
    let finale = driven.finale.take();
    let mut findings = findings(driven, options, cancel.is_cancelled());
    findings.marks = marks.into_inner();
    let missed = options.pauses.len() - findings.marks.len();
    if missed > 0 {
        findings.complete = false;
        findings.notes.push(format!("{missed} pauses were not made: the run was over before"));
    }
    if let Some(finale) = finale {
        // What the last reads cost is no part of the run.
        run.measured().await;
        findings.judged = Some(finale.judge(cancel).await);
    }
    run.finish(findings).await
}

fn findings(driven: Driven, options: &PairedClientsOptions, aborted: bool) -> Findings {
    let Driven {
        tally,
        connecting,
        filling,
        warming_up,
        measured,
        scheduled,
        dropped,
        cost,
        lag,
        ..
    } = driven;
    let measured_s = measured.duration.as_secs_f64();
    let named = |named: &[(&str, f64)]| {
        named.iter().map(|&(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>()
    };
    let per_s = |count: u64| if measured_s > 0.0 { count as f64 / measured_s } else { 0.0 };
    let mut counts = vec![
        ("sent", tally.sent),
        ("late", tally.late),
        ("retries", tally.retries),
        ("given_up", tally.given_up),
        ("reads", tally.reads),
        ("reads_failed", tally.reads_failed),
        ("broken_pairs", tally.broken_pairs),
    ];
    let mut figures = vec![
        ("generator_cpu_share", cost.cpu_share),
        ("generator_timer_lag_p99_us", cost.timer_lag_p99.as_secs_f64() * 1e6),
    ];
    if options.fill_to > 0 {
        figures.push(("stored_before", options.fill_to as f64));
    }
    if measured.written > 0 {
        figures.push(("generator_cpu_us_per_message", cost.cpu_s * 1e6 / measured.written as f64));
    }
    let mut notes = tally.broken.clone();
    let mut complete = tally.is_complete();
    let overload = cost.overload(lag.as_ref());
    if let (Some(scheduled), Some(lag)) = (scheduled, &lag) {
        let dropped = dropped + tally.dropped;
        counts.extend([("scheduled", scheduled), ("begun", tally.begun), ("dropped", dropped)]);
        figures.push(("dispatch_lag_p99_us", lag.value_at_quantile(0.99) as f64 / 1e3));
        complete &= dropped == 0 && overload.is_empty();
        if scheduled != tally.begun + dropped && !aborted {
            complete = false;
            notes.push(format!(
                "void: {scheduled} messages were scheduled, {} sent and {dropped} dropped, which is not the same",
                tally.begun
            ));
        } else if dropped > 0 {
            notes.push(format!(
                "{dropped} of {scheduled} messages were due and not sent: the server was too far behind, and latencies are lower than they would be"
            ));
        }
    }
    notes.extend(overload.iter().cloned());
    let seconds = Duration::as_secs_f64;
    Findings {
        load: load(options),
        overload,
        config: serde_json::to_value(options).unwrap_or_default(),
        durations_s: named(&[
            ("connecting", seconds(&connecting)),
            ("filling", seconds(&filling)),
            ("warming_up", seconds(&warming_up)),
            ("talking", measured_s),
        ]),
        rates: named(&[
            ("messages_per_s", per_s(measured.written)),
            ("deliveries_per_s", per_s(measured.delivered)),
            ("reads_per_s", per_s(measured.read)),
        ]),
        figures: named(&figures),
        counts: counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        complete,
        correctness: tally.correctness,
        errors: tally.errors,
        messages: measured.written,
        aborted,
        notes,
        marks: Vec::new(),
        judged: None,
    }
}

/// How load was made, for people.
fn load(options: &PairedClientsOptions) -> String {
    match &options.load {
        Load::Closed => "closed loop".to_owned(),
        Load::Open { profile, arrivals } => {
            let arrivals = match arrivals {
                Arrivals::Constant => "constant",
                Arrivals::Poisson => "Poisson",
            };
            format!("open loop, {arrivals} arrivals, {profile} messages/s")
        }
    }
}
