//! All services of a folder at once: brought up, checked, stopped, wiped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{
    Artifacts, CassandraService, Compose, ComposePrograms, Folder, FolderLock, Health,
    KafkaListener, KafkaService, NativeServices, NodeProcess, Nodes, Ports, Progress, Provision,
    RedisService, RiakService, Service, ServiceError, ServiceKind,
};
use crate::cassandra_link::Access;
use crate::kafka_link::Brokers;

/// How long a second `init-env` waits for the first. From an empty cache that takes a minute or two.
const LOCK_PATIENCE: Duration = Duration::from_secs(600);

/// A service that has not said what it is by then is not healthy.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// Who runs the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// We do, as child processes.
    Native,
    /// A container engine does, by our compose file.
    Docker,
    /// Somebody else does.
    External,
}

/// Where services that somebody else runs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAddresses {
    /// URL of Redis, with its password.
    pub redis_url: String,
    /// Certificates in PEM form of those who may have issued that of Redis; `None`: whom the system trusts.
    pub redis_authority: Option<Vec<u8>>,
    /// Brokers, and how to get in there.
    pub kafka: Brokers,
    /// Cassandra nodes, `host:port` each.
    pub cassandra: Vec<String>,
    /// How to get in there.
    pub cassandra_access: Access,
    /// A node of Riak: `http://host:port`.
    pub riak_url: String,
    /// The bucket type of messages.
    pub riak_bucket_type: String,
}

/// Which services, how, where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Who runs them.
    pub mode: Mode,
    /// Which.
    pub kinds: Vec<ServiceKind>,
    /// On how many nodes.
    pub nodes: Nodes,
    /// The folder of the environment.
    pub folder: PathBuf,
    /// Where downloads are kept.
    pub cache: PathBuf,
    /// Where they are in external mode.
    pub external: Box<ExternalAddresses>,
    /// Which ports native services are given.
    pub ports: Ports,
    /// What engines need in them.
    pub provision: Provision,
}

/// What became of one service.
#[derive(Debug)]
pub struct ServiceReport {
    /// Which.
    pub kind: ServiceKind,
    /// `host:port` of each.
    pub addresses: Vec<String>,
    /// Memory of its processes where we run them.
    pub resident_bytes: Option<u64>,
    /// What was created in it.
    pub created: Vec<String>,
    /// What it is, or why it is not healthy.
    pub health: Result<Health, ServiceError>,
}

/// The services of a plan, with the right to change them.
#[derive(Debug)]
pub struct Environment {
    plan: Plan,
    folder: Folder,
    services: Vec<Box<dyn Service>>,
    kafka_listeners: Vec<KafkaListener>,
    /// Held for as long as we may change something.
    _lock: FolderLock,
}

impl Environment {
    /// Takes the folder; waits while another process changes it.
    pub async fn open(plan: Plan, progress: &Progress) -> Result<Self, ServiceError> {
        refuse_what_is_not_ours(&plan)?;
        let folder = Folder::open(&plan.folder)?;
        let told = |holder: &str| {
            progress.note(&format!("waits for {holder}, which changes {}", plan.folder.display()));
        };
        let lock = folder.lock(LOCK_PATIENCE, told).await?;
        let services = services(&plan, &folder, plan.ports, &[]).await?;
        Ok(Self { plan, folder, services, kafka_listeners: Vec::new(), _lock: lock })
    }

    /// Brings everything up, side by side, and creates what engines need. Changes nothing where all is
    /// well. One service that fails does not keep the others.
    pub async fn up(&self, progress: &Progress) -> Vec<ServiceReport> {
        if self.plan.mode == Mode::Docker
            && let Err(error) = self.containers_up(progress).await
        {
            let failed = |kind| Err(ServiceError::Refused(format!("{kind}: {error}")));
            let each = self.services.iter();
            return each
                .map(|service| report(&**service, Vec::new(), failed(service.kind())))
                .collect();
        }
        let up = self.services.iter().map(|service| self.bring_up(&**service, progress));
        let reports = join_all(up).await;
        if let Err(error) = self.note_created(&reports) {
            progress.note(&error.to_string());
        }
        reports
    }

    /// Stops what we run; the data stays. Both forms, one node and three, of each service asked for.
    pub async fn down(&self, progress: &Progress) -> Result<(), ServiceError> {
        match self.plan.mode {
            Mode::Native => {
                let services = all_forms(&self.plan, &self.folder).await?;
                let stop = services.iter().map(|service| async {
                    if service.processes().iter().any(|node| node.running().is_some()) {
                        progress.say(service.kind(), "stops");
                        service.stop().await?;
                        progress.done(service.kind(), "stopped");
                    }
                    Ok(())
                });
                join_all(stop).await.into_iter().collect()
            }
            Mode::Docker => self.compose().await?.down().await.map_err(refused),
            Mode::External => Err(ServiceError::Refused(
                "services in external mode are somebody else's: they are not stopped".into(),
            )),
        }
    }

