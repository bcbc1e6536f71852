//! What is asked of a Kafka, whoever runs it.

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;

use super::KIND;
use crate::kafka_link::{self, Brokers};
use crate::services::ServiceError;

/// A healthy one answers within milliseconds.
const REQUEST_LIMIT: Duration = Duration::from_secs(3);

/// Creating and deleting topics, on a machine that has just started all of it.
const CHANGE_LIMIT: Duration = Duration::from_secs(15);

/// What every topic of ours is set to: hints are not a second store.
const TOPIC_SETTINGS: [(&str, &str); 2] = [("retention.ms", "600000"), ("segment.ms", "60000")];

#[derive(Debug)]
pub(super) struct KafkaClient {
    brokers: Brokers,
}

struct Context;

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka_link::log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        kafka_link::complain(&error, reason);
    }
}

/// A topic as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Topic {
    name: String,
    partitions: Vec<Partition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Partition {
    has_leader: bool,
    replicas: usize,
    in_sync: usize,
}

impl KafkaClient {
    pub(super) fn new(brokers: Brokers) -> Self {
        Self { brokers }
    }

    pub(super) fn addresses(&self) -> &[String] {
        &self.brokers.addresses
    }

    pub(super) fn shown(&self) -> String {
        self.brokers.shown()
    }

    /// Whether this broker answers and knows as many.
    pub(super) async fn all_brokers_at(&self, address: &str, brokers: usize) -> Result<(), String> {
        // Cheaper than a client, which would also wait between its tries.
        tokio::net::TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let (known, _) =
            cluster(Brokers { addresses: vec![address.to_owned()], ..self.brokers.clone() })
                .await?;
        let found = known.len();
        (found == brokers).then_some(()).ok_or(format!("it knows {found} of {brokers} brokers"))
    }

    /// The settings that a message's survival depends on; an error says why it is not healthy.
    pub(super) async fn durability(&self) -> Result<String, ServiceError> {
        let (brokers, topics) = self.cluster().await?;
        if brokers.len() < self.brokers.addresses.len() {
            let (found, expected) = (brokers.len(), self.brokers.addresses.len());
            return Err(self.unhealthy(format!("{found} of {expected} brokers are up")));
        }
        if let Some(topic) = topics.iter().find(|topic| !topic.has_leaders()) {
            let name = &topic.name;
            return Err(self.unhealthy(format!("topic {name} has a partition without a leader")));
        }
        let Some(&broker) = brokers.first() else {
            return Err(self.unhealthy("no broker is up".to_owned()));
        };
        let settings = self.settings(ResourceSpecifier::Broker(broker)).await?;
        let setting = |name| settings(name).unwrap_or_else(|| "?".to_owned());
        let count = brokers.len();
        let brokers = if count == 1 { "broker" } else { "brokers" };
        let replication = setting("default.replication.factor");
        let in_sync = setting("min.insync.replicas");
        Ok(format!("{count} {brokers}, replication {replication}, min.insync.replicas {in_sync}"))
    }

    /// Creates a topic of hints, unless it is there as it must be. The result names it when it was created.
    pub(super) async fn provide_topic(
        &self,
        name: &str,
        partitions: u32,
    ) -> Result<Vec<String>, ServiceError> {
        let (brokers, topics) = self.cluster().await?;
        let replication = if brokers.len() >= 3 { 3 } else { 1 };
        if let Some(topic) = topics.iter().find(|topic| topic.name == name) {
            self.judge_topic(topic, partitions).await?;
            return Ok(Vec::new());
        }
        let count = i32::try_from(partitions)
            .map_err(|_| self.unhealthy(format!("{partitions} partitions are too many")))?;
        let in_sync = if replication == 3 { "2" } else { "1" };
        let mut topic = NewTopic::new(name, count, TopicReplication::Fixed(replication))
            .set("min.insync.replicas", in_sync);
        for (setting, value) in TOPIC_SETTINGS {
            topic = topic.set(setting, value);
        }
        let admin = self.admin()?;
        let results = admin.create_topics([&topic], &options()).await.map_err(self.failed())?;
        for result in results {
            result.map_err(|(_, code)| self.unhealthy(format!("topic {name}: {code}")))?;
        }
        self.await_leaders(name, usize::try_from(replication).unwrap_or(1)).await?;
        Ok(vec![format!("topic {name}")])
    }

