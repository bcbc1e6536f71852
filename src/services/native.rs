//! The native services of a folder: where their files are and on which addresses they listen.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::{
    Artifacts, CassandraNode, CassandraService, CassandraSettings, CommitlogSync, Folder,
    KafkaListener, KafkaNode, KafkaService, KafkaSettings, Nodes, RedisService, RiakService,
    Service, ServiceError, ServiceKind, free_port, ports::port_freed,
};
use crate::cassandra_link::Access;

/// Java heap of a broker: it takes 200–245 MB of memory in all.
const KAFKA_HEAP_MB: u32 = 256;

/// Java heap of a Cassandra node: it takes 840–900 MB of memory in all. With one node each, and Redis, that is below 1.5 GiB;
/// with three below 4 GiB.
const CASSANDRA_HEAP_MB: u32 = 512;

/// Ports of services that run here, by listener. The first port of a listener is what documents name; where another process
/// has it, one is chosen, noted in the label, and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// As noted, whether free or not: to find what runs.
    Noted,
    /// As noted, unless that is taken while the service is down: to start it.
    Free,
    /// Any free ones at the first time: for tests beside an environment in use.
    FreshFirst,
}

/// Makes the services of a folder.
#[derive(Debug)]
pub struct NativeServices<'a> {
    folder: &'a Folder,
    artifacts: Arc<Artifacts>,
    noted: BTreeMap<String, u16>,
    kafka_listeners: Vec<KafkaListener>,
    changed: bool,
}

impl<'a> NativeServices<'a> {
    /// Reads which ports were chosen before.
    pub fn new(folder: &'a Folder, artifacts: Arc<Artifacts>) -> Result<Self, ServiceError> {
        let noted = folder.label()?.ports;
        Ok(Self { folder, artifacts, noted, kafka_listeners: Vec::new(), changed: false })
    }

    /// With these listeners of Kafka's brokers besides those that each has.
    pub fn with_kafka_listeners(self, kafka_listeners: Vec<KafkaListener>) -> Self {
        Self { kafka_listeners, ..self }
    }

    /// One service. With [`Ports::Noted`] nothing is written; otherwise call [`NativeServices::note`] before it is started.
    pub async fn make(
        &mut self,
        kind: ServiceKind,
        nodes: Nodes,
        ports: Ports,
    ) -> Result<Box<dyn Service>, ServiceError> {
        let noted = self.build(kind, nodes, Ports::Noted).await?;
        if matches!(ports, Ports::Noted)
            || noted.processes().iter().any(|node| node.running().is_some())
        {
            return Ok(noted);
        }
        self.build(kind, nodes, ports).await
    }

    /// Writes the chosen ports into the label. Only with the folder's lock in hand.
    pub fn note(&mut self) -> Result<(), ServiceError> {
        if self.changed {
            let label = self.folder.label()?;
            self.folder.write_label(&super::Label { ports: self.noted.clone(), ..label })?;
            self.changed = false;
        }
        Ok(())
    }

    async fn build(
        &mut self,
        kind: ServiceKind,
        nodes: Nodes,
        ports: Ports,
    ) -> Result<Box<dyn Service>, ServiceError> {
        let local = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let artifacts = Arc::clone(&self.artifacts);
        let folder = self.folder.path().join(folder_name(kind, nodes));
        Ok(match kind {
            ServiceKind::Redis | ServiceKind::Valkey => {
                let preferred = if kind == ServiceKind::Redis { 16_379 } else { 16_380 };
                let port = self.port(kind.name().to_owned(), &local, preferred, ports).await?;
                Box::new(RedisService::native(kind, folder, port, artifacts)?)
            }
            ServiceKind::Kafka => {
                let first = if nodes == Nodes::One { 19_092 } else { 19_102 };
                let mut chosen = Vec::new();
                for (index, base) in (first..).step_by(10).take(nodes.count()).enumerate() {
                    let name = format!("{}/{}", folder_name(kind, nodes), index + 1);
                    let controller = format!("{name}/controller");
                    chosen.push(KafkaNode {
                        port: self.port(name, &local, base, ports).await?,
                        controller_port: self.port(controller, &local, base + 1, ports).await?,
                    });
                }
                let heap_mb = KAFKA_HEAP_MB;
                let listeners = self.kafka_listeners.clone();
                let settings = KafkaSettings {
                    folder,
                    artifacts,
                    nodes: chosen,
                    listeners,
                    heap_mb,
                    users: Vec::new(),
                    properties: String::new(),
                };
                Box::new(KafkaService::native(settings))
            }
            ServiceKind::Cassandra => {
                // The nodes of a ring share their ports and differ in their address; a ring of one must not be
                // mistaken for a node of the ring of three.
                let first: u8 = if nodes == Nodes::One { 1 } else { 11 };
                let hosts: Vec<_> = (first..)
                    .take(nodes.count())
                    .map(|last| Ipv4Addr::new(127, 0, 0, last))
                    .collect();
                let listened: Vec<_> = hosts.iter().copied().map(IpAddr::V4).collect();
                let name = folder_name(kind, nodes);
                let storage = format!("{name}/storage");
                let cql_port = self.port(name, &listened, 9042, ports).await?;
                let storage_port = self.port(storage, &listened, 7000, ports).await?;
                let node = |host| CassandraNode { host, cql_port, storage_port };
                let nodes = hosts.into_iter().map(node).collect();
                Box::new(CassandraService::native(CassandraSettings {
                    folder,
                    artifacts,
                    nodes,
                    heap_mb: CASSANDRA_HEAP_MB,
                    commitlog_sync: CommitlogSync::Batch,
                    access: Access::default(),
                    encryption: None,
                }))
            }
            ServiceKind::Riak => return Err(RiakService::not_ours("chatctl")),
        })
    }

    async fn port(
        &mut self,
        listener: String,
        hosts: &[IpAddr],
        preferred: u16,
        ports: Ports,
    ) -> Result<u16, ServiceError> {
        let noted = self.noted.get(&listener).copied();
        let wanted = match ports {
            Ports::Noted => return Ok(noted.unwrap_or(preferred)),
            Ports::Free => Some(noted.unwrap_or(preferred)),
            Ports::FreshFirst => noted,
        };
        if let Some(port) = noted
            && port_freed(hosts, port).await
        {
            return Ok(port);
        }
        let port = free_port(hosts, wanted).map_err(|error| {
            ServiceError::Refused(format!("no free port for {listener} on {hosts:?}: {error}"))
        })?;
        if noted != Some(port) {
            self.noted.insert(listener, port);
            self.changed = true;
        }
        Ok(port)
    }
}

/// Of the data of a service; one node and three are kept apart.
fn folder_name(kind: ServiceKind, nodes: Nodes) -> String {
    match kind {
        ServiceKind::Redis | ServiceKind::Valkey => kind.name().to_owned(),
        ServiceKind::Kafka | ServiceKind::Cassandra | ServiceKind::Riak => {
            format!("{kind}-{}", nodes.count())
        }
    }
}