    /// What [`Environment::wipe`] would remove, for people.
    pub async fn wipes(&self) -> Result<Vec<String>, ServiceError> {
        match self.plan.mode {
            Mode::Native => {
                let services = all_forms(&self.plan, &self.folder).await?;
                let folders = services.iter().flat_map(|service| service.processes());
                let here = folders.map(|node| node.folder()).filter(|folder| folder.exists());
                Ok(here.map(|folder| folder.display().to_string()).collect())
            }
            Mode::Docker => Ok(vec!["the volumes of the compose project chatctl-init-env".into()]),
            Mode::External => Ok(self.folder.label()?.created.into_values().flatten().collect()),
        }
    }

    /// Stops what we run and removes all that `init-env` made for the services asked for; nothing else.
    pub async fn wipe(&self, progress: &Progress) -> Result<(), ServiceError> {
        match self.plan.mode {
            Mode::Native => {
                self.down(progress).await?;
                for service in all_forms(&self.plan, &self.folder).await? {
                    service.wipe().await?;
                }
                Ok(())
            }
            Mode::Docker => self.compose().await?.wipe().await.map_err(refused),
            Mode::External => self.remove_created().await,
        }
    }

    /// Has the brokers of a Kafka of our own listen here, too, by starting them again; whenever we start one later, it does as well. They do
    /// so until somebody else starts them.
    pub async fn add_kafka_listeners(
        &mut self,
        listeners: Vec<KafkaListener>,
        progress: &Progress,
    ) -> Result<(), ServiceError> {
        self.kafka_listeners.extend(listeners);
        let again = services(&self.plan, &self.folder, Ports::Noted, &self.kafka_listeners).await?;
        for (service, again) in self.services.iter_mut().zip(again) {
            if service.kind() == ServiceKind::Kafka {
                service.stop().await?;
                *service = again;
                start(&**service, progress).await?;
            }
        }
        Ok(())
    }

    /// The services, in the order of the plan.
    pub fn services(&self) -> &[Box<dyn Service>] {
        &self.services
    }

    /// The variables that lead to these services.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        variables(&self.plan, &self.services)
    }

    async fn bring_up(&self, service: &dyn Service, progress: &Progress) -> ServiceReport {
        let kind = service.kind();
        let steps = async {
            if self.plan.mode == Mode::Native {
                progress.say(kind, "prepares");
                service.prepare(progress).await?;
                start(service, progress).await?;
            }
            let health = probe(service).await?;
            progress.say(kind, "creates what engines need, unless it is there");
            let created = service.provision(&self.plan.provision).await?;
            Ok((health, created))
        };
        match steps.await {
            Ok((health, created)) => {
                progress.done(kind, "healthy");
                report(service, created, Ok(health))
            }
            Err(error) => {
                progress.done(kind, "failed");
                report(service, Vec::new(), Err(error))
            }
        }
    }

    async fn compose(&self) -> Result<Compose, ServiceError> {
        let folder = self.folder.path().join("docker");
        Compose::open(ComposePrograms::default(), &folder).await.map_err(refused)
    }

    async fn containers_up(&self, progress: &Progress) -> Result<(), ServiceError> {
        let three = self.plan.nodes == Nodes::Three;
        let profile = |kind: &ServiceKind| match kind {
            ServiceKind::Redis => "redis",
            ServiceKind::Valkey => "valkey",
            ServiceKind::Kafka if three => "kafka-three",
            ServiceKind::Kafka => "kafka",
            ServiceKind::Cassandra if three => "cassandra-three",
            ServiceKind::Cassandra => "cassandra",
            // Refused when it was asked for: no image of it is made.
            ServiceKind::Riak => "riak",
        };
        let profiles: Vec<_> = self.plan.kinds.iter().map(profile).collect();
        self.compose().await?.up(&profiles, |text| progress.note(text)).await.map_err(refused)
    }

    /// What we create in somebody else's services is ours to remove later.
    fn note_created(&self, reports: &[ServiceReport]) -> Result<(), ServiceError> {
        if self.plan.mode != Mode::External
            || reports.iter().all(|report| report.created.is_empty())
        {
            return Ok(());
        }
        let mut label = self.folder.label()?;
        for report in reports.iter().filter(|report| !report.created.is_empty()) {
            let name = match report.kind {
                ServiceKind::Kafka => format!("topic {}", self.plan.provision.kafka_topic),
                _ => format!("keyspace {}", self.plan.provision.cassandra_keyspace),
            };
            let key = format!("{} at {}", report.kind, report.addresses.join(","));
            let noted = label.created.entry(key).or_default();
            if !noted.contains(&name) {
                noted.push(name);
            }
        }
        self.folder.write_label(&label)
    }

    async fn remove_created(&self) -> Result<(), ServiceError> {
        let mut label = self.folder.label()?;
        let access = match self.plan.mode {
            Mode::External => self.plan.external.cassandra_access.clone(),
            Mode::Native | Mode::Docker => Access::default(),
        };
        for service in &self.services {
            let key = format!("{} at {}", service.kind(), service.addresses().join(","));
            for name in label.created.get(&key).cloned().unwrap_or_default() {
                if let Some(topic) = name.strip_prefix("topic ") {
                    let brokers = match self.plan.mode {
                        Mode::External => self.plan.external.kafka.clone(),
                        Mode::Native | Mode::Docker => service.addresses().into(),
                    };
                    KafkaService::at(brokers).delete_topic(topic).await?;
                } else if let Some(keyspace) = name.strip_prefix("keyspace ") {
                    let cassandra = CassandraService::at(service.addresses(), access.clone());
                    cassandra.drop_keyspace(keyspace).await?;
                }
            }
            label.created.remove(&key);
            self.folder.write_label(&label)?;
        }
        Ok(())
    }
}

