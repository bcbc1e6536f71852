//! Real Redis, Kafka and Cassandra for the tests: shared ones that outlive a test, and ones of a single test that it may kill.
//!
//! Where a service cannot be had, CI fails; at a desk the test is left out, and `make test` says so at its end.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use chatctl::command::init_env::CASSANDRA_SCHEMA;
use chatctl::services::{
    Artifacts, Environment, ExternalAddresses, Mode, NodeProcess, Nodes, Plan, Ports, Progress,
    Provision, ServiceKind, ServiceReport,
};
use rustix::process::Signal;
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::{BINARY, unique};

/// The program of a Redis of a test's own, kept in this folder; `None`: there is none on this machine, which CI does not accept.
pub async fn redis_program(folder: &Path, what_for: &str) -> Option<PathBuf> {
    match Artifacts::new(folder.join("cache")).redis(&Progress::silent()).await {
        Ok(program) => Some(program),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            println!("LEFT OUT: {what_for}, for {error}");
            None
        }
    }
}

/// The services that all tests share, on one node each. Tests take names of their own in them.
pub struct SharedServices {
    variables: BTreeMap<String, String>,
}

impl SharedServices {
    /// Brings them up, once; `None` when the caller is to be left out.
    pub async fn find() -> Option<&'static Self> {
        static SHARED: OnceCell<Result<SharedServices, String>> = OnceCell::const_new();
        match SHARED.get_or_init(Self::start).await {
            Ok(shared) => Some(shared),
            Err(reason) => leave_out(reason),
        }
    }

    async fn start() -> Result<Self, String> {
        let empty = tempfile::tempdir().unwrap();
        let folder = shared_folder();
        let output = init_env(empty.path())
            .args(["--services", "redis,valkey,kafka,cassandra", "--print", "--fresh-ports"])
            .arg("--dir")
            .arg(&folder)
            .output()
            .await
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            let stdout = String::from_utf8_lossy(&output.stdout);
            return Err(format!("{stderr}{stdout}"));
        }
        let lines = dotenvy::from_read_iter(output.stdout.as_slice());
        Ok(Self { variables: lines.collect::<Result<_, _>>().unwrap() })
    }

    /// The keyspace that everybody shares, to oneself: some servers on it must be alone.
    pub async fn keyspace(&self) -> tokio::sync::MutexGuard<'static, ()> {
        static KEYSPACE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        KEYSPACE.lock().await
    }

    /// `REDIS_URL`, `KAFKA_BROKERS`, `CASSANDRA_HOSTS`.
    pub fn variable(&self, key: &str) -> &str {
        &self.variables[key]
    }

    /// Variables of a node on this Redis, under a prefix of its own, and this Kafka.
    pub fn on_kafka<'a>(&'a self, prefix: &'a str) -> [(&'static str, &'a str); 6] {
        on_kafka(self.variable("REDIS_URL"), prefix, self.variable("KAFKA_BROKERS"))
    }

    /// Where they live.
    pub fn folder(&self) -> PathBuf {
        shared_folder()
    }
}

/// Variables of a node whose messages and users are in Redis and whose hints go by Kafka.
fn on_kafka<'a>(redis: &'a str, prefix: &'a str, brokers: &'a str) -> [(&'static str, &'a str); 6] {
    [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "KAFKA"),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
        ("REDIS_URL", redis),
        ("CHATCTL_REDIS_PREFIX", prefix),
        ("KAFKA_BROKERS", brokers),
    ]
}

/// Services of one test, which may kill and pause them; ended by force when dropped.
pub struct OwnServices {
    environment: Environment,
    topic: String,
    keyspace: String,
    _folder: tempfile::TempDir,
}

