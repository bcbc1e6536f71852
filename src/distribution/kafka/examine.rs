//! A look at the brokers that changes nothing there.

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::Metadata;
use tokio::task::spawn_blocking;

use super::topic::judge_topic;
use crate::kafka_link;

/// How long the brokers may take.
const ASK_TIME: Duration = Duration::from_secs(4);

struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka_link::log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        kafka_link::complain(&error, reason);
    }
}

impl ConsumerContext for Quiet {}

/// What the brokers say of the topic of hints, for people; or why it cannot be used, and what to do. Nothing is read, no group is joined.
pub async fn examine(
    brokers: Vec<String>,
    topic: String,
    partitions: u32,
) -> Result<String, String> {
    let ask = move || -> KafkaResult<Metadata> {
        let consumer: BaseConsumer<Quiet> =
            kafka_link::config(&brokers).create_with_context(Quiet)?;
        // Of all topics: asking for one by name might create it.
        consumer.fetch_metadata(None, ASK_TIME)
    };
    let metadata = spawn_blocking(ask).await.unwrap_or(Err(KafkaError::Canceled));
    let metadata = metadata.map_err(|error| error.to_string())?;
    judge_topic(&metadata, &topic, partitions)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let all = found.map_or(&[][..], |topic| topic.partitions());
    let leaderless = all.iter().filter(|partition| partition.leader() < 0).count();
    if leaderless > 0 {
        return Err(format!(
            "{leaderless} of {partitions} partitions of topic {topic} have no leader: start the brokers that are down"
        ));
    }
    let brokers = metadata.brokers().len();
    Ok(format!("topic {topic} has its {partitions} partitions; brokers that are up: {brokers}"))
}