    /// Removes a topic; nothing when there is none.
    pub(super) async fn delete_topic(&self, name: &str) -> Result<(), ServiceError> {
        let results =
            self.admin()?.delete_topics(&[name], &options()).await.map_err(self.failed())?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((_, code)) => return Err(self.unhealthy(format!("topic {name}: {code}"))),
            }
        }
        Ok(())
    }

    async fn judge_topic(&self, topic: &Topic, partitions: u32) -> Result<(), ServiceError> {
        let (name, found) = (&topic.name, topic.partitions.len());
        if u32::try_from(found) != Ok(partitions) {
            return Err(self.unhealthy(format!(
                "topic {name} has {found} partitions and CHATCTL_KAFKA_PARTITIONS is {partitions}: \
                 changing the count would part conversations from their hints; set the variable to {found}, \
                 or name another topic, or delete this one while no server runs"
            )));
        }
        let settings = self.settings(ResourceSpecifier::Topic(name)).await?;
        for (setting, expected) in TOPIC_SETTINGS {
            let found = settings(setting).unwrap_or_default();
            if found != expected {
                return Err(self.unhealthy(format!(
                    "topic {name} has {setting}={found} and must have {expected}; set it, or name another topic"
                )));
            }
        }
        Ok(())
    }

    /// A new topic can be written to when every partition has its leader and all replicas follow.
    async fn await_leaders(&self, name: &str, replication: usize) -> Result<(), ServiceError> {
        let deadline = tokio::time::Instant::now() + CHANGE_LIMIT;
        loop {
            let (_, topics) = self.cluster().await?;
            let topic = topics.iter().find(|topic| topic.name == name);
            if topic.is_some_and(|topic| topic.is_whole(replication)) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(
                    self.unhealthy(format!("the new topic {name} does not get its leaders"))
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn cluster(&self) -> Result<(Vec<i32>, Vec<Topic>), ServiceError> {
        cluster(self.brokers.clone()).await.map_err(|reason| self.unhealthy(reason))
    }

    async fn settings(
        &self,
        of: ResourceSpecifier<'_>,
    ) -> Result<impl Fn(&str) -> Option<String> + use<>, ServiceError> {
        let answer = self.admin()?.describe_configs([&of], &options()).await;
        let resource = answer
            .map_err(self.failed())?
            .pop()
            .ok_or_else(|| self.unhealthy("it does not tell its settings".to_owned()))?
            .map_err(|code| self.unhealthy(format!("its settings: {code}")))?;
        Ok(move |name: &str| resource.get(name)?.value.clone())
    }

    fn admin(&self) -> Result<AdminClient<Context>, ServiceError> {
        admin(&self.brokers).map_err(self.failed())
    }

    fn failed(&self) -> impl Fn(KafkaError) -> ServiceError {
        |error| self.unhealthy(error.to_string())
    }

    fn unhealthy(&self, reason: String) -> ServiceError {
        ServiceError::unhealthy(KIND, &self.shown())(reason)
    }
}

impl Topic {
    fn has_leaders(&self) -> bool {
        self.partitions.iter().all(|partition| partition.has_leader)
    }

    fn is_whole(&self, replication: usize) -> bool {
        let whole = |partition: &Partition| {
            partition.replicas == replication && partition.in_sync == replication
        };
        self.has_leaders() && self.partitions.iter().all(whole)
    }
}

fn admin(brokers: &Brokers) -> KafkaResult<AdminClient<Context>> {
    kafka_link::config(brokers).create_with_context(Context)
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(CHANGE_LIMIT)).operation_timeout(Some(CHANGE_LIMIT))
}

/// The ids of the brokers, and all topics.
async fn cluster(brokers: Brokers) -> Result<(Vec<i32>, Vec<Topic>), String> {
    let ask = move || -> Result<_, String> {
        let metadata = kafka_link::metadata(&brokers, REQUEST_LIMIT)?;
        let brokers = metadata.brokers().iter().map(|broker| broker.id()).collect();
        let topics = metadata.topics().iter().map(|topic| Topic {
            name: topic.name().to_owned(),
            partitions: topic
                .partitions()
                .iter()
                .map(|partition| Partition {
                    has_leader: partition.leader() >= 0,
                    replicas: partition.replicas().len(),
                    in_sync: partition.isr().len(),
                })
                .collect(),
        });
        Ok((brokers, topics.collect()))
    };
    // It blocks until it has an answer, and while it is dropped.
    tokio::task::spawn_blocking(ask).await.map_err(|error| error.to_string())?
}
