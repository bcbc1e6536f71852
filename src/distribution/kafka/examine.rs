//! A look at the brokers that changes nothing there.

use std::time::Duration;

use tokio::task::spawn_blocking;

use super::topic::judge_topic;
use crate::kafka_link::{self, Brokers};

/// How long the brokers may take.
const ASK_TIME: Duration = Duration::from_secs(4);

/// What the brokers say of the topic of hints, for people; or why it cannot be used, and what to do. Nothing is read, no group is joined.
pub async fn examine(brokers: Brokers, topic: String, partitions: u32) -> Result<String, String> {
    let metadata = spawn_blocking(move || kafka_link::metadata(&brokers, ASK_TIME)).await;
    let metadata = metadata.map_err(|error| error.to_string())??;
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
