//! Kafka: ours, on one node or three, or somebody else's.

mod client;
mod recipe;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::files::remove_folder;
use super::{
    Artifacts, Health, NodeProcess, Progress, Provision, Service, ServiceError, ServiceKind,
    version,
};
use crate::kafka_link::Brokers;
use client::KafkaClient;

const KIND: ServiceKind = ServiceKind::Kafka;

/// Three take 5–8 s; much longer where other services start beside them, or after a crash.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A broker that hands over and writes out takes 1–3 s.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// A Kafka.
#[derive(Debug)]
pub struct KafkaService {
    client: KafkaClient,
    native: Option<Native>,
}

/// How we run one ourselves.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// For the files of all nodes.
    pub folder: PathBuf,
    /// Where the jars come from.
    pub artifacts: Arc<Artifacts>,
    /// One or three, each a broker and a controller, on 127.0.0.1.
    pub nodes: Vec<KafkaNode>,
    /// What the brokers listen on besides.
    pub listeners: Vec<KafkaListener>,
    /// Java heap of each node.
    pub heap_mb: u32,
    /// Users and passwords that the brokers know from the first start on, by SCRAM-SHA-256 and -512.
    pub users: Vec<(String, String)>,
    /// Lines of the brokers' configuration beside our own: what listeners that are not `PLAINTEXT` need.
    pub properties: String,
}

/// The ports of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KafkaNode {
    /// Of clients and of the other brokers.
    pub port: u16,
    /// Of the controllers.
    pub controller_port: u16,
}

/// One more way to a broker. Whoever comes by it is told to come to the other brokers by theirs of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaListener {
    /// Which way it is: upper-case letters and digits, other than `PLAINTEXT` and `CONTROLLER`. Each broker has each.
    pub name: String,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub protocol: &'static str,
    /// Of which broker, from 0.
    pub broker: usize,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// The port, on 127.0.0.1, that the broker says that this way begins at.
    pub advertised_port: u16,
}

#[derive(Debug)]
struct Native {
    settings: KafkaSettings,
    processes: Vec<NodeProcess>,
}

impl KafkaService {
    /// One that somebody else runs.
    pub fn at(brokers: Brokers) -> Self {
        Self { client: KafkaClient::new(brokers), native: None }
    }

    /// Our own.
    pub fn native(settings: KafkaSettings) -> Self {
        let addresses: Vec<_> =
            settings.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let process = |(index, address): (usize, &String)| {
            let folder = settings.folder.join(format!("node-{}", index + 1));
            NodeProcess::new(KIND, folder, address.clone())
        };
        let processes = addresses.iter().enumerate().map(process).collect();
        Self {
            client: KafkaClient::new(addresses.into()),
            native: Some(Native { settings, processes }),
        }
    }

    /// Removes a topic; nothing when there is none.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), ServiceError> {
        self.client.delete_topic(topic).await
    }

    fn ours(&self) -> Result<&Native, ServiceError> {
        self.native.as_ref().ok_or_else(|| {
            ServiceError::Refused(format!(
                "kafka at {} is run by somebody else: it is neither started nor stopped",
                self.client.shown()
            ))
        })
    }
}

impl Native {
    async fn jars(&self, progress: &Progress) -> Result<PathBuf, ServiceError> {
        let coordinates = [
            ("org.apache.kafka:kafka_2.13", version("KAFKA_VERSION")),
            ("org.apache.logging.log4j:log4j-slf4j-impl", version("KAFKA_LOG4J_VERSION")),
        ];
        self.settings.artifacts.maven(KIND, "kafka", &coordinates, progress).await
    }
}

#[async_trait]
impl Service for KafkaService {
    fn kind(&self) -> ServiceKind {
        KIND
    }

    fn addresses(&self) -> Vec<String> {
        self.client.addresses().to_vec()
    }

    fn processes(&self) -> &[NodeProcess] {
        self.native.as_ref().map_or(&[], |native| &native.processes)
    }

    async fn prepare(&self, progress: &Progress) -> Result<(), ServiceError> {
        self.ours()?.jars(progress).await.map(drop)
    }

    async fn start(&self, progress: &Progress) -> Result<(), ServiceError> {
        let native = self.ours()?;
        let down: Vec<_> = (0..native.processes.len())
            .filter(|&index| native.processes[index].running().is_none())
            .collect();
        if !down.is_empty() {
            let jars = native.jars(progress).await?;
            let java = native.settings.artifacts.java(KIND).await?;
            let recipes = recipe::Recipes::new(&native.settings, java, &jars)?;
            progress.say(KIND, format!("starts at {}", self.client.shown()));
            try_join_all(down.iter().map(|&index| recipes.format(index, &native.processes[index])))
                .await?;
            for &index in &down {
                native.processes[index].spawn(&recipes.broker(index))?;
            }
        }
        let brokers = native.processes.len();
        let wait = |process| {
            NodeProcess::wait_until_serving(process, START_LIMIT, || async {
                self.client.all_brokers_at(process.address(), brokers).await
            })
        };
        try_join_all(native.processes.iter().map(wait)).await.map(drop)
    }

    async fn probe(&self) -> Result<Health, ServiceError> {
        if let Some(native) = &self.native
            && let Some(down) = native.processes.iter().find(|node| node.running().is_none())
        {
            let stopped = "it does not run; run: chatctl init-env";
            return Err(ServiceError::unhealthy(KIND, down.address())(stopped));
        }
        let durability = self.client.durability().await?;
        let known = self.native.is_some().then(|| version("KAFKA_VERSION").to_owned());
        Ok(Health { version: known, durability })
    }

    async fn provision(&self, provision: &Provision) -> Result<Vec<String>, ServiceError> {
        self.client.provide_topic(&provision.kafka_topic, provision.kafka_partitions).await
    }

    async fn stop(&self) -> Result<(), ServiceError> {
        // All at once: a controller that is left alone waits for the others in vain.
        try_join_all(self.ours()?.processes.iter().map(|node| node.stop(STOP_GRACE)))
            .await
            .map(drop)
    }

    async fn wipe(&self) -> Result<(), ServiceError> {
        let native = self.ours()?;
        if native.processes.iter().any(|node| node.running().is_some()) {
            return Err(ServiceError::Refused(
                "kafka still runs on the data that is to be wiped; stop it first: chatctl init-env --down".to_owned(),
            ));
        }
        remove_folder(&native.settings.folder)
    }
}
