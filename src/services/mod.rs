//! Real Redis, Kafka and Cassandra: fetched, started, checked, stopped and wiped, for `init-env` and for tests; and Riak, which is only
//! looked at.
//!
//! [`Environment`] does it for all services of a folder; each service is one [`Service`]. Native services are child processes that
//! outlive us ([`NodeProcess`]); in docker mode a compose file runs them, in external mode somebody else does, and
//! only what needs nothing but an address ([`Service::probe`], [`Service::provision`]) is used.

mod artifacts;
mod cassandra;
mod compose;
mod environment;
mod error;
mod files;
mod folder;
mod kafka;
mod log;
mod native;
mod node;
mod ports;
mod progress;
mod redis;
mod riak;
mod versions;

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;

pub use artifacts::Artifacts;
pub use cassandra::{CassandraNode, CassandraService, CassandraSettings, CommitlogSync};
pub use compose::{Compose, ComposeError, ComposePrograms, find_engine};
pub use environment::{Environment, ExternalAddresses, Mode, Plan, ServiceReport, check};
pub use error::ServiceError;
pub use folder::{Folder, FolderLock, Label};
pub use kafka::{KafkaListener, KafkaNode, KafkaService, KafkaSettings};
pub use log::log_tail;
pub use native::{NativeServices, Ports};
pub use node::{NodeProcess, Recipe, resident_bytes};
pub use ports::{free_port, free_ports};
pub use progress::Progress;
pub use redis::RedisService;
pub use riak::RiakService;
pub use versions::version;

use crate::nearest::did_you_mean;

/// The services that engines need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKind {
    /// Redis, as the system has it.
    Redis,
    /// A current Valkey: the same engine must run on it.
    Valkey,
    /// Kafka in KRaft mode.
    Kafka,
    /// Cassandra.
    Cassandra,
    /// Riak KV, which somebody else runs.
    Riak,
}

impl ServiceKind {
    /// Those that we can run.
    pub const OURS: [Self; 4] = [Self::Redis, Self::Valkey, Self::Kafka, Self::Cassandra];

    /// All, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Redis, Self::Valkey, Self::Kafka, Self::Cassandra, Self::Riak];

    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
            Self::Kafka => "kafka",
            Self::Cassandra => "cassandra",
            Self::Riak => "riak",
        }
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ServiceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = |kind: &Self| kind.name() == text;
        Self::ALL.into_iter().find(known).ok_or_else(|| {
            let meant = did_you_mean(text, Self::ALL.map(Self::name).into_iter());
            format!(
                "{text:?} is no service; use redis, valkey, kafka, cassandra or riak, with commas between{meant}"
            )
        })
    }
}

/// How many nodes a service runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nodes {
    /// One: nothing is replicated.
    One,
    /// Three: Kafka with replication 3 and 2 in sync, Cassandra with replication 3. Redis stays one.
    Three,
}

impl Nodes {
    /// As a number.
    pub fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }
}

/// One service of an environment, on one node or three.
///
/// The first three and the last two methods are for services that we run ourselves (native mode); the other two need
/// nothing but addresses that answer. All are idempotent, and each repairs what an interrupted earlier call left.
#[async_trait]
pub trait Service: fmt::Debug + Send + Sync {
    /// Which.
    fn kind(&self) -> ServiceKind;

    /// Where clients connect, `host:port` each.
    fn addresses(&self) -> Vec<String>;

    /// Its nodes as processes, in order; empty where somebody else runs them.
    fn processes(&self) -> &[NodeProcess];

    /// Fetches what it runs from into the cache, unless it is there. Starts nothing, touches no data.
    async fn prepare(&self, progress: &Progress) -> Result<(), ServiceError>;

    /// Starts the nodes that do not run and waits until all of them serve. Changes nothing when they do.
    async fn start(&self, progress: &Progress) -> Result<(), ServiceError>;

    /// Asks a running service what it is. An error says why it is not healthy. At most a few seconds.
    async fn probe(&self) -> Result<Health, ServiceError>;

    /// Creates what engines need in it (topic, keyspace, tables), unless it is there; never changes what is. The
    /// result names what was created.
    async fn provision(&self, provision: &Provision) -> Result<Vec<String>, ServiceError>;

    /// Stops the nodes: politely, after a grace period by force.
    async fn stop(&self) -> Result<(), ServiceError>;

    /// Removes the data of stopped nodes.
    async fn wipe(&self) -> Result<(), ServiceError>;
}

/// What a healthy service says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Its version; `None` where it does not tell.
    pub version: Option<String>,
    /// The settings that an acknowledged write's survival depends on, for people.
    pub durability: String,
}

/// What engines need in their services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provision {
    /// The topic of hints.
    pub kafka_topic: String,
    /// Its partitions; another count found is an error.
    pub kafka_partitions: u32,
    /// The keyspace of messages.
    pub cassandra_keyspace: String,
    /// Its replication factor where we create it.
    pub cassandra_replication: u32,
    /// The statements of its tables, in order; each can be run again.
    pub cassandra_schema: &'static [SchemaFile],
}

/// One version of the tables of the CASSANDRA engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaFile {
    /// 1, 2, 3 …
    pub version: u32,
    /// Statements, each ended by `;` at the end of a line, without a keyspace.
    pub cql: &'static str,
}
