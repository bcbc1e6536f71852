//! Reading: partitions assigned at positions that are known, so that nothing told afterwards is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message as _, Offset};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, interval, sleep};

use super::ends::{Ends, list};
use super::interest::Interest;
use super::topic::judge_topic;
use super::watch::Watch;
use super::{KafkaSettings, client};
use crate::distribution::wire::{Heard, Note, decode};
use crate::distribution::{Concerned, HintSink};
use crate::kafka_link::{self, Brokers};
use crate::model::NodeId;

/// How long a start waits for the brokers.
const START_TIME: Duration = Duration::from_secs(10);
/// A topic that was made a moment ago is not known to every broker yet.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// How often it is looked whether a part is read for nothing.
const IDLE_LOOK: Duration = Duration::from_secs(5);
/// After an error of the reader.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// Between two tries to find a position.
const ASK_PAUSE: Duration = Duration::from_millis(200);
/// To find out why a start fails.
const WHY_TIME: Duration = Duration::from_secs(2);

/// Reads the topic.
pub struct Reader {
    consumer: Arc<StreamConsumer<Watch>>,
    ends: Ends,
    brokers: Brokers,
    topic: String,
    partitions: u32,
    node: NodeId,
    /// `None`: all of them.
    interest: Option<Arc<Interest>>,
    sink: Arc<dyn HintSink>,
    /// Hints of other nodes, whether somebody here waits for them or not.
    hints_read: metrics::Counter,
    /// What is assigned to the consumer.
    assigned: Mutex<BTreeSet<u32>>,
}

