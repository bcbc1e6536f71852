//! What the topic of hints must be.

use rdkafka::metadata::Metadata;

/// It must be there, with as many partitions as every node thinks. The error says what to do.
pub fn judge_topic(metadata: &Metadata, topic: &str, partitions: u32) -> Result<(), String> {
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let partitions = partitions as usize;
    match found.map(|topic| topic.partitions().len()) {
        None => Err(format!(
            "there is no topic {topic} that this server may see: create it with 'chatctl init-env --services kafka', or set CHATCTL_KAFKA_TOPIC; where the brokers ask who comes, allow the user to read and write it"
        )),
        Some(count) if count != partitions => Err(format!(
            "topic {topic} has {count} partitions and CHATCTL_KAFKA_PARTITIONS is {partitions}: set the variable to {count} on every node, or name another topic"
        )),
        Some(_) => Ok(()),
    }
}