/// Looks at the services of a plan without the right to change anything, and without making a folder.
pub async fn check(plan: &Plan) -> Result<Vec<ServiceReport>, ServiceError> {
    refuse_what_is_not_ours(plan)?;
    let services = match (plan.mode, Folder::find(&plan.folder)) {
        (Mode::Native, None) => {
            return Err(ServiceError::Refused(format!(
                "{} holds no environment; run: chatctl init-env",
                plan.folder.display()
            )));
        }
        (Mode::Native, Some(folder)) => services(plan, &folder, Ports::Noted, &[]).await?,
        (Mode::Docker | Mode::External, _) => elsewhere(plan)?,
    };
    let look = services
        .iter()
        .map(|service| async { report(&**service, Vec::new(), probe(&**service).await) });
    Ok(join_all(look).await)
}

/// What only somebody else can run is there in external mode only.
fn refuse_what_is_not_ours(plan: &Plan) -> Result<(), ServiceError> {
    match plan.mode != Mode::External && plan.kinds.contains(&ServiceKind::Riak) {
        true => Err(RiakService::not_ours(&plan.external.riak_bucket_type)),
        false => Ok(()),
    }
}

fn refused(error: impl std::fmt::Display) -> ServiceError {
    ServiceError::Refused(error.to_string())
}

/// Starts a service. A process that was found running may be on its way out, killed or told to end a moment ago: when it
/// ends while we wait for it, its node is started like one that was down. One that we started and that ends is an error.
async fn start(service: &dyn Service, progress: &Progress) -> Result<(), ServiceError> {
    let mut found: Vec<_> = service.processes().iter().map(NodeProcess::running).collect();
    loop {
        let Err(error) = service.start(progress).await else { return Ok(()) };
        let mut went = false;
        for (pid, node) in found.iter_mut().zip(service.processes()) {
            if pid.is_some() && node.running() != *pid {
                (*pid, went) = (None, true);
            }
        }
        if !went {
            return Err(error);
        }
    }
}

async fn probe(service: &dyn Service) -> Result<Health, ServiceError> {
    let slow = || {
        let address = service.addresses().join(",");
        let reason = format!("no answer within {} s", PROBE_LIMIT.as_secs());
        ServiceError::Unhealthy { service: service.kind(), address, reason }
    };
    timeout(PROBE_LIMIT, service.probe()).await.unwrap_or_else(|_| Err(slow()))
}

fn report(
    service: &dyn Service,
    created: Vec<String>,
    health: Result<Health, ServiceError>,
) -> ServiceReport {
    let addresses = service.addresses();
    let resident = service.processes().iter().map(|node| node.resident_bytes());
    ServiceReport {
        kind: service.kind(),
        addresses,
        resident_bytes: resident.fold(None, |sum, bytes| Some(sum.unwrap_or(0) + bytes?)),
        created,
        health,
    }
}