impl Reader {
    /// Hands what other nodes than `node` publish to `sink`, once it is started.
    pub fn new(
        settings: &KafkaSettings,
        interest: Option<Arc<Interest>>,
        sink: Arc<dyn HintSink>,
    ) -> KafkaResult<Self> {
        let KafkaSettings { brokers, topic, partitions, node, .. } = settings.clone();
        let mut config = client::config(&brokers);
        config
            // No group is joined, but without a name nothing can be assigned.
            .set("group.id", "chatctl-hints")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A position that is no more is ours to find anew.
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "500")
            .set("fetch.queue.backoff.ms", "1")
            .set("fetch.error.backoff.ms", "50")
            .set("queued.max.messages.kbytes", "16384");
        let watch = Watch::new(topic.clone(), partitions, Arc::clone(&sink));
        let consumer = Arc::new(config.create_with_context(watch)?);
        let ends = Ends::new(Arc::clone(&consumer), topic.clone());
        let assigned = Mutex::default();
        let hints_read = metrics::counter!("chatctl_kafka_hints_read_total");
        Ok(Self {
            consumer,
            ends,
            brokers,
            topic,
            partitions,
            node,
            interest,
            sink,
            hints_read,
            assigned,
        })
    }

    /// Takes up its partitions at their ends. The brokers may be starting, too. An error says what and what to do.
    pub async fn start(&self) -> Result<(), String> {
        let begun = Instant::now();
        let deadline = begun + START_TIME;
        loop {
            match self.assign_ends().await {
                Ok(()) => return Ok(()),
                Err(StartFailure::Wrong(reason)) if begun.elapsed() > SETTLED_AFTER => {
                    return Err(reason);
                }
                Err(StartFailure::Wrong(_)) => sleep(ASK_PAUSE).await,
                Err(StartFailure::Away(reason)) if Instant::now() > deadline => {
                    return self.start_with_some(reason).await;
                }
                Err(StartFailure::Away(_)) => sleep(ASK_PAUSE).await,
            }
        }
    }

    /// Brokers that are away for longer must not keep a node away, too: what it does not hear it reads.
    async fn start_with_some(&self, reason: String) -> Result<(), String> {
        let missing = self.missing(&self.wanted()).len();
        if self.assigned().is_empty() {
            let brokers = self.brokers.clone();
            let asked = spawn_blocking(move || kafka_link::metadata(&brokers, WHY_TIME)).await;
            return Err(asked.ok().and_then(Result::err).unwrap_or(reason));
        }
        tracing::warn!(
            missing,
            reason,
            "kafka: some partitions cannot be read yet; the conversations in them are read from the engine until they can"
        );
        Ok(())
    }

    async fn assign_ends(&self) -> Result<(), StartFailure> {
        let away = |error: KafkaError| StartFailure::Away(error.to_string());
        self.judge_topic().await?;
        let wanted = self.wanted();
        self.consumer.context().reads(wanted.clone());
        // Nothing is open yet that could have missed anything.
        self.take_up(&wanted, &BTreeSet::new(), drop).await.map_err(away)
    }

    /// The parts to be read now.
    fn wanted(&self) -> BTreeSet<u32> {
        match &self.interest {
            Some(interest) => interest.wanted(std::time::Instant::now()),
            None => (0..self.partitions).collect(),
        }
    }

    /// Reads these parts and no others: goes on with those that are read, but for `anew`, and takes up the others at their ends, telling
    /// `taken_up` of them. An error: not all could be; those that were are read.
    async fn take_up(
        &self,
        wanted: &BTreeSet<u32>,
        anew: &BTreeSet<u32>,
        taken_up: impl Fn(BTreeSet<u32>),
    ) -> KafkaResult<()> {
        let assigned = self.assigned().clone();
        self.leave(&assigned.difference(wanted).copied().collect())?;
        let is_new = |part: &&u32| !assigned.contains(*part) || anew.contains(*part);
        let new: BTreeSet<u32> = wanted.iter().filter(is_new).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let found = |ends: &BTreeMap<_, _>| {
            self.read_from(ends)?;
            taken_up(ends.keys().copied().collect());
            Ok(())
        };
        self.ends.find(&new, found).await
    }

    /// Takes up these parts at these positions.
    fn read_from(&self, ends: &BTreeMap<u32, i64>) -> KafkaResult<()> {
        let parts: BTreeSet<u32> = ends.keys().copied().collect();
        self.leave(&parts)?;
        let ends = ends.iter().map(|(&part, &end)| (part, Offset::Offset(end)));
        self.consumer.incremental_assign(&list(&self.topic, ends)?)?;
        self.assigned().extend(&parts);
        let lost = self.consumer.context().taken_up(&parts);
        if lost > 0 {
            tracing::warn!(
                lost,
                "kafka: positions were lost, by a new topic, a new leader or too long a silence; reading goes on at the end"
            );
            metrics::counter!("chatctl_kafka_positions_lost_total").increment(lost as u64);
        }
        Ok(())
    }

    /// Reads these no more.
    fn leave(&self, parts: &BTreeSet<u32>) -> KafkaResult<()> {
        let over: Vec<u32> = self.assigned().intersection(parts).copied().collect();
        if !over.is_empty() {
            let list = list(&self.topic, over.iter().map(|&part| (part, Offset::Invalid)))?;
            self.consumer.incremental_unassign(&list)?;
            self.assigned().retain(|part| !parts.contains(part));
        }
        Ok(())
    }

    fn assigned(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        // No code under this lock can panic half-way through a change.
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topic must be there, with as many partitions as every node thinks.
    async fn judge_topic(&self) -> Result<(), StartFailure> {
        let metadata = self.ends.metadata().await;
        let metadata = metadata.map_err(|error| StartFailure::Away(error.to_string()))?;
        judge_topic(&metadata, &self.topic, self.partitions).map_err(StartFailure::Wrong)
    }

    /// Reads for ever.
    pub async fn run(&self) {
        // Side by side: while a position is looked for, which may take seconds, everything else is read.
        tokio::join!(self.listen(), self.keep_positions());
    }

    async fn listen(&self) {
        loop {
            match self.consumer.recv().await {
                Ok(message) => self.take(message.payload().unwrap_or_default()),
                Err(error) => {
                    kafka_link::complain(&error, "reading");
                    // It heals by itself, or is seen by the watch; errors may come as fast as they are asked for.
                    sleep(ERROR_PAUSE).await;
                }
            }
            // What waits is received without waiting: others must have their turn.
            tokio::task::consume_budget().await;
        }
    }

    /// Takes up other partitions when other conversations are open, and anew what the library has given up.
    async fn keep_positions(&self) {
        let watch = self.consumer.context();
        let mut look = interval(IDLE_LOOK);
        loop {
            if self.missing(&self.wanted()).is_empty() {
                tokio::select! {
                    () = watch.has_stopped() => {}
                    () = self.interest_moves(&mut look) => {}
                }
            } else {
                sleep(ASK_PAUSE).await;
            }
            let (wanted, stopped) = (self.wanted(), watch.stopped());
            // From here on those that cannot be read are told as gaps.
            watch.reads(wanted.clone());
            // They were not read until now.
            let compare = |parts| watch.gap(parts);
            if let Err(error) = self.take_up(&wanted, &stopped, compare).await {
                tracing::debug!(%error, "kafka: no position can be found");
                // Whoever waits for them reads the engine.
                watch.gap(self.missing(&wanted));
            }
        }
    }

    /// What is not assigned of what is wanted.
    fn missing(&self, wanted: &BTreeSet<u32>) -> BTreeSet<u32> {
        wanted.difference(&self.assigned()).copied().collect()
    }

    /// Waits until other parts may be wanted.
    async fn interest_moves(&self, look: &mut Interval) {
        match &self.interest {
            // What is idle for long is noticed by looking.
            Some(interest) => tokio::select! {
                () = interest.changed() => {}
                _ = look.tick() => {}
            },
            None => std::future::pending().await,
        }
    }

    fn take(&self, bytes: &[u8]) {
        match decode(&self.node, bytes) {
            Heard::Own => {}
            Heard::Note(note) => match *note {
                Note::Hint(hint) => {
                    self.hints_read.increment(1);
                    self.sink.deliver(hint);
                }
                Note::Gap => self.sink.gap(Concerned::All),
            },
            // Of a node of another version: what it says is stored, so the engine has it.
            Heard::Unreadable => {
                metrics::counter!("chatctl_hints_unreadable_total").increment(1);
                self.sink.gap(Concerned::All);
            }
        }
    }
}

enum StartFailure {
    /// It may come by itself.
    Away(String),
    /// Somebody has to do something.
    Wrong(String),
}
