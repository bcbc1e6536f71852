//! `chatctl serve`: settings to engines to a server, until it is told to stop.

use std::future::pending;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::{Exit, init_env, print_out};
use crate::cassandra_link::Cluster;
use crate::chat::{ChatService, ChatSettings};
use crate::clock;
use crate::config::{
    CassandraConfig, Config, DistributionEngine, KafkaConfig, LocalConfig, LocalSync, LogFormat,
    PersistenceEngine, RedisConfig, RegistryEngine, Sources, VariableArgs, env_example,
};
use crate::distribution::Distribution;
use crate::distribution::kafka::{KafkaDistribution, KafkaSettings, Reading};
use crate::distribution::local::LocalDistribution;
use crate::distribution::redis::{self as redis_bus, RedisDistribution};
#[cfg(feature = "faults")]
use crate::faults::{
    self, BurningDistribution, Deliberate, Fault, FaultyDistribution, FaultyPersistence,
};
use crate::model::NodeId;
use crate::persistence::Persistence;
use crate::persistence::cassandra::{self, CassandraSettings};
use crate::persistence::local::{self, LocalSettings, SyncPolicy};
use crate::persistence::redis::{self, RedisSettings};
use crate::protocol::WEBSOCKET_PATH;
use crate::registry::Registry;
use crate::registry::local::LocalRegistry;
use crate::registry::redis::{self as redis_registry, RedisRegistry};
use crate::registry::tenancy::cassandra::{self as cassandra_tenancy, CassandraTenancy};
use crate::registry::tenancy::redis::{self as redis_tenancy, RedisTenancy};
use crate::registry::tenancy::{Company, Tenancy};
use crate::server::{self, Listeners, NodeInfo, ServerSettings};
use crate::services::ServiceKind;

/// What `serve` takes: every variable as a flag.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The flags, made from the table of variables.
    #[command(flatten)]
    pub variables: VariableArgs,
    /// First bring up the services that the chosen engines need, as `init-env` does
    #[arg(long)]
    pub with_services: bool,
    /// Print `.env.example` and exit
    #[arg(long, hide = true)]
    pub print_env_example: bool,
}

/// Runs a server until a signal stops it (`Pass`) or its engine breaks (`ToolError`).
pub async fn run(args: ServeArgs) -> anyhow::Result<Exit> {
    if args.print_env_example {
        print_out(&env_example())?;
        return Ok(Exit::Pass);
    }
    let mut sources = Sources::of_process(&args.variables)?;
    if args.with_services {
        let needed = services_of(&Config::load(&sources)?);
        init_env::bring_up_for(&needed, &mut sources).await?;
    }
    let config = Config::load(&sources)?;
    clock::set_offset(config.clock_offset_ms);
    start_log(&config, &sources)?;
    for warning in sources.warnings() {
        tracing::warn!("{warning}");
    }
    let (files_max, connections_max) = (raise_file_limit(), config.connections_max);
    let metrics = server::install_metrics()?;
    let listeners = Listeners {
        public: bind(config.listen, "CHATCTL_LISTEN")?,
        admin: bind(config.admin_listen, "CHATCTL_ADMIN_LISTEN")?,
    };
    // Before the engine opens: a signal while it recovers must not be lost.
    let mut signals = Signals::listen()?;
    let node = NodeId::generate();
    let name = node_name(&config, listeners.public.local_addr()?);
    let engines = open_engines(&config, &node, &name).await?;
    #[cfg(feature = "faults")]
    let engines = break_engines(engines, config.fault);
    check_durability(&config, &*engines.persistence, &engines.advice)?;

    let info = NodeInfo {
        node: node.clone(),
        distribution: engines.distribution.name(),
        registry: engines.registry.name(),
        lost_data: engines.lost_data,
        required_durability: config.require_durability,
    };
    let tenancy = tenancy_of(&config, &node, &name)?;
    let crowded = match &tenancy {
        Some(tenancy) => Some(tenancy.claim().await.context("this node cannot run here")?),
        None => None,
    };
    let chat = ChatService::start(
        engines.persistence,
        engines.distribution,
        engines.registry,
        ChatSettings { node, ping: config.ping },
    )
    .await;
    let chat = match (chat, &tenancy) {
        (Ok(chat), _) => chat,
        (Err(error), None) => return Err(error.into()),
        (Err(error), Some(tenancy)) => {
            tenancy.close().await;
            return Err(error.into());
        }
    };

    let public_address = listeners.public.local_addr()?;
    let admin_address = listeners.admin.local_addr()?;
    if let Some(path) = &config.admin_address_file {
        write_address(path, admin_address)?;
    }
    // Only now: a start that fails says why in one line.
    if let Some(files_max) = files_max.filter(|&max| max < connections_max as u64) {
        tracing::info!(
            "this process may hold {files_max} files open, fewer than CHATCTL_CONNECTIONS_MAX={connections_max}; raise its limit (ulimit -n) to take so many clients"
        );
    }
    tracing::info!(%public_address, %admin_address, "serving");
    print_out(&format!("ready ws://{public_address}{WEBSOCKET_PATH}\n"))?;

    let stop = CancellationToken::new();
    let server = server::run(listeners, chat, info, settings(config), metrics, stop.clone());
    let supervise = async {
        let broken = tokio::select! {
            name = signals.next() => {
                tracing::info!("{name}: draining; a second signal ends at once");
                None
            }
            broken = until_broken(engines.broken) => {
                Some(anyhow!("the message engine is broken: {broken}"))
            }
            reason = until_broken(crowded) => Some(anyhow!("this node must not run on: {reason}")),
        };
        stop.cancel();
        broken
    };
    let (broken, ()) = {
        let both = async { tokio::join!(supervise, server) };
        tokio::select! {
            ended = both => ended,
            () = second_signal(&stop) => bail!("ended by a second signal before the drain was over"),
        }
    };
    if let Some(tenancy) = &tenancy {
        tenancy.close().await;
    }
    broken.map_or(Ok(Exit::Pass), Err)
}

