//! Settings to engines: the one place that knows which there are.

use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::cassandra_link::{Access, Cluster};
use crate::config::{
    CassandraConfig, Config, DistributionEngine, KafkaAccess, KafkaLogin, LocalConfig, LocalSync,
    PersistenceEngine, RedisConfig, RedisPlace, RedisSentinels, RegistryEngine, RiakConfig, Secret,
    ServiceTls,
};
use crate::distribution::Distribution;
use crate::distribution::kafka::{KafkaDistribution, KafkaSettings, Reading};
use crate::distribution::local::LocalDistribution;
use crate::distribution::redis::{self as redis_bus, RedisDistribution};
#[cfg(feature = "faults")]
use crate::faults::{
    self, BurningDistribution, Deliberate, Fault, FaultyDistribution, FaultyPersistence,
};
use crate::kafka_link::{self, Brokers};
use crate::model::{Durability, NodeId};
use crate::persistence::cassandra::{self, CassandraSettings};
use crate::persistence::local::{self, LocalSettings, SyncPolicy};
use crate::persistence::redis::{self, RedisSettings};
use crate::persistence::riak::{self, RiakSettings};
use crate::persistence::{Archive, Persistence, SharedReads, Timed};
use crate::redis_link::{ClusterNodes, RedisServer, Sentinels};
use crate::registry::local::LocalRegistry;
use crate::registry::redis::{self as redis_registry, RedisRegistry};
use crate::registry::{Registry, Timed as TimedRegistry};
use crate::services::ServiceKind;
use crate::tls::{self, Trust};

/// What to change for a stronger durability class of the LOCAL engine.
pub(super) const LOCAL_ADVICE: &str = "set CHATCTL_LOCAL_SYNC=always";

/// The services that the chosen engines need.
pub(super) fn services_of(config: &Config) -> Vec<ServiceKind> {
    let mut needed = Vec::new();
    match config.persistence {
        PersistenceEngine::Local(_) => {}
        PersistenceEngine::Redis(_) => needed.push(ServiceKind::Redis),
        PersistenceEngine::Cassandra(_) => needed.push(ServiceKind::Cassandra),
        PersistenceEngine::Riak(_) => needed.push(ServiceKind::Riak),
    }
    match config.distribution {
        DistributionEngine::Local => {}
        DistributionEngine::Redis(_) => needed.push(ServiceKind::Redis),
        DistributionEngine::Kafka(_) => needed.push(ServiceKind::Kafka),
    }
    match config.registry {
        RegistryEngine::Local => {}
        RegistryEngine::Redis(_) => needed.push(ServiceKind::Redis),
    }
    needed.sort_unstable();
    needed.dedup();
    needed
}

/// The message engine, opened.
pub(super) struct Store<E: ?Sized = dyn Persistence> {
    pub(super) persistence: Arc<E>,
    /// Told, once, why it cannot be trusted with another write.
    pub(super) broken: Option<oneshot::Receiver<String>>,
    /// What to change for a stronger durability class.
    pub(super) advice: String,
    /// What of the service keeps a second server from using it, and what would change that; `None`: nothing does.
    pub(super) single: Option<String>,
}

/// All engines, opened.
pub(super) struct Engines {
    pub(super) store: Store,
    pub(super) distribution: Arc<dyn Distribution>,
    pub(super) registry: Arc<dyn Registry>,
}

/// Where Redis is, and whom to take for it.
pub(super) fn redis_server(redis: &RedisConfig) -> anyhow::Result<RedisServer> {
    let mut server = RedisServer::from(redis.url.expose());
    match redis.place.clone() {
        RedisPlace::Fixed => {}
        RedisPlace::Sentinels(RedisSentinels { addresses, primary, password }) => {
            let password = password.map(|password| password.expose().to_owned());
            server = server.found_by(Sentinels { addresses, primary, password });
        }
        RedisPlace::Cluster(nodes) => server = server.in_cluster(ClusterNodes::new(nodes)),
    }
    Ok(match &redis.tls_ca {
        None if redis.url.is_tls() => {
            let system = Trust::load(None).map_err(|reason| anyhow!("REDIS_URL: {reason}"))?;
            server.issued_by(&system.pem())
        }
        None => server,
        Some(file) => server.issued_by(&tls::read_certificates("CHATCTL_REDIS_TLS_CA", file)?),
    })
}

