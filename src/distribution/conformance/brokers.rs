//! Brokers of our own.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::subject::Factory;
use crate::distribution::Distribution;
use crate::distribution::kafka::{KafkaDistribution, KafkaSettings, Reading};
use crate::kafka_link;
use crate::model::NodeId;
use crate::persistence::conformance::service::{Own, blocking};
use crate::services::{KafkaNode, KafkaService, NodeProcess, Provision, Service as _, free_ports};

/// Java heap of a broker.
const HEAP_MB: u32 = 256;
/// Partitions of a topic where a case does not care.
pub const PARTITIONS: u32 = 4;

/// One broker, or three with three copies of everything.
pub struct Brokers(Own<KafkaService>);

impl Brokers {
    /// Starts them. `None` where what they need is not there; an error in CI.
    pub fn start(count: u8) -> Option<Self> {
        let make = |folder: &Path, artifacts| {
            let ports = free_ports(&[Ipv4Addr::LOCALHOST.into()], 2 * usize::from(count))
                .map_err(|error| error.to_string())?;
            let node = |pair: &[u16]| KafkaNode { port: pair[0], controller_port: pair[1] };
            Ok(KafkaService::native(crate::services::KafkaSettings {
                folder: folder.to_owned(),
                artifacts,
                listeners: Vec::new(),
                nodes: ports.chunks(2).map(node).collect(),
                heap_mb: HEAP_MB,
                users: Vec::new(),
                properties: String::new(),
            }))
        };
        Own::start("kafka", make).map(Self)
    }

    /// Those that all cases share that break nothing.
    pub fn shared(count: u8) -> Option<&'static Self> {
        static ONE: OnceLock<Option<Brokers>> = OnceLock::new();
        static THREE: OnceLock<Option<Brokers>> = OnceLock::new();
        let shared = if count == 1 { &ONE } else { &THREE };
        shared.get_or_init(|| Self::start(count)).as_ref()
    }

    /// Starts what does not run.
    pub async fn serve(&mut self) {
        self.0.serve().await;
    }

    /// Each of them.
    pub fn nodes(&self) -> &[NodeProcess] {
        self.0.service().processes()
    }

    /// A topic that nobody else has.
    pub async fn topic(&self, partitions: u32) -> KafkaFactory {
        static TOPICS: AtomicU32 = AtomicU32::new(0);
        let topic = format!("hints-{}", TOPICS.fetch_add(1, Ordering::Relaxed));
        self.make(&topic, partitions).await;
        let (brokers, reading) = (self.0.service().addresses(), Reading::All);
        KafkaFactory { brokers, topic, partitions, reading }
    }

    /// Makes a topic.
    pub async fn make(&self, topic: &str, partitions: u32) {
        let provision = Provision {
            kafka_topic: topic.to_owned(),
            kafka_partitions: partitions,
            cassandra_keyspace: String::new(),
            cassandra_replication: 1,
            cassandra_schema: &[],
        };
        self.0.service().provision(&provision).await.expect("the topic is made");
    }

    /// A topic without second copies, on three brokers: part `p` is with the `p % 3`rd of [`nodes`](Self::nodes) and nobody else.
    pub async fn topic_in_single_copies(&self, partitions: u32) -> KafkaFactory {
        let brokers = self.0.service().addresses();
        let admin: AdminClient<DefaultClientContext> =
            kafka_link::config(&brokers.clone().into()).create().unwrap();
        let homes: Vec<[i32; 1]> =
            [1, 2, 3].map(|id| [id]).into_iter().cycle().take(partitions as usize).collect();
        let homes: Vec<&[i32]> = homes.iter().map(<[i32; 1]>::as_slice).collect();
        let count = i32::try_from(partitions).unwrap();
        let topic = NewTopic::new("single-copies", count, TopicReplication::Variable(&homes));
        let made = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        KafkaFactory { brokers, topic: topic.name.to_owned(), partitions, reading: Reading::All }
    }

    /// Removes a topic.
    pub async fn delete(&self, topic: &str) {
        self.0.service().delete_topic(topic).await.expect("the topic is deleted");
    }
}

/// A bus on a topic of its own.
#[derive(Debug, Clone)]
pub struct KafkaFactory {
    /// Where.
    pub brokers: Vec<String>,
    /// Its topic.
    pub topic: String,
    /// How many it has.
    pub partitions: u32,
    /// Which of them nodes read.
    pub reading: Reading,
}

impl KafkaFactory {
    /// On one broker or three that others use, too; `None` where they cannot be had.
    pub fn shared(count: u8) -> Option<Self> {
        Brokers::shared(count).map(|brokers| blocking(brokers.topic(PARTITIONS)))
    }

    /// What a node is told.
    pub fn settings(&self) -> KafkaSettings {
        let Self { brokers, topic, partitions, reading } = self.clone();
        let brokers = brokers.into();
        KafkaSettings { brokers, topic, partitions, reading, node: NodeId::generate() }
    }
}

impl Factory for KafkaFactory {
    fn node(&self) -> Arc<dyn Distribution> {
        Arc::new(KafkaDistribution::new(self.settings()).unwrap())
    }

    fn has_many_nodes(&self) -> bool {
        true
    }
}