/// What this node is known by after a restart. An address is bound once on a host.
fn node_name(config: &Config, address: SocketAddr) -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    config.node.clone().unwrap_or_else(|| format!("{host}/{address}"))
}

/// Whether the chosen engines serve more than one node.
fn company(config: &Config) -> Company {
    let mut single = Vec::new();
    if matches!(config.persistence, PersistenceEngine::Local(_)) {
        single.push("WS_MESSAGE_PERSISTENCE_ENGINE=LOCAL");
    }
    if matches!(config.distribution, DistributionEngine::Local) {
        single.push("WS_MESSAGE_DISTRIBUTION_ENGINE=LOCAL");
    }
    if matches!(config.registry, RegistryEngine::Local) {
        single.push("WS_CONN_PERSISTENCE_ENGINE=LOCAL");
    }
    if single.is_empty() { Company::Many } else { Company::Nobody(single.join(" and ")) }
}

/// Where nodes meet that use the same engines; `None`: what they use can have only one at a time anyway.
fn tenancy_of(
    config: &Config,
    node: &NodeId,
    name: &str,
) -> anyhow::Result<Option<Box<dyn Tenancy>>> {
    // The tenants of a store of messages meet there, whatever else they use.
    if let PersistenceEngine::Cassandra(cassandra) = &config.persistence {
        let CassandraConfig { hosts, keyspace, datacenter } = cassandra.clone();
        let settings = cassandra_tenancy::CassandraSettings {
            cluster: Cluster { hosts, datacenter: Some(datacenter) },
            keyspace,
            name: name.to_owned(),
            node: node.clone(),
            company: company(config),
            lease: config.lease,
        };
        return Ok(Some(Box::new(CassandraTenancy::of(settings))));
    }
    let redis = match (&config.persistence, &config.distribution, &config.registry) {
        (PersistenceEngine::Redis(redis), _, _)
        | (_, DistributionEngine::Redis(redis), _)
        | (_, _, RegistryEngine::Redis(redis)) => redis.clone(),
        _ => return Ok(None),
    };
    let settings = redis_tenancy::RedisSettings {
        url: redis.url.expose().to_owned(),
        prefix: redis.prefix,
        name: name.to_owned(),
        node: node.clone(),
        company: company(config),
        lease: config.lease,
    };
    let tenancy = RedisTenancy::of(settings).context("this node cannot run here")?;
    Ok(Some(Box::new(tenancy)))
}

