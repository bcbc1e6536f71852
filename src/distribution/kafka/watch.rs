//! Which partitions cannot be heard now, by what the library tells of itself twice a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::statistics::{Broker, Partition, Statistics};
use tokio::sync::Notify;

use super::client::Requests;
use crate::distribution::{Concerned, HintSink, Parts};
use crate::kafka_link;

/// A broker answers a fetch that finds nothing after half a second; one that is silent for longer than this is away.
const SILENCE_MAX: Duration = Duration::from_millis(1_800);

/// A node whose hint was under way when its broker went away may bring it this much later, to a partition that others hear again.
const LATE_HINTS: Duration = Duration::from_secs(4);

/// The first fetch of a partition is not there at once.
const BEGINNING: Duration = Duration::from_millis(1_500);

/// A position is found in less, where nothing is away.
const FINDING: Duration = Duration::from_millis(500);

/// Looks at the state of the reader, and tells of gaps.
pub struct Watch {
    topic: String,
    partitions: u32,
    sink: Arc<dyn HintSink>,
    state: Mutex<State>,
    requests: Requests,
    /// Told when something is read no more and does not come back by itself.
    stopped: Notify,
}

#[derive(Default)]
struct State {
    /// Partitions that are to be read.
    read: BTreeMap<u32, Reading>,
    /// Those of them that could not be heard lately, and when that was seen last.
    unheard: BTreeMap<u32, Instant>,
    /// Those that the library has given up: their position is no more, or they were away and are perhaps others now.
    stopped: BTreeSet<u32>,
    /// The count of partitions that was complained about.
    strange_count: Option<usize>,
}

/// Since when a partition is …
#[derive(Clone, Copy)]
enum Reading {
    /// … to be read, but its position is not known.
    Wanted(Instant),
    /// … read.
    TakenUp(Instant),
}

impl Reading {
    fn is_new(self, now: Instant) -> bool {
        let (since, grace) = match self {
            Self::Wanted(since) => (since, FINDING),
            Self::TakenUp(since) => (since, BEGINNING),
        };
        now.saturating_duration_since(since) < grace
    }
}

impl Watch {
    /// Tells `sink` of gaps in the `partitions` of `topic`.
    pub fn new(topic: String, partitions: u32, sink: Arc<dyn HintSink>) -> Self {
        let (state, requests, stopped) = (Mutex::default(), Requests::default(), Notify::new());
        Self { topic, partitions, sink, state, requests, stopped }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // No code under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are to be read from now on, and no others.
    pub fn reads(&self, parts: BTreeSet<u32>) {
        let mut state = self.state();
        state.unheard.retain(|part, _| parts.contains(part));
        state.stopped.retain(|part| parts.contains(part));
        state.read.retain(|part, _| parts.contains(part));
        for part in parts {
            state.read.entry(part).or_insert_with(|| Reading::Wanted(Instant::now()));
        }
    }

    /// Waits until something is to be taken up anew.
    pub async fn has_stopped(&self) {
        self.stopped.notified().await;
    }

    /// What is to be taken up anew.
    pub fn stopped(&self) -> BTreeSet<u32> {
        self.state().stopped.clone()
    }

    /// These are read now. Answers how many of them were before.
    pub fn taken_up(&self, parts: &BTreeSet<u32>) -> usize {
        let mut state = self.state();
        let lost = state.stopped.intersection(parts).count();
        state.stopped.retain(|part| !parts.contains(part));
        for part in parts {
            state.read.insert(*part, Reading::TakenUp(Instant::now()));
        }
        lost
    }

    /// Hints of these may have been missed.
    pub fn gap(&self, parts: BTreeSet<u32>) {
        if !parts.is_empty() {
            let parts = Parts::new(self.partitions, parts);
            self.sink.gap(Concerned::Parts(Arc::new(parts)));
        }
    }

    fn look(&self, statistics: &Statistics) {
        let known = statistics.topics.get(&self.topic).map(|topic| &topic.partitions);
        let mut state = self.state();
        let count = known.map_or(0, |known| known.keys().filter(|&&number| number >= 0).count());
        if count != 0 && count != self.partitions as usize && state.strange_count != Some(count) {
            state.strange_count = Some(count);
            metrics::counter!("chatctl_kafka_partitions_changed_total").increment(1);
            tracing::warn!(
                topic = self.topic,
                found = count,
                used = self.partitions,
                "kafka: the topic has another count of partitions than CHATCTL_KAFKA_PARTITIONS; those beyond are not used, hints of missing ones are replaced by reading"
            );
        }
        let of = |part: u32| known.and_then(|known| known.get(&i32::try_from(part).ok()?));
        let is_heard = |part: u32| of(part).is_some_and(|partition| is_read(partition, statistics));
        let now = Instant::now();
        let is_heard = |part: u32, reading: Reading| {
            reading.is_new(now) || matches!(reading, Reading::TakenUp(_)) && is_heard(part)
        };
        let unheard: BTreeSet<u32> = state
            .read
            .iter()
            .filter(|(part, reading)| !is_heard(**part, **reading))
            .map(|(part, _)| *part)
            .collect();
        let was_quiet = state.unheard.is_empty();
        let is_stopped = |part: &&u32| {
            of(**part).is_some_and(|partition| partition.unknown || partition.fetch_state == "none")
        };
        let was_read = |part: &&u32| matches!(state.read.get(part), Some(Reading::TakenUp(_)));
        let stopped: Vec<u32> =
            unheard.iter().filter(was_read).filter(is_stopped).copied().collect();
        state.stopped.extend(stopped);
        if !state.stopped.is_empty() {
            self.stopped.notify_one();
        }
        state.unheard.extend(unheard.iter().map(|&part| (part, now)));
        state.unheard.retain(|_, seen| now.saturating_duration_since(*seen) < LATE_HINTS);
        if was_quiet != state.unheard.is_empty() {
            if was_quiet {
                let count = unheard.len();
                tracing::warn!(
                    count,
                    "kafka: partitions cannot be heard; what they would tell is read from the engine"
                );
            } else {
                tracing::info!("kafka: all partitions are heard again");
            }
        }
        metrics::gauge!("chatctl_kafka_partitions_unheard").set(unheard.len() as f64);
        self.requests.count(statistics, "reader");
        // Those that are heard again, too: what is told of them may still be under way.
        let concerned = state.unheard.keys().copied().collect();
        drop(state);
        self.gap(concerned);
    }
}

fn is_read(partition: &Partition, statistics: &Statistics) -> bool {
    // Of a partition that is gone the last leader is still told, but no broker is in charge.
    let is_in_charge = |broker: &&Broker| broker.nodeid == partition.broker;
    let broker = statistics.brokers.values().find(is_in_charge).filter(|_| partition.broker >= 0);
    partition.fetch_state == "active" && !partition.unknown && broker.is_some_and(is_there)
}

fn is_there(broker: &Broker) -> bool {
    // Negative: nothing was received yet.
    let silence = Duration::from_micros(u64::try_from(broker.rxidle).unwrap_or(0));
    broker.state == "UP" && silence < SILENCE_MAX
}

impl ClientContext for Watch {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka_link::log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        kafka_link::complain(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.look(&statistics);
    }
}

impl ConsumerContext for Watch {}
