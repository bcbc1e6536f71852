//! Where partitions end now, asked of their leaders: one that is away does not keep the others back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::{JoinSet, spawn_blocking};

use super::watch::Watch;

/// How long one question to the brokers may take.
const ASK_TIME: Duration = Duration::from_secs(2);

/// Asks for the partitions of one topic.
#[derive(Clone)]
pub struct Ends {
    consumer: Arc<StreamConsumer<Watch>>,
    topic: String,
}

impl Ends {
    /// Asks by the connections of `consumer`.
    pub fn new(consumer: Arc<StreamConsumer<Watch>>, topic: String) -> Self {
        Self { consumer, topic }
    }

    /// Calls `found` with ends as they become known: once where all leaders answer, otherwise for each leader that does. An error says
    /// why some are not known.
    pub async fn find(
        &self,
        parts: &BTreeSet<u32>,
        mut found: impl FnMut(&BTreeMap<u32, i64>) -> KafkaResult<()>,
    ) -> KafkaResult<()> {
        // The library answers a question as a whole or not at all; nearly always it does.
        let mut missed = match self.ask(parts.clone()).await {
            Ok(ends) => return found(&ends),
            Err(error) => error,
        };
        let mut asked = JoinSet::new();
        for group in self.by_leader(parts).await? {
            let ends = self.clone();
            asked.spawn(async move { ends.ask(group).await });
        }
        let mut known = 0;
        while let Some(answer) = asked.join_next().await {
            match answer.unwrap_or(Err(KafkaError::Canceled)) {
                Ok(ends) => {
                    found(&ends)?;
                    known += ends.len();
                }
                Err(error) => missed = error,
            }
        }
        if known == parts.len() { Ok(()) } else { Err(missed) }
    }

    /// What the brokers know of their topics, and who leads what.
    pub async fn metadata(&self) -> KafkaResult<Metadata> {
        let consumer = Arc::clone(&self.consumer);
        // Of all topics: asking for one by name might create it.
        blocking(move || consumer.fetch_metadata(None, ASK_TIME)).await
    }

    /// Those of `parts` that have a leader, one set for each of those.
    async fn by_leader(&self, parts: &BTreeSet<u32>) -> KafkaResult<Vec<BTreeSet<u32>>> {
        let metadata = self.metadata().await?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let mut groups = BTreeMap::<i32, BTreeSet<u32>>::new();
        for partition in topic.map_or(&[][..], |topic| topic.partitions()) {
            let part = u32::try_from(partition.id()).ok().filter(|part| parts.contains(part));
            if let (Some(part), leader @ 0..) = (part, partition.leader()) {
                groups.entry(leader).or_default().insert(part);
            }
        }
        Ok(groups.into_values().collect())
    }

    /// The ends of all of `parts`, or an error.
    async fn ask(&self, parts: BTreeSet<u32>) -> KafkaResult<BTreeMap<u32, i64>> {
        let consumer = Arc::clone(&self.consumer);
        let wanted = list(&self.topic, parts.iter().map(|&part| (part, Offset::End)))?;
        let answer = blocking(move || consumer.offsets_for_times(wanted, ASK_TIME)).await?;
        let mut ends = BTreeMap::new();
        for element in answer.elements() {
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
}

/// Partitions of a topic and positions in them, as the library wants them.
pub fn list(
    topic: &str,
    positions: impl Iterator<Item = (u32, Offset)>,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (part, offset) in positions {
        list.add_partition_offset(topic, i32::try_from(part).unwrap_or(i32::MAX), offset)?;
    }
    Ok(list)
}

/// The library's questions block.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> KafkaResult<T> + Send + 'static,
) -> KafkaResult<T> {
    spawn_blocking(ask).await.unwrap_or(Err(KafkaError::Canceled))
}
