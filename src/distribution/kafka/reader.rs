//! Reading: partitions assigned at positions that are known, so that nothing told afterwards is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, interval, sleep};

use super::interest::Interest;
use super::watch::Watch;
use super::{KafkaSettings, client};
use crate::distribution::wire::{Heard, Note, decode};
use crate::distribution::{Concerned, HintSink};
use crate::model::NodeId;

/// How long a start waits for the brokers.
const START_TIME: Duration = Duration::from_secs(10);
/// How long one question to the brokers may take.
const ASK_TIME: Duration = Duration::from_secs(2);
/// How often it is looked whether a part is read for nothing.
const IDLE_LOOK: Duration = Duration::from_secs(5);
/// After an error of the reader.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// Between two tries to find a position.
const ASK_PAUSE: Duration = Duration::from_millis(200);

/// Reads the topic.
pub struct Reader {
    consumer: Arc<StreamConsumer<Watch>>,
    topic: String,
    partitions: u32,
    node: NodeId,
    /// `None`: all of them.
    interest: Option<Arc<Interest>>,
    sink: Arc<dyn HintSink>,
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
        let assigned = Mutex::default();
        Ok(Self { consumer, topic, partitions, node, interest, sink, assigned })
    }

    /// Takes up its partitions at their ends. The brokers may be starting, too. An error says what and what to do.
    pub async fn start(&self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIME;
        loop {
            match self.assign_ends().await {
                Ok(()) => return Ok(()),
                Err(StartFailure::Wrong(reason)) => return Err(reason),
                Err(StartFailure::Away(reason)) if Instant::now() > deadline => return Err(reason),
                Err(StartFailure::Away(_)) => sleep(ASK_PAUSE).await,
            }
        }
    }

    async fn assign_ends(&self) -> Result<(), StartFailure> {
        let away = |error: KafkaError| StartFailure::Away(error.to_string());
        self.judge_topic().await?;
        let wanted = self.wanted();
        self.consumer.context().reads(wanted.clone());
        self.take_up(&wanted, &BTreeSet::new()).await.map(drop).map_err(away)
    }

    /// The parts to be read now.
    fn wanted(&self) -> BTreeSet<u32> {
        match &self.interest {
            Some(interest) => interest.wanted(std::time::Instant::now()),
            None => (0..self.partitions).collect(),
        }
    }

    /// Reads these parts and no others: goes on with those that are read, but for `anew`, and takes up the others at their ends. Answers
    /// which those are.
    async fn take_up(
        &self,
        wanted: &BTreeSet<u32>,
        anew: &BTreeSet<u32>,
    ) -> KafkaResult<BTreeSet<u32>> {
        let assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_new = |part: &&u32| !assigned.contains(*part) || anew.contains(*part);
        let new: BTreeSet<u32> = wanted.iter().filter(is_new).copied().collect();
        let mut ends = BTreeMap::new();
        if !new.is_empty() {
            ends = self.ends(&new).await?;
        }
        let is_over = |part: &&u32| !wanted.contains(*part) || new.contains(*part);
        let over: BTreeSet<u32> = assigned.iter().filter(is_over).copied().collect();
        let mut assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        if !over.is_empty() {
            let list = self.list(over.iter().map(|&part| (part, Offset::Invalid)))?;
            self.consumer.incremental_unassign(&list)?;
            assigned.retain(|part| !over.contains(part));
        }
        if !ends.is_empty() {
            let ends = ends.iter().map(|(&part, &end)| (part, Offset::Offset(end)));
            self.consumer.incremental_assign(&self.list(ends)?)?;
            assigned.extend(&new);
        }
        self.consumer.context().taken_up(&new);
        Ok(new)
    }

    /// The topic must be there, with as many partitions as every node thinks.
    async fn judge_topic(&self) -> Result<(), StartFailure> {
        let consumer = Arc::clone(&self.consumer);
        // For all topics: asking for one by name might create it.
        let metadata = blocking(move || consumer.fetch_metadata(None, ASK_TIME)).await;
        let metadata = metadata.map_err(|error| StartFailure::Away(error.to_string()))?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let (topic, partitions) = (&self.topic, self.partitions as usize);
        match found.map(|topic| topic.partitions().len()) {
            None => Err(StartFailure::Wrong(format!(
                "there is no topic {topic}: create it with 'chatctl init-env --services kafka', or set CHATCTL_KAFKA_TOPIC"
            ))),
            Some(count) if count != partitions => Err(StartFailure::Wrong(format!(
                "topic {topic} has {count} partitions and CHATCTL_KAFKA_PARTITIONS is {partitions}: set the variable to {count} on every node, or name another topic"
            ))),
            Some(_) => Ok(()),
        }
    }

    /// Where these partitions end now; an error unless all are known.
    async fn ends(&self, parts: &BTreeSet<u32>) -> KafkaResult<BTreeMap<u32, i64>> {
        let consumer = Arc::clone(&self.consumer);
        let wanted = self.list(parts.iter().map(|&part| (part, Offset::End)))?;
        let found = blocking(move || consumer.offsets_for_times(wanted, ASK_TIME)).await?;
        let mut ends = BTreeMap::new();
        for element in found.elements() {
            element.error()?;
            if let (Ok(part), Offset::Offset(end)) =
                (u32::try_from(element.partition()), element.offset())
            {
                ends.insert(part, end);
            }
        }
        let is_whole = ends.len() == parts.len();
        is_whole.then_some(ends).ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset))
    }

    fn list(
        &self,
        positions: impl Iterator<Item = (u32, Offset)>,
    ) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (part, offset) in positions {
            let number = i32::try_from(part).unwrap_or(i32::MAX);
            list.add_partition_offset(&self.topic, number, offset)?;
        }
        Ok(list)
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
                    tracing::debug!(%error, "kafka: reading");
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
            tokio::select! {
                () = watch.has_stopped() => {}
                () = self.interest_moves(&mut look) => {}
            }
            let (wanted, stopped) = (self.wanted(), watch.stopped());
            // From here on those that cannot be read are told as gaps.
            watch.reads(wanted.clone());
            match self.take_up(&wanted, &stopped).await {
                // Once their positions are known, one look at what was stored before.
                Ok(new) => {
                    let lost = new.intersection(&stopped).count();
                    if lost > 0 {
                        tracing::warn!(
                            lost,
                            "kafka: positions were lost, by a new topic, a new leader or too long a silence; reading goes on at the end"
                        );
                        metrics::counter!("chatctl_kafka_positions_lost_total")
                            .increment(lost as u64);
                    }
                    watch.gap(new);
                }
                Err(error) => {
                    tracing::debug!(%error, "kafka: no position can be found");
                    // Whoever waits for them reads the engine.
                    watch.gap(self.missing(&wanted));
                    sleep(ASK_PAUSE).await;
                    if let Some(interest) = &self.interest {
                        interest.wake();
                    }
                }
            }
        }
    }

    /// What is not assigned of what is wanted.
    fn missing(&self, wanted: &BTreeSet<u32>) -> BTreeSet<u32> {
        let assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.difference(&assigned).copied().collect()
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
                Note::Hint(hint) => self.sink.deliver(hint),
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

/// The library's questions block.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> KafkaResult<T> + Send + 'static,
) -> KafkaResult<T> {
    spawn_blocking(ask).await.unwrap_or(Err(KafkaError::Canceled))
}
