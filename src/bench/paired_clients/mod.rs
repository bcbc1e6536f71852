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
mod line;
mod open_loop;
mod options;
mod pair;
mod phase;
mod reading;
mod sending;
mod tally;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use drive::{Driven, drive};
pub use finale::Finale;
pub use options::{Load, PairedClientsOptions, Volume};
pub use tally::Tally;

use super::error::BenchError;
use super::file_limit::make_room_for;
use super::load_profile::Arrivals;
use super::nemesis_plan::ActMarks;
use super::pause;
use super::report::Mark;
use super::run::{Findings, Finished, Run, RunOptions};
use crate::client::Address;
use crate::history::{Recorder, Seen};
use crate::nemesis::{Nemesis, World};

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
    check(run_options, options)?;
    let run = Run::begin("paired-clients", run_options, &LATENCIES).await?;
    let addresses = run.targets().addresses().to_vec();
    Box::pin(talk(run, &addresses, options, cancel)).await
}

/// As [`run`], where things can be broken: in `world`, to which clients go by `addresses`.
pub async fn run_in(
    mut world: World,
    addresses: &[Address],
    run_options: &RunOptions,
    options: &PairedClientsOptions,
    cancel: &CancellationToken,
) -> Result<Finished, BenchError> {
    let acts = match (&options.nemesis, options.length()) {
        (Some(plan), Some(length)) => plan.acts(length, &world.shape()),
        _ => Ok(Vec::new()),
    };
    let acts = match check(run_options, options).and(acts) {
        Ok(acts) => acts,
        Err(error) => {
            world.targets_mut().stop().await;
            return Err(error);
        }
    };
    let nemesis = Nemesis::new(world, acts);
    let run = Run::begin_with("paired-clients", run_options, &LATENCIES, nemesis).await?;
    Box::pin(talk(run, addresses, options, cancel)).await
}

/// What can be refused before anything is started.
pub fn check(run_options: &RunOptions, options: &PairedClientsOptions) -> Result<(), BenchError> {
    options.validate()?;
    run_options.check(&LATENCIES)?;
    make_room_for(options.clients)
}

/// What was done to the servers in the middle of what counts.
#[derive(Debug, Default)]
struct Done {
    marks: Vec<Mark>,
    acts: u64,
    /// Why a nemesis could not go on, or not make everything whole.
    failures: Vec<String>,
}

async fn talk(
    mut run: Run,
    addresses: &[Address],
    options: &PairedClientsOptions,
    cancel: &CancellationToken,
) -> Result<Finished, BenchError> {
    let record = run.record.clone();
    let recorder = options.check.then(Recorder::new);
    let (ask, asked) = oneshot::channel();
    let (answer, answered) = oneshot::channel();
    let over = CancellationToken::new();
    let measure = async {
        // Nobody answers where nobody is there any more.
        let _ = ask.send(());
        let _ = answered.await;
    };
    let driving = async {
        let driving =
            Box::pin(drive(addresses, options, &record, recorder.as_ref(), cancel, measure));
        // Whatever becomes of it, what is broken is made whole.
        let driven = AssertUnwindSafe(driving).catch_unwind().await;
        over.cancel();
        driven
    };
    let beside = async {
        match asked.await {
            Ok(()) => {
                run.measure().await;
                let _ = answer.send(());
                disturb(&mut run, options, recorder.as_deref(), &over).await
            }
            Err(_) => Done::default(),
        }
    };
    let (driven, done) = tokio::join!(driving, beside);
    let mut driven = driven.unwrap_or_else(|panic| resume_unwind(panic))?;
    let finale = driven.finale.take();
    let mut findings = findings(driven, options, cancel.is_cancelled());
    let missed = options.pauses.len().saturating_sub(done.marks.len());
    if missed > 0 {
        findings.complete = false;
        findings.notes.push(format!("{missed} pauses were not made: the run was over before"));
    }
    if options.nemesis.is_some() {
        findings.counts.insert("nemesis_acts".to_owned(), done.acts);
    }
    findings.complete &= done.failures.is_empty();
    findings.notes.extend(done.failures.iter().cloned());
    findings.marks = done.marks;
    if let Some(mut finale) = finale {
        // What the last reads cost is no part of the run.
        run.measured().await;
        if options.nemesis.is_some() {
            finale.is_served(cancel).await;
        }
        findings.judged = Some(finale.judge(cancel, done.failures).await);
    }
    run.finish(findings).await
}

/// Makes pauses or lets the nemesis act until the pairs are done, and makes everything whole again.
async fn disturb(
    run: &mut Run,
    options: &PairedClientsOptions,
    recorder: Option<&Recorder>,
    over: &CancellationToken,
) -> Done {
    let begun = Instant::now();
    if options.nemesis.is_none() {
        let (servers, marks) = (run.targets().stoppable(), RefCell::new(Vec::new()));
        tokio::select! {
            () = over.cancelled() => {}
            () = pause::make(&options.pauses, &servers, begun, &marks) => {}
        }
        return Done { marks: marks.into_inner(), ..Done::default() };
    }
    let acts = ActMarks::new(begun);
    let note = |seen: Seen| {
        acts.take(&seen);
        if let Some(recorder) = recorder {
            recorder.note(seen);
        }
    };
    let acted = run.nemesis.run(&note, over).await;
    // Also where the run was stopped.
    let healed = run.nemesis.heal(&note).await;
    let failures = [acted, healed].into_iter().filter_map(Result::err);
    let failures = failures.map(|error| error.to_string()).collect();
    Done { acts: run.nemesis.done(), failures, marks: acts.into_marks() }
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
    if options.nemesis.is_some() {
        counts.push(("reconnects", tally.reconnects));
    }
    let mut figures = vec![
        ("generator_cpu_share", cost.cpu_share),
        ("generator_timer_lag_p99_us", cost.timer_lag_p99.as_secs_f64() * 1e6),
    ];
    if tally.reconnects > 0 {
        figures.push(("away_longest_ms", tally.away_longest.as_secs_f64() * 1e3));
    }
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
        growth: None,
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
