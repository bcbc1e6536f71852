//! Publishing: the library's bounded queue, and one task that tells later what could not be told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::client::{self, Requests};
use super::mentions::Mentions;
use super::{COMMON_PART, KafkaSettings, Reading};
use crate::distribution::backlog::{Backlog, Told};
use crate::distribution::parts::part_of;
use crate::distribution::wire::{Note, encode};
use crate::distribution::{Hint, MessageHint, Stage};
use crate::kafka_link;
use crate::model::{ConvId, NodeId};

/// Heads that are told at a time.
const BATCH_HEADS_MAX: usize = 256;
/// Heads that may be under way: those of partitions that are away must not keep others back.
const RETOLD_MAX: usize = 2_048;
/// How often it is looked whether something is to be told again.
const BACKLOG_BEAT: Duration = Duration::from_millis(100);

/// The way to the brokers.
pub struct Publisher {
    node: NodeId,
    topic: String,
    partitions: u32,
    config: ClientConfig,
    shared: Arc<Shared>,
    /// Where not everybody reads everything.
    mentions: Option<Mentions>,
    /// Made anew when the library has given one up.
    producer: RwLock<ThreadedProducer<Context>>,
}

#[derive(Default)]
struct Shared {
    backlog: Backlog,
    /// Notes out of the backlog that are under way.
    retold: AtomicUsize,
    /// The producer takes nothing any more.
    is_broken: AtomicBool,
    /// The last hint was not brought, and why was said.
    was_complained: AtomicBool,
}

/// What a record told, for the case that it does not arrive.
struct Record {
    tells: Tells,
    is_retold: bool,
    /// When its message was durable; 0: it is none.
    stored_us: u64,
}

enum Tells {
    Head(Told),
    Gap,
    /// Best effort.
    Nothing,
}

impl Tells {
    fn of(hint: &Hint) -> Self {
        match (hint, Told::of(hint)) {
            (_, Some(told)) => Self::Head(told),
            (Hint::Doubt, None) => Self::Gap,
            (_, None) => Self::Nothing,
        }
    }
}

struct Context {
    shared: Arc<Shared>,
    requests: Requests,
}

impl Context {
    fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), requests: Requests::default() }
    }
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka_link::log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        kafka_link::complain(&error, reason);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.shared.is_broken.store(true, Ordering::Relaxed);
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.requests.count(&statistics, "publisher");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Record>;

    fn delivery(&self, result: &DeliveryResult<'_>, record: Box<Record>) {
        if record.is_retold {
            self.shared.retold.fetch_sub(1, Ordering::Relaxed);
        }
        if result.is_ok() {
            self.shared.was_complained.store(false, Ordering::Relaxed);
            Stage::Told.record_since(record.stored_us);
        }
        if let Err((error, _)) = result {
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                self.shared.is_broken.store(true, Ordering::Relaxed);
            }
            // Once, not for each.
            if !self.shared.was_complained.swap(true, Ordering::Relaxed) {
                kafka_link::complain(error, "writing");
            }
            // Perhaps told, perhaps not: telling it again does no harm.
            self.shared.lose(record.tells);
        }
    }
}

impl Shared {
    fn lose(&self, tells: Tells) {
        metrics::counter!("chatctl_hints_dropped_total").increment(1);
        match tells {
            Tells::Head(told) => self.backlog.keep(told),
            Tells::Gap => self.backlog.put_back(vec![Note::Gap]),
            Tells::Nothing => {}
        }
    }
}

impl Publisher {
    /// One that connects by itself.
    pub fn new(settings: &KafkaSettings) -> KafkaResult<Self> {
        let KafkaSettings { brokers, topic, partitions, reading, node } = settings.clone();
        let mut config = client::config(&brokers);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("retry.backoff.ms", "50")
            .set("request.timeout.ms", "2000")
            // Longer than a partition takes to get another leader: giving up a hint makes an idempotent producer settle what
            // is under way to all brokers first, and all partitions wait for that.
            .set("message.timeout.ms", "10000")
            // Beyond these, hints are dropped.
            .set("queue.buffering.max.messages", "32768")
            .set("queue.buffering.max.kbytes", "32768");
        let shared = Arc::<Shared>::default();
        let producer = RwLock::new(config.create_with_context(Context::new(&shared))?);
        let mentions = (reading == Reading::Open).then(Mentions::default);
        Ok(Self { node, topic, partitions, config, shared, mentions, producer })
    }

    /// Queues a hint, or keeps in mind what it told. Does not wait.
    pub fn publish(&self, hint: Hint) {
        let tells = Tells::of(&hint);
        let conv = conv_of(&hint);
        if let (Some(mentions), Hint::Message(message)) = (&self.mentions, &hint) {
            self.mention(mentions, message);
        }
        let stored_us = hint.stored_us();
        self.send(&Note::Hint(hint), conv, Record { tells, is_retold: false, stored_us });
    }