/// Opens the engines of a server.
pub(super) async fn open_engines(
    config: &Config,
    node: &NodeId,
    name: &str,
) -> anyhow::Result<Engines> {
    let distribution: Arc<dyn Distribution> = match &config.distribution {
        DistributionEngine::Local => Arc::new(LocalDistribution::default()),
        DistributionEngine::Redis(redis) => {
            let (server, prefix) = (redis_server(redis)?, redis.prefix.clone());
            let settings = redis_bus::RedisSettings { server, prefix, node: node.clone() };
            Arc::new(RedisDistribution::new(settings).context("the REDIS bus cannot start")?)
        }
        DistributionEngine::Kafka(kafka) => {
            let (brokers, topic) = (brokers(&kafka.brokers, &kafka.access)?, kafka.topic.clone());
            let reading = if kafka.reads_open_only { Reading::Open } else { Reading::All };
            let (partitions, node) = (kafka.partitions, node.clone());
            let settings = KafkaSettings { brokers, topic, partitions, reading, node };
            Arc::new(KafkaDistribution::new(settings).context("the KAFKA bus cannot start")?)
        }
    };
    let registry: Arc<dyn Registry> = match &config.registry {
        RegistryEngine::Local => Arc::new(LocalRegistry::default()),
        RegistryEngine::Redis(redis) => {
            let (server, prefix) = (redis_server(redis)?, redis.prefix.clone());
            let (name, node, lease) = (name.to_owned(), node.clone(), config.lease);
            let settings = redis_registry::RedisSettings { server, prefix, name, node, lease };
            Arc::new(RedisRegistry::new(settings).context("the REDIS registry cannot start")?)
        }
    };
    let store = open_store(config).await?;
    // What the engine does is timed, not how long somebody waits for the read of another.
    let timed = Arc::new(Timed::new(store.persistence));
    let persistence: Arc<dyn Persistence> = Arc::new(SharedReads::new(timed));
    let registry = Arc::new(TimedRegistry::new(registry));
    let store = Store { persistence, ..store };
    Ok(Engines { store, distribution, registry })
}

/// Opens the message engine alone.
pub(super) async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let Store { persistence, broken, advice, single } = open_archive(config).await?;
    Ok(Store { persistence, broken, advice, single })
}

/// The same, to carry conversations to it or away.
pub(super) async fn open_archive(config: &Config) -> anyhow::Result<Store<dyn Archive>> {
    match &config.persistence {
        PersistenceEngine::Local(settings) => {
            let settings = local_settings(settings);
            // It reads the disk, for long where much is to be recovered.
            let open = move || local::open(settings);
            let (engine, broken) = spawn_blocking(open)
                .await
                .context("the LOCAL engine cannot start")?
                .context("the LOCAL engine cannot start")?;
            let (broken, advice) = (Some(broken), LOCAL_ADVICE.to_owned());
            Ok(Store { persistence: engine, broken, advice, single: None })
        }
        PersistenceEngine::Redis(settings) => {
            let (server, prefix) = (redis_server(settings)?, settings.prefix.clone());
            let in_cluster = server.is_in_cluster();
            let settings = RedisSettings { server, prefix };
            let cannot = "the REDIS engine cannot start";
            if in_cluster {
                let engine = redis::open_cluster(settings).await.context(cannot)?;
                let advice = engine.advice();
                return Ok(Store { persistence: engine, broken: None, advice, single: None });
            }
            let engine = redis::open(settings).await.context(cannot)?;
            let advice = engine.advice();
            Ok(Store { persistence: engine, broken: None, advice, single: None })
        }
        PersistenceEngine::Cassandra(settings) => {
            let settings = CassandraSettings::new(cluster(settings)?, settings.keyspace.clone());
            let engine =
                cassandra::open(settings).await.context("the CASSANDRA engine cannot start")?;
            let advice = engine.advice();
            Ok(Store { persistence: engine, broken: None, advice, single: None })
        }
        PersistenceEngine::Riak(settings) => {
            let engine = riak::open(riak_settings(settings))
                .await
                .context("the RIAK engine cannot start")?;
            let advice = engine.advice();
            let single = engine
                .alone_because()
                .map(|reason| format!("WS_MESSAGE_PERSISTENCE_ENGINE=RIAK (where {reason})"));
            Ok(Store { persistence: engine, broken: None, advice, single })
        }
    }
}

/// Where the RIAK engine is.
pub(super) fn riak_settings(config: &RiakConfig) -> RiakSettings {
    RiakSettings { url: config.url.clone(), bucket_type: config.bucket_type.clone() }
}

/// Puts the deliberate fault that was asked for between the chat and its engines.
#[cfg(feature = "faults")]
pub(super) fn break_engines(engines: Engines, deliberate: Option<Deliberate>) -> Engines {
    let fault = match deliberate {
        None => return engines,
        Some(Deliberate::Burn(burn)) => {
            tracing::warn!(%burn, "this server wastes CPU time on purpose");
            let distribution = Arc::new(BurningDistribution::new(engines.distribution, burn));
            return Engines { distribution, ..engines };
        }
        Some(Deliberate::Crash(crash)) => {
            tracing::warn!(%crash, "this server ends on purpose");
            crash.arm();
            None
        }
        Some(Deliberate::Break(fault)) => Some(fault),
    };
    if let Some(fault) = fault {
        tracing::warn!(%fault, "this server breaks a promise on purpose");
        faults::install(fault);
    }
    let every = fault.map_or(1, Fault::every);
    let Engines { store, distribution, registry } = engines;
    let persistence = Arc::new(FaultyPersistence::new(store.persistence, fault, every));
    Engines {
        store: Store { persistence, ..store },
        distribution: Arc::new(FaultyDistribution::new(distribution, fault, every)),
        registry,
    }
}