async fn services(
    plan: &Plan,
    folder: &Folder,
    ports: Ports,
    kafka_listeners: &[KafkaListener],
) -> Result<Vec<Box<dyn Service>>, ServiceError> {
    if plan.mode != Mode::Native {
        return elsewhere(plan);
    }
    let mut native = NativeServices::new(folder, artifacts(&plan.cache))?
        .with_kafka_listeners(kafka_listeners.to_vec());
    let mut made = Vec::new();
    for &kind in &plan.kinds {
        made.push(native.make(kind, plan.nodes, ports).await?);
    }
    if !matches!(ports, Ports::Noted) {
        native.note()?;
    }
    Ok(made)
}

/// One node and three of each service of the plan, wherever they were last.
async fn all_forms(plan: &Plan, folder: &Folder) -> Result<Vec<Box<dyn Service>>, ServiceError> {
    let mut native = NativeServices::new(folder, artifacts(&plan.cache))?;
    let mut made = Vec::new();
    for &kind in &plan.kinds {
        made.push(native.make(kind, Nodes::One, Ports::Noted).await?);
        if matches!(kind, ServiceKind::Kafka | ServiceKind::Cassandra) {
            made.push(native.make(kind, Nodes::Three, Ports::Noted).await?);
        }
    }
    Ok(made)
}

fn artifacts(cache: &Path) -> Arc<Artifacts> {
    Arc::new(Artifacts::new(cache.to_owned()))
}

/// Services that need nothing of us but their addresses.
fn elsewhere(plan: &Plan) -> Result<Vec<Box<dyn Service>>, ServiceError> {
    let docker = plan.mode == Mode::Docker;
    let local = |ports: &[u16]| -> Vec<String> {
        ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
    };
    let make = |&kind: &ServiceKind| -> Result<Box<dyn Service>, ServiceError> {
        Ok(match kind {
            ServiceKind::Redis if docker => {
                Box::new(RedisService::at(kind, "redis://127.0.0.1:16379", None)?)
            }
            ServiceKind::Valkey if docker => {
                Box::new(RedisService::at(kind, "redis://127.0.0.1:16380", None)?)
            }
            ServiceKind::Redis | ServiceKind::Valkey => Box::new(RedisService::at(
                kind,
                &plan.external.redis_url,
                plan.external.redis_authority.as_deref(),
            )?),
            ServiceKind::Kafka => Box::new(KafkaService::at(match (docker, plan.nodes) {
                (false, _) => plan.external.kafka.clone(),
                (true, Nodes::One) => local(&[19_092]).into(),
                (true, Nodes::Three) => local(&[19_102, 19_112, 19_122]).into(),
            })),
            ServiceKind::Cassandra => {
                let (addresses, access) = match (docker, plan.nodes) {
                    (false, _) => {
                        (plan.external.cassandra.clone(), plan.external.cassandra_access.clone())
                    }
                    (true, Nodes::One) => (local(&[9042]), Access::default()),
                    (true, Nodes::Three) => {
                        let three = super::compose::CASSANDRA_THREE.map(str::to_owned);
                        (three.to_vec(), Access::default())
                    }
                };
                Box::new(CassandraService::at(addresses, access))
            }
            ServiceKind::Riak => {
                let external = &plan.external;
                let (url, kind) = (external.riak_url.clone(), external.riak_bucket_type.clone());
                Box::new(RiakService::at(url, kind))
            }
        })
    };
    plan.kinds.iter().map(make).collect()
}

fn variables(plan: &Plan, services: &[Box<dyn Service>]) -> Vec<(&'static str, String)> {
    let find = |kind| services.iter().find(|service| service.kind() == kind);
    let mut variables = Vec::new();
    // Valkey only where no Redis was asked for.
    if let Some(redis) = find(ServiceKind::Redis).or_else(|| find(ServiceKind::Valkey)) {
        let url = match plan.mode {
            Mode::External => plan.external.redis_url.clone(),
            Mode::Native | Mode::Docker => format!("redis://{}", redis.addresses().join(",")),
        };
        variables.push(("REDIS_URL", url));
    }
    if let Some(kafka) = find(ServiceKind::Kafka) {
        variables.push(("KAFKA_BROKERS", kafka.addresses().join(",")));
    }
    if let Some(cassandra) = find(ServiceKind::Cassandra) {
        variables.push(("CASSANDRA_HOSTS", cassandra.addresses().join(",")));
        variables.push(("CASSANDRA_KEYSPACE", plan.provision.cassandra_keyspace.clone()));
    }
    if find(ServiceKind::Riak).is_some() {
        variables.push(("RIAK_URL", plan.external.riak_url.clone()));
        variables.push(("CHATCTL_RIAK_BUCKET_TYPE", plan.external.riak_bucket_type.clone()));
    }
    variables
}