    /// Tells everybody that there is news, and whose the conversation became.
    fn mention(&self, mentions: &Mentions, hint: &MessageHint) {
        let MessageHint { conv, place, epoch, message, became, .. } = hint;
        let (conv, head) = (*conv, message.seq);
        for user in became {
            let (place, user) = (Arc::clone(place), user.clone());
            self.tell_all(Hint::Became { conv, place, user, head });
        }
        let head = Hint::Head { conv, place: Arc::clone(place), epoch: epoch.clone(), head };
        if let Some(head) = mentions.now_or_later(conv, head, Instant::now()) {
            self.tell_all(head);
        }
    }

    fn tell_all(&self, hint: Hint) {
        let record = Record { tells: Tells::Nothing, is_retold: false, stored_us: 0 };
        self.send_to(COMMON_PART, &Note::Hint(hint), None, record);
    }

    fn send(&self, note: &Note, conv: Option<ConvId>, record: Record) {
        let part = conv.map_or(COMMON_PART, |conv| part_of(conv, self.partitions));
        self.send_to(part, note, conv, record);
    }

    fn send_to(&self, part: u32, note: &Note, conv: Option<ConvId>, record: Record) {
        if record.is_retold {
            self.shared.retold.fetch_add(1, Ordering::Relaxed);
        }
        let Some(bytes) = encode(&self.node, note) else { return self.give_up(record) };
        let key = conv.as_ref().map_or(&[][..], |conv| conv.as_bytes());
        let sent = BaseRecord::with_opaque_to(&self.topic, Box::new(record))
            .partition(i32::try_from(part).unwrap_or_default())
            .key(key)
            .payload(&bytes);
        let producer = self.producer.read().unwrap_or_else(PoisonError::into_inner);
        if let Err((_, unsent)) = producer.send(sent) {
            self.give_up(*unsent.delivery_opaque);
        }
    }

    fn give_up(&self, record: Record) {
        if record.is_retold {
            self.shared.retold.fetch_sub(1, Ordering::Relaxed);
        }
        self.shared.lose(record.tells);
    }

    /// Tells again what was not told, and replaces a producer that has given up; until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(BACKLOG_BEAT)).await.is_some() {
            if self.shared.is_broken.swap(false, Ordering::Relaxed) {
                self.replace().await;
            }
            // While the brokers are away, what is told again comes back.
            if self.shared.retold.load(Ordering::Relaxed) < RETOLD_MAX {
                self.retell();
            }
            if let Some(mentions) = &self.mentions {
                let due = mentions.due(Instant::now());
                due.into_iter().for_each(|hint| self.tell_all(hint));
            }
        }
    }

    /// Answers how much it was.
    fn retell(&self) -> usize {
        let notes = self.shared.backlog.take(BATCH_HEADS_MAX);
        let count = notes.len();
        for note in notes {
            match &note {
                Note::Hint(hint) => {
                    let record = Record { tells: Tells::of(hint), is_retold: true, stored_us: 0 };
                    self.send(&note, conv_of(hint), record);
                }
                Note::Gap => {
                    // Nodes need not read every part.
                    for part in 0..self.partitions {
                        let record = Record { tells: Tells::Gap, is_retold: true, stored_us: 0 };
                        self.send_to(part, &note, None, record);
                    }
                }
            }
        }
        count
    }

    async fn replace(&self) {
        tracing::warn!("kafka: the producer gave up and is made anew");
        metrics::counter!("chatctl_kafka_producers_replaced_total").increment(1);
        match self.config.create_with_context(Context::new(&self.shared)) {
            Ok(producer) => {
                let old = std::mem::replace(
                    &mut *self.producer.write().unwrap_or_else(PoisonError::into_inner),
                    producer,
                );
                // It waits for its thread, and gives up what it has: that becomes the backlog.
                let _ = tokio::task::spawn_blocking(move || drop(old)).await;
            }
            Err(error) => {
                tracing::warn!(%error, "kafka: a producer cannot be made");
                self.shared.is_broken.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Waits until all is told, what had to wait too, no longer than `limit`. Blocks.
    pub fn finish(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Locked for this statement only: telling again locks it too, and a replacement may wait in between.
            let flushed = self.producer.read().unwrap_or_else(PoisonError::into_inner).flush(left);
            if let Err(error) = flushed {
                tracing::debug!(%error, "kafka: not everything was told at the end");
                return;
            }
            if self.retell() == 0 {
                return;
            }
        }
    }
}

/// The conversation whose readers a hint is for; `None`: it is for everybody.
fn conv_of(hint: &Hint) -> Option<ConvId> {
    match hint {
        Hint::Message(hint) => Some(hint.conv),
        Hint::Head { conv, .. } | Hint::Acked { conv, .. } => Some(*conv),
        // Who leaves a group is told wherever they are.
        Hint::Regrouped { .. }
        | Hint::Became { .. }
        | Hint::Presence { .. }
        | Hint::Revoked(_)
        | Hint::Doubt => None,
    }
}