/// The nodes of Cassandra, as they are reached.
pub(super) fn cluster(config: &CassandraConfig) -> anyhow::Result<Cluster> {
    let CassandraConfig { hosts, keyspace: _, datacenter, translation, login, tls } =
        config.clone();
    let access = cassandra_access(login.as_ref(), &tls)?;
    Ok(Cluster { hosts, datacenter: Some(datacenter), translation, access })
}

/// How Cassandra is got into.
pub(super) fn cassandra_access(
    login: Option<&(String, Secret)>,
    tls: &ServiceTls,
) -> anyhow::Result<Access> {
    let login = login.map(|(user, password)| (user.clone(), password.expose().to_owned()));
    let tls = match tls {
        ServiceTls::Off => None,
        ServiceTls::On { ca } => {
            let own = ca.as_deref().map(|file| ("CHATCTL_CASSANDRA_TLS_CA", file));
            let config = Trust::load(own).and_then(|trust| trust.config());
            Some(Arc::new(config.map_err(anyhow::Error::msg)?))
        }
    };
    Ok(Access { login, tls })
}

/// The brokers of Kafka, as they are reached.
pub(super) fn brokers(addresses: &[String], access: &KafkaAccess) -> anyhow::Result<Brokers> {
    let KafkaAccess { login, tls, certificate } = access.clone();
    let login = login.map(|KafkaLogin { mechanism, user, password }| kafka_link::Login {
        mechanism,
        user,
        password: password.expose().to_owned(),
    });
    let tls = match tls {
        ServiceTls::Off => None,
        ServiceTls::On { ca } => {
            let own = ca.as_deref().map(|file| ("CHATCTL_KAFKA_TLS_CA", file));
            let trust = Trust::load(own).map_err(|reason| anyhow!("KAFKA_BROKERS: {reason}"))?;
            let authorities = String::from_utf8_lossy(&trust.pem()).into();
            let own = certificate.map(|files| (files.certificate, files.key));
            if let Some((certificate, key)) = &own {
                let certificate = ("CHATCTL_KAFKA_TLS_CERT", certificate.as_path());
                for warning in tls::check_pair(certificate, ("CHATCTL_KAFKA_TLS_KEY", key))? {
                    tracing::warn!("{warning}");
                }
            }
            Some(kafka_link::Tls { authorities, own })
        }
    };
    let access = kafka_link::Access { login, tls };
    Ok(Brokers { addresses: addresses.to_vec(), access })
}

fn sync_policy(config: &LocalConfig) -> SyncPolicy {
    match config.sync {
        LocalSync::Always => SyncPolicy::Always,
        LocalSync::Interval(interval) => SyncPolicy::Interval(interval),
        LocalSync::Never => SyncPolicy::Never,
        LocalSync::Memory => SyncPolicy::Memory,
    }
}

/// The class that the LOCAL engine would be of.
pub(super) fn local_class(config: &LocalConfig) -> Durability {
    sync_policy(config).durability()
}

fn local_settings(config: &LocalConfig) -> LocalSettings {
    LocalSettings {
        data_dir: config.data_dir.clone(),
        sync: sync_policy(config),
        reserve_bytes: config.reserve_bytes,
        cache_bytes: config.cache_bytes,
    }
}

/// Refuses a store below the class that is required, and says what to change.
pub(super) fn check_durability(config: &Config, store: &Store) -> anyhow::Result<()> {
    let Store { persistence: engine, advice, .. } = store;
    match shortfall(config, engine.name(), engine.durability(), advice) {
        Some(shortfall) => bail!("{shortfall}"),
        None => Ok(()),
    }
}

/// Why a store of this class is refused, and what to change; `None`: it is not.
pub(super) fn shortfall(
    config: &Config,
    engine: &str,
    found: Durability,
    advice: &str,
) -> Option<String> {
    let required = config.require_durability.filter(|&required| !found.satisfies(required))?;
    let advice = match &config.persistence {
        PersistenceEngine::Local(_) if required.replicated => {
            "the LOCAL engine runs on one node and replicates nothing: lower CHATCTL_REQUIRE_DURABILITY"
                .to_owned()
        }
        PersistenceEngine::Redis(_) if required.replicated => {
            "the REDIS engine waits for no replica: lower CHATCTL_REQUIRE_DURABILITY".to_owned()
        }
        PersistenceEngine::Cassandra(_) if required.replicated && !found.replicated => {
            "the keyspace has one copy of each message: alter it to a replication_factor of 3 and repair it, or lower \
             CHATCTL_REQUIRE_DURABILITY"
                .to_owned()
        }
        PersistenceEngine::Riak(_) if required.replicated && !found.replicated => {
            "the ring has fewer than five nodes, or the bucket type an n_val below 3: add nodes, or lower \
             CHATCTL_REQUIRE_DURABILITY"
                .to_owned()
        }
        PersistenceEngine::Local(_)
        | PersistenceEngine::Redis(_)
        | PersistenceEngine::Cassandra(_)
        | PersistenceEngine::Riak(_) => {
            format!("{advice}, or lower CHATCTL_REQUIRE_DURABILITY")
        }
    };
    Some(format!(
        "the {engine} engine is of durability class {found}, below CHATCTL_REQUIRE_DURABILITY={required}; {advice}"
    ))
}