/// The services that the chosen engines need.
fn services_of(config: &Config) -> Vec<ServiceKind> {
    let mut needed = Vec::new();
    match config.persistence {
        PersistenceEngine::Local(_) => {}
        PersistenceEngine::Redis(_) => needed.push(ServiceKind::Redis),
        PersistenceEngine::Cassandra(_) => needed.push(ServiceKind::Cassandra),
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

/// The engines, opened.
struct Engines {
    persistence: Arc<dyn Persistence>,
    distribution: Arc<dyn Distribution>,
    registry: Arc<dyn Registry>,
    /// Told, once, why the message engine cannot be trusted with another write.
    broken: Option<oneshot::Receiver<String>>,
    /// The message engine came back with less than it had acknowledged.
    lost_data: bool,
    /// What to change for a stronger durability class.
    advice: String,
}

/// The one place that knows which engines there are.
async fn open_engines(config: &Config, node: &NodeId, name: &str) -> anyhow::Result<Engines> {
    let distribution: Arc<dyn Distribution> = match &config.distribution {
        DistributionEngine::Local => Arc::new(LocalDistribution::default()),
        DistributionEngine::Redis(RedisConfig { url, prefix }) => {
            let (url, prefix) = (url.expose().to_owned(), prefix.clone());
            let settings = redis_bus::RedisSettings { url, prefix, node: node.clone() };
            Arc::new(RedisDistribution::new(settings).context("the REDIS bus cannot start")?)
        }
        DistributionEngine::Kafka(KafkaConfig { brokers, topic, partitions, reads_open_only }) => {
            let (brokers, topic) = (brokers.clone(), topic.clone());
            let reading = if *reads_open_only { Reading::Open } else { Reading::All };
            let (partitions, node) = (*partitions, node.clone());
            let settings = KafkaSettings { brokers, topic, partitions, reading, node };
            Arc::new(KafkaDistribution::new(settings).context("the KAFKA bus cannot start")?)
        }
    };
    let registry: Arc<dyn Registry> = match &config.registry {
        RegistryEngine::Local => Arc::new(LocalRegistry::default()),
        RegistryEngine::Redis(RedisConfig { url, prefix }) => {
            let (url, prefix) = (url.expose().to_owned(), prefix.clone());
            let (name, node, lease) = (name.to_owned(), node.clone(), config.lease);
            let settings = redis_registry::RedisSettings { url, prefix, name, node, lease };
            Arc::new(RedisRegistry::new(settings).context("the REDIS registry cannot start")?)
        }
    };
    match &config.persistence {
        PersistenceEngine::Local(settings) => {
            let settings = local_settings(settings);
            // It reads the disk, for long where much is to be recovered.
            let open = move || local::open(settings);
            let (engine, broken) = spawn_blocking(open)
                .await
                .context("the LOCAL engine cannot start")?
                .context("the LOCAL engine cannot start")?;
            let (lost_data, broken) = (engine.renewed, Some(broken));
            let advice = "set CHATCTL_LOCAL_SYNC=always".to_owned();
            Ok(Engines { persistence: engine, distribution, registry, broken, lost_data, advice })
        }
        PersistenceEngine::Redis(settings) => {
            let RedisConfig { url, prefix } = settings.clone();
            let engine = redis::open(RedisSettings { url: url.expose().to_owned(), prefix })
                .await
                .context("the REDIS engine cannot start")?;
            let advice = engine.advice();
            let (broken, lost_data) = (None, false);
            Ok(Engines { persistence: engine, distribution, registry, broken, lost_data, advice })
        }
        PersistenceEngine::Cassandra(settings) => {
            let CassandraConfig { hosts, keyspace, datacenter } = settings.clone();
            let cluster = Cluster { hosts, datacenter: Some(datacenter) };
            let settings = CassandraSettings::new(cluster, keyspace);
            let engine =
                cassandra::open(settings).await.context("the CASSANDRA engine cannot start")?;
            let advice = engine.advice();
            let (broken, lost_data) = (None, false);
            Ok(Engines { persistence: engine, distribution, registry, broken, lost_data, advice })
        }
    }
}

/// Puts the deliberate fault that was asked for between the chat and its engines.
#[cfg(feature = "faults")]
fn break_engines(engines: Engines, deliberate: Option<Deliberate>) -> Engines {
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
    Engines {
        persistence: Arc::new(FaultyPersistence::new(engines.persistence, fault, every)),
        distribution: Arc::new(FaultyDistribution::new(engines.distribution, fault, every)),
        ..engines
    }
}

fn local_settings(config: &LocalConfig) -> LocalSettings {
    LocalSettings {
        data_dir: config.data_dir.clone(),
        sync: match config.sync {
            LocalSync::Always => SyncPolicy::Always,
            LocalSync::Interval(interval) => SyncPolicy::Interval(interval),
            LocalSync::Never => SyncPolicy::Never,
            LocalSync::Memory => SyncPolicy::Memory,
        },
        reserve_bytes: config.reserve_bytes,
        cache_bytes: config.cache_bytes,
    }
}

/// The reason, once there is one; an engine that never breaks is waited for without end.
async fn until_broken(broken: Option<oneshot::Receiver<String>>) -> String {
    match broken {
        Some(receiver) => match receiver.await {
            Ok(reason) => reason,
            // The engine ended without a complaint.
            Err(_) => pending().await,
        },
        None => pending().await,
    }
}

fn check_durability(config: &Config, engine: &dyn Persistence, advice: &str) -> anyhow::Result<()> {
    let found = engine.durability();
    let Some(required) = config.require_durability else { return Ok(()) };
    if found.satisfies(required) {
        return Ok(());
    }
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
        PersistenceEngine::Local(_)
        | PersistenceEngine::Redis(_)
        | PersistenceEngine::Cassandra(_) => {
            format!("{advice}, or lower CHATCTL_REQUIRE_DURABILITY")
        }
    };
    bail!(
        "the {} engine is of durability class {found}, below CHATCTL_REQUIRE_DURABILITY={required}; {advice}",
        engine.name()
    )
}

fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let listener = match server::bind(address) {
        Ok(listener) => listener,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("{address} is taken by another process; stop it or set {key} to a free address")
        }
        Err(error) => bail!("cannot listen on {address}: {error}; set {key} to another address"),
    };
    Ok(listener)
}