impl OwnServices {
    /// Starts them on free ports in a folder of their own; `None` when the caller is to be left out.
    pub async fn start(kinds: &[ServiceKind], nodes: Nodes) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path().into(), kinds, nodes);
        let topic = plan.provision.kafka_topic.clone();
        let keyspace = plan.provision.cassandra_keyspace.clone();
        let environment = Environment::open(plan, &Progress::silent()).await.unwrap();
        let own = Self { environment, topic, keyspace, _folder: folder };
        for report in own.up().await {
            if let Err(error) = report.health {
                return leave_out(&error.to_string());
            }
        }
        Some(own)
    }

    /// Brings up whatever is down.
    pub async fn up(&self) -> Vec<ServiceReport> {
        self.environment.up(&Progress::silent()).await
    }

    /// The nodes of all services.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeProcess> {
        self.environment.services().iter().flat_map(|service| service.processes())
    }

    /// The nodes of one of them.
    pub fn nodes_of(&self, kind: ServiceKind) -> &[NodeProcess] {
        let services = self.environment.services();
        let found = services.iter().find(|service| service.kind() == kind);
        found.expect("a service that was started").processes()
    }

    /// Variables of a node on this Redis and this Kafka.
    pub fn on_kafka(&self) -> Vec<(&'static str, String)> {
        let (redis, brokers) = (self.variable("REDIS_URL"), self.variable("KAFKA_BROKERS"));
        let topic = [
            ("CHATCTL_KAFKA_TOPIC", self.topic.as_str()),
            ("CHATCTL_KAFKA_PARTITIONS", PARTITIONS),
        ];
        let variables = on_kafka(&redis, "chatctl:", &brokers).into_iter().chain(topic);
        variables.map(|(key, value)| (key, value.to_owned())).collect()
    }

    /// Variables of a node whose messages are in this Cassandra.
    pub fn on_cassandra(&self) -> [(&'static str, String); 3] {
        [
            ("WS_MESSAGE_PERSISTENCE_ENGINE", "CASSANDRA".to_owned()),
            ("CASSANDRA_HOSTS", self.variable("CASSANDRA_HOSTS")),
            ("CASSANDRA_KEYSPACE", self.keyspace.clone()),
        ]
    }

    /// The variables that lead to them.
    pub fn variable(&self, key: &str) -> String {
        let found = self.environment.variables().into_iter().find(|(name, _)| *name == key);
        found.expect("a service that was started").1
    }
}

impl Drop for OwnServices {
    fn drop(&mut self) {
        for node in self.nodes() {
            let _ = node.signal(Signal::KILL);
        }
    }
}

/// Services that a command of one test starts in a folder; stopped when dropped.
pub struct FolderServices(tempfile::TempDir);

impl FolderServices {
    /// None yet.
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// What the command is told.
    pub fn folder(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

impl Drop for FolderServices {
    fn drop(&mut self) {
        let down = std::process::Command::new(BINARY)
            .args(["init-env", "--mode", "native", "--down", "--services", "redis,kafka,cassandra"])
            .args(["--dir", self.folder()])
            .output();
        assert!(down.is_ok_and(|down| down.status.success()) || std::thread::panicking());
    }
}

/// Partitions of a topic of our own.
const PARTITIONS: &str = "4";

/// A plan of native services in a folder, with names that no other test uses.
pub fn plan(folder: PathBuf, kinds: &[ServiceKind], nodes: Nodes) -> Plan {
    let nowhere = ExternalAddresses {
        redis_url: String::new(),
        redis_authority: None,
        kafka: Vec::new().into(),
        cassandra: Vec::new(),
        cassandra_access: Default::default(),
        riak_url: String::new(),
        riak_bucket_type: String::new(),
    };
    Plan {
        mode: Mode::Native,
        kinds: kinds.to_vec(),
        nodes,
        folder,
        cache: chatctl::config::cache_folder().expect("a home"),
        external: Box::new(nowhere),
        ports: Ports::FreshFirst,
        provision: Provision {
            kafka_topic: unique("hints"),
            kafka_partitions: PARTITIONS.parse().unwrap(),
            cassandra_keyspace: unique("k").replace('-', "_"),
            cassandra_replication: u32::try_from(nodes.count()).unwrap(),
            cassandra_schema: CASSANDRA_SCHEMA,
        },
    }
}

/// `chatctl init-env --mode native` in a working folder, with no more of our environment than it needs.
pub fn init_env(working_folder: &std::path::Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(["init-env", "--mode", "native"])
        .current_dir(working_folder)
        .stdin(Stdio::null())
        .env_clear()
        .kill_on_drop(true);
    for key in ["PATH", "HOME", "USER", "JAVA_HOME", "XDG_CACHE_HOME", "LANG", "TMPDIR"] {
        if let Some(value) = std::env::var_os(key) {
            command.env(key, value);
        }
    }
    command
}

fn shared_folder() -> PathBuf {
    match std::env::var_os("CHATCTL_TEST_SERVICES") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("services"),
    }
}

/// What a test needs and cannot have: CI has everything, so there it fails; at a desk the run goes on, and its
/// last line tells of this.
pub fn leave_out<T>(reason: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "what a test needs cannot be had: {reason}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = reason.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(reason);
    let mut path = shared_folder().into_os_string();
    path.push(".left-out");
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
        let _ = writeln!(file, "{test}: {line}");
    }
    println!("LEFT OUT {test}: {reason}");
    None
}
