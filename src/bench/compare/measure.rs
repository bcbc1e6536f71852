//! One run: a fresh server, some work to warm it up, the work that counts, and what that cost.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::disturbance::{Conditions, CpuTimes, probe_us};
use super::metric::Metric;
use crate::bench::error::BenchError;
use crate::bench::paired_clients::{
    Driven, LATENCIES, Load, PairedClientsOptions, Tally, Volume, drive,
};
use crate::bench::recorder::RunRecord;
use crate::bench::run::per_message;
use crate::bench::stats::LatencyStats;
use crate::clock::process_cpu;
use crate::harness::{TargetOptions, Targets, fresh_name};

/// The server's first messages cost more than the rest: threads, caches and the allocator are cold. One message in so
/// many is sent before anything counts.
const WARM_UP_SHARE: u64 = 10;

/// How long one client may take to connect, ms.
const CONNECT_TIMEOUT_MS: u64 = 10_000;

/// What one run does. The rest is as in `bench paired-clients` by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Clients, an even number.
    pub clients: usize,
    /// Messages that each sends.
    pub messages: u64,
    /// Bytes of each content.
    pub size_bytes: usize,
    /// Messages of one client that may be unanswered.
    pub in_flight: usize,
}

/// A server to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerOptions {
    /// The program.
    pub binary: PathBuf,
    /// SHA-256 of the program, hexadecimal.
    pub binary_sha256: String,
    /// Environment on top of ours.
    pub environment: Vec<(String, String)>,
}

/// What a run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// RFC 3339.
    pub started_at: String,
    /// All of it, from one probe to the other, s.
    pub took_s: f64,
    /// Storage engine of the server.
    pub engine: String,
    /// What an `ok` survives.
    pub durability: String,
    /// By [`Metric::name`], and exact counters per message.
    pub figures: BTreeMap<String, f64>,
    /// What the machine was like.
    pub conditions: Conditions,
    /// Broken promises by name; none are the only good state.
    pub violations: BTreeMap<String, u64>,
    /// Why the run was not complete, so that its figures mean nothing.
    pub failure: Option<String>,
}

impl Measured {
    /// A run that was cut off after this time.
    pub fn cut(after: Duration) -> Self {
        let unknown = || "unknown".to_owned();
        let (probe_before_us, probe_after_us) = (0.0, 0.0);
        Self {
            started_at: unknown(),
            took_s: after.as_secs_f64(),
            engine: unknown(),
            durability: unknown(),
            figures: BTreeMap::new(),
            conditions: Conditions {
                steal: None,
                iowait: None,
                others: None,
                probe_before_us,
                probe_after_us,
            },
            violations: BTreeMap::new(),
            failure: Some(format!("cut off after {:.1} s: time was up", after.as_secs_f64())),
        }
    }
}

impl Work {
    /// Refuses what cannot be run; the text names the flag.
    pub fn validate(&self) -> Result<(), BenchError> {
        self.options(&fresh_name("compare"), self.messages).validate()
    }

    /// The work of `messages` a client, by users of this prefix.
    pub fn options(&self, user_prefix: &str, messages: u64) -> PairedClientsOptions {
        PairedClientsOptions {
            clients: self.clients,
            load: Load::Closed,
            volume: Volume::MessagesPerClient(messages),
            fill_to: 0,
            warmup_ms: 0,
            connecting: self.clients,
            chunk: 32,
            in_flight: self.in_flight,
            read_limit: 50,
            size_bytes: self.size_bytes,
            late_ratio: 0.05,
            seed: 1,
            user_prefix: user_prefix.to_owned(),
            pauses: Vec::new(),
            nemesis: None,
            check: false,
            connect_timeout_ms: CONNECT_TIMEOUT_MS,
            waiting_max: 1_024,
            delivery_wait_ms: 10_000,
        }
    }
}