fn settings(config: Config) -> ServerSettings {
    ServerSettings {
        ping: config.ping,
        drain: config.drain,
        outbox_bytes_max: config.outbox_bytes_max,
        connections_max: config.connections_max,
        header_timeout: config.header_timeout,
        origins: config.origins,
        ..ServerSettings::default()
    }
}

/// Takes as many file descriptors as the system allows us: each client is one. Shells and service
/// managers often start processes with 1024. The result is the limit, `None` when there is none.
fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// A library's advice on settings that are chosen on purpose, again with every session.
const QUIETER: &str = "scylla=error";

/// Logs go to stderr: stdout holds one line and nothing else.
fn start_log(config: &Config, sources: &Sources) -> anyhow::Result<()> {
    // What is set comes last and wins.
    let filter = EnvFilter::builder()
        .parse(format!("{QUIETER},{}", config.log))
        .map_err(|error| anyhow!("{}: {error}", Config::refuse(sources, "CHATCTL_LOG")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let installed = match config.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    installed.map_err(|error| anyhow!("the log cannot start: {error}"))
}

/// Written beside and renamed, so that whoever waits for the file never reads half of it.
fn write_address(path: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, format!("{address}\n"))
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| {
            format!(
                "cannot write {}; set CHATCTL_ADMIN_ADDRESS_FILE to a file in a folder that is there",
                path.display()
            )
        })
}

/// The signals that stop a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits for a signal that comes after the drain began.
async fn second_signal(stop: &CancellationToken) {
    stop.cancelled().await;
    match Signals::listen() {
        Ok(mut signals) => drop(signals.next().await),
        Err(_) => pending().await,
    }
}
