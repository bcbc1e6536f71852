//! The configuration as types: what was set, judged.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::{AuthenticationConfig, KafkaAccess, Origin, RedisPlace, RedisUrl, Secret, ServiceTls};
use crate::model::{Durability, OperatorLimits};

/// Everything that a server was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators look.
    pub admin_listen: SocketAddr,
    /// What clients are shown, over TLS; `None`: the public listener is plain.
    pub tls: Option<TlsConfig>,
    /// Whether users must prove who they are, and how.
    pub authentication: AuthenticationConfig,
    /// What whoever revokes must show.
    pub admin_token: Option<Secret>,
    /// File to write the bound admin address to.
    pub admin_address_file: Option<PathBuf>,
    /// The folder of what this node keeps itself.
    pub data_dir: PathBuf,
    /// Where messages live.
    pub persistence: PersistenceEngine,
    /// How they become known to other nodes.
    pub distribution: DistributionEngine,
    /// Where it is kept who is connected.
    pub registry: RegistryEngine,
    /// What this node is known by after a restart; `None`: by its host and its address.
    pub node: Option<String>,
    /// How long a node that ends without a goodbye counts as running.
    pub lease: Duration,
    /// Added to this machine's clock, ms.
    pub clock_offset_ms: i64,
    /// Refuse to start below this class.
    pub require_durability: Option<Durability>,
    /// Time between two pings.
    pub ping: Duration,
    /// Most time between a signal to stop and the end.
    pub drain: Duration,
    /// Bytes that may wait to be sent to one client.
    pub outbox_bytes_max: usize,
    /// Clients at once.
    pub connections_max: usize,
    /// Time for the head of an HTTP request.
    pub header_timeout: Duration,
    /// What one client, one user and one address may, and the bounds above once more, as clients are told them.
    pub limits: OperatorLimits,
    /// Web pages of other hosts that may connect.
    pub origins: Vec<Origin>,
    /// What is logged: directives of an env-filter.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// What it does wrong on purpose.
    #[cfg(feature = "faults")]
    pub fault: Option<crate::faults::Deliberate>,
}

/// The files of TLS, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The message engine with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersistenceEngine {
    /// Embedded.
    Local(LocalConfig),
    /// A Redis or Valkey server.
    Redis(RedisConfig),
    /// A Cassandra.
    Cassandra(CassandraConfig),
    /// A Riak KV.
    Riak(RiakConfig),
}

/// What the RIAK engine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiakConfig {
    /// A node, or what is in front of several: `http://host:port`.
    pub url: String,
    /// The bucket type of messages: letters, digits, `.`, `_` and `-`.
    pub bucket_type: String,
}

/// What the CASSANDRA engine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CassandraConfig {
    /// Nodes to begin with, `host:port` each; at least one.
    pub hosts: Vec<String>,
    /// The keyspace of messages: `[a-z][a-z0-9_]{0,47}`.
    pub keyspace: String,
    /// The datacenter that is local to us.
    pub datacenter: String,
    /// Where nodes are reached instead of where they say.
    pub translation: HashMap<IpAddr, SocketAddr>,
    /// User and password, where it asks.
    pub login: Option<(String, Secret)>,
    /// Whether it is reached over TLS, and by whose certificates.
    pub tls: ServiceTls,
}

/// What the KAFKA engine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Brokers to begin with, `host:port` each; at least one.
    pub brokers: Vec<String>,
    /// How to get in there.
    pub access: KafkaAccess,
    /// The topic of hints.
    pub topic: String,
    /// Its partitions.
    pub partitions: u32,
    /// Only those of conversations that are open on a node are read there.
    pub reads_open_only: bool,
}

/// What the REDIS engines are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// The server.
    pub url: RedisUrl,
    /// The file of who may have issued its certificate; `None`: whom the system trusts.
    pub tls_ca: Option<PathBuf>,
    /// Who says where it is.
    pub place: RedisPlace,
    /// What all keys begin with.
    pub prefix: String,
}

/// What the embedded engine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// Its folder.
    pub data_dir: PathBuf,
    /// When it forces messages to the disk.
    pub sync: LocalSync,
    /// Free space on the disk below which it refuses messages.
    pub reserve_bytes: u64,
    /// Memory for what it read or wrote last.
    pub cache_bytes: u64,
}

/// When the embedded engine forces messages to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalSync {
    /// Before each answer.
    Always,
    /// This often.
    Interval(Duration),
    /// When the kernel likes.
    Never,
    /// It stores nothing on disk.
    Memory,
}

/// The bus with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DistributionEngine {
    /// Function calls: one node.
    Local,
    /// Pub/sub of a Redis or Valkey server.
    Redis(RedisConfig),
    /// A topic of Kafka.
    Kafka(KafkaConfig),
}

/// The registry with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryEngine {
    /// A map in memory: one node.
    Local,
    /// A Redis or Valkey server.
    Redis(RedisConfig),
}

/// How it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}