/// Starts a server, does the work, stops it. What goes wrong with the work is in the result; an error is a server that
/// does not start or cannot be reached. Dropping the future kills the server.
pub async fn measure(server: &ServerOptions, work: &Work) -> Result<Measured, BenchError> {
    let begun = Instant::now();
    let started_at = jiff::Timestamp::now().to_string();
    let times_begun = CpuTimes::now();
    let probe_before_us = probe_us().await?;
    let mut targets = Targets::start(&TargetOptions {
        program: Some(server.binary.clone()),
        environment: server.environment.clone(),
        nodes: 1,
        connect_timeout: Duration::from_millis(CONNECT_TIMEOUT_MS),
        ..TargetOptions::default()
    })
    .await?;
    let prefix = fresh_name("compare");
    let warm_up = work.options(&format!("{prefix}w"), work.messages.div_ceil(WARM_UP_SHARE));
    let talk = work.options(&prefix, work.messages);
    // Whoever does not want to wait any more drops all of this.
    let never = CancellationToken::new();
    let unrecorded = Arc::new(RunRecord::new(&LATENCIES));
    let warmed =
        Box::pin(drive(targets.addresses(), &warm_up, &unrecorded, None, &never, async {})).await?;

    let mut notes = Vec::new();
    let record = Arc::new(RunRecord::new(&LATENCIES));
    let before = targets.scrape(&mut notes).await;
    let (times_before, cpu_before) = (CpuTimes::now(), process_cpu());
    let driven =
        Box::pin(drive(targets.addresses(), &talk, &record, None, &never, async {})).await?;
    let (times_after, cpu_after) = (CpuTimes::now(), process_cpu());
    let after = targets.scrape(&mut notes).await;

    let counters = match (before, after) {
        (Some(before), Some(after)) => after.since(&before),
        _ => BTreeMap::new(),
    };
    let server_cpu_s = counters.get("chatctl_process_cpu_seconds_total").copied().unwrap_or(0.0);
    let ours = (cpu_after - cpu_before) + Duration::from_secs_f64(server_cpu_s);
    let shares = times_before.zip(times_after);
    let shares = shares.and_then(|(before, after)| after.shares_since(&before, ours));
    let (engine, durability) = targets.infos().first().map_or_else(
        || ("unknown".to_owned(), "unknown".to_owned()),
        |info| (info.engine.clone(), info.durability.clone()),
    );
    let figures = figures(&driven, &record, per_message(&counters, driven.tally.sent));
    let mut broken = [&warmed.tally, &driven.tally].into_iter().filter_map(shortfall).next();
    if broken.is_some() {
        notes.extend(targets.log_tail());
    }
    if let Some(wrong) = targets.stop().await {
        broken.get_or_insert(wrong);
    }
    let probe_after_us = probe_us().await?;
    // Of the whole run: the work alone may be shorter than a tick.
    let whole = times_begun.zip(CpuTimes::now());
    let whole = whole.and_then(|(begun, ended)| ended.shares_since(&begun, Duration::ZERO));
    let failure = broken.map(|broken| [vec![broken], notes].concat().join("; "));
    Ok(Measured {
        started_at,
        took_s: begun.elapsed().as_secs_f64(),
        engine,
        durability,
        figures,
        conditions: Conditions {
            steal: whole.map(|(steal, _, _)| steal),
            iowait: whole.map(|(_, iowait, _)| iowait),
            others: shares.map(|(_, _, others)| others),
            probe_before_us,
            probe_after_us,
        },
        violations: violations(&warmed.tally, &driven.tally),
        failure,
    })
}

fn figures(
    driven: &Driven,
    record: &RunRecord,
    per_message: BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    let totals: BTreeMap<_, _> = record.totals().into_iter().collect();
    let stats = |name: &str| totals.get(name).map(LatencyStats::of).unwrap_or_default();
    let (write, delivery) = (stats("write"), stats("delivery"));
    let talking_s = driven.measured.duration.as_secs_f64();
    let rate = (talking_s > 0.0).then(|| driven.tally.sent as f64 / talking_s);
    let measured = Metric::ALL.into_iter().filter_map(|metric| {
        let value = match metric {
            Metric::ServerCpu => per_message.get("cpu_us_per_message").copied(),
            Metric::WriteP50 => write.p50_us,
            Metric::WriteP99 => write.p99_us,
            Metric::DeliveryP50 => delivery.p50_us,
            Metric::DeliveryP99 => delivery.p99_us,
            Metric::Rate => rate,
        };
        Some((metric.name().to_owned(), value?))
    });
    let counters = COUNTERS.into_iter().filter_map(|name| per_message.get_key_value(name));
    measured.chain(counters.map(|(name, value)| (name.clone(), *value))).collect()
}

/// Figures that depend on the code and hardly on the machine.
pub const COUNTERS: [&str; 2] = ["encodes_per_message", "syncs_per_message"];

/// Why not all was done.
fn shortfall(tally: &Tally) -> Option<String> {
    if tally.is_complete() {
        return None;
    }
    let counts = [
        ("broken pairs", tally.broken_pairs),
        ("messages given up", tally.given_up),
        ("reads failed", tally.reads_failed),
    ];
    let counts = counts.into_iter().filter(|&(_, count)| count > 0);
    let mut why: Vec<String> = counts.map(|(what, count)| format!("{count} {what}")).collect();
    why.extend(tally.broken.first().cloned());
    if why.is_empty() {
        why.push("nothing was sent".to_owned());
    }
    Some(why.join(", "))
}

fn violations(one: &Tally, other: &Tally) -> BTreeMap<String, u64> {
    let mut sum = one.correctness;
    sum.add(&other.correctness);
    let broken = sum.violations().into_iter().filter(|&(_, count)| count > 0);
    broken.map(|(name, count)| (name.to_owned(), count)).collect()
}
