//! What both clients of the bus are told, and what they are counted by.

use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::config::ClientConfig;
use rdkafka::statistics::Statistics;

use crate::kafka_link::{self, Brokers};

/// How often the library tells of itself.
const LOOK_MS: &str = "500";

/// The settings that reading and writing have in common. A broker that is silent for three seconds is given up.
pub fn config(brokers: &Brokers) -> ClientConfig {
    let mut config = kafka_link::config(brokers);
    config
        .set("socket.timeout.ms", "3000")
        // Who leads a partition, and how many there are, is known within seconds also when nothing fails.
        .set("topic.metadata.refresh.interval.ms", "5000")
        // A topic that is there at the start and then is not was taken away.
        .set("topic.metadata.propagation.max.ms", "1000")
        .set("statistics.interval.ms", LOOK_MS);
    config
}

/// Counts the requests that one client sends to the brokers.
#[derive(Default)]
pub struct Requests(AtomicU64);

impl Requests {
    /// Takes the client's own sum; it may fall, when a broker is forgotten.
    pub fn count(&self, statistics: &Statistics, client: &'static str) {
        let sent = u64::try_from(statistics.tx).unwrap_or(0);
        let before = self.0.swap(sent, Ordering::Relaxed);
        metrics::counter!("chatctl_kafka_requests_total", "client" => client)
            .increment(sent.saturating_sub(before));
    }
}
