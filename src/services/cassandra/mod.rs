//! Cassandra: ours, on one node or three, or somebody else's.

mod client;
mod recipe;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
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
use crate::cassandra_link::Access;
use client::CassandraClient;

pub use recipe::CommitlogSync;

const KIND: ServiceKind = ServiceKind::Cassandra;

/// Three take 16–32 s; longer where other services start beside them.
const START_LIMIT: Duration = Duration::from_secs(150);

/// It drains when it is asked to end.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// A Cassandra.
#[derive(Debug)]
pub struct CassandraService {
    client: CassandraClient,
    native: Option<Native>,
}

/// How we run one ourselves.
#[derive(Debug, Clone)]
pub struct CassandraSettings {
    /// For the files of all nodes.
    pub folder: PathBuf,
    /// Where the jars come from.
    pub artifacts: Arc<Artifacts>,
    /// One or three.
    pub nodes: Vec<CassandraNode>,
    /// Java heap of each node.
    pub heap_mb: u32,
    /// When a write is acknowledged.
    pub commitlog_sync: CommitlogSync,
    /// How to get in. With a user the nodes ask for one; they know `cassandra`, whose password is the same.
    pub access: Access,
    /// A key and its certificate in one file, and a file of who issued it, both in PEM form: clients then come over TLS.
    pub encryption: Option<[PathBuf; 2]>,
}

/// Where a node listens. The nodes of a ring differ in their host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CassandraNode {
    /// A loopback address.
    pub host: Ipv4Addr,
    /// Of clients.
    pub cql_port: u16,
    /// Of the other nodes.
    pub storage_port: u16,
}

#[derive(Debug)]
struct Native {
    settings: CassandraSettings,
    processes: Vec<NodeProcess>,
}

impl CassandraService {
    /// One that somebody else runs, at `host:port` addresses.
    pub fn at(addresses: Vec<String>, access: Access) -> Self {
        Self { client: CassandraClient::new(addresses, access), native: None }
    }

    /// Our own.
    pub fn native(settings: CassandraSettings) -> Self {
        let addresses: Vec<_> =
            settings.nodes.iter().map(|node| format!("{}:{}", node.host, node.cql_port)).collect();
        let process = |(index, address): (usize, &String)| {
            let folder = settings.folder.join(format!("node-{}", index + 1));
            NodeProcess::new(KIND, folder, address.clone())
        };
        let processes = addresses.iter().enumerate().map(process).collect();
        Self {
            client: CassandraClient::new(addresses, settings.access.clone()),
            native: Some(Native { settings, processes }),
        }
    }

    /// Removes a keyspace with all that is in it; nothing when there is none.
    pub async fn drop_keyspace(&self, keyspace: &str) -> Result<(), ServiceError> {
        self.client.drop_keyspace(keyspace).await
    }

    fn ours(&self) -> Result<&Native, ServiceError> {
        self.native.as_ref().ok_or_else(|| {
            ServiceError::Refused(format!(
                "cassandra at {} is run by somebody else: it is neither started nor stopped",
                self.client.shown()
            ))
        })
    }
}

impl Native {
    async fn jars(&self, progress: &Progress) -> Result<PathBuf, ServiceError> {
        let coordinates = [("org.apache.cassandra:cassandra-all", version("CASSANDRA_VERSION"))];
        self.settings.artifacts.maven(KIND, "cassandra", &coordinates, progress).await
    }
}

#[async_trait]
impl Service for CassandraService {
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
            progress.say(KIND, format!("starts at {}", self.client.shown()));
            for &index in &down {
                let node = &native.processes[index];
                let recipe = recipe::prepare(&native.settings, index, node.folder(), &java, &jars)?;
                node.spawn(&recipe)?;
            }
        }
        // Every one must know all others before any is used: with one of three known, conditional writes
        // on a keyspace of three replicas succeed, on one.
        let nodes = native.processes.len();
        let wait = |process| {
            NodeProcess::wait_until_serving(process, START_LIMIT, || async {
                client::ring_is_whole(process.address(), nodes, &native.settings.access).await
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
        self.client.health().await
    }

    async fn provision(&self, provision: &Provision) -> Result<Vec<String>, ServiceError> {
        self.client
            .provide_keyspace(
                &provision.cassandra_keyspace,
                provision.cassandra_replication,
                provision.cassandra_schema,
            )
            .await
    }

    async fn stop(&self) -> Result<(), ServiceError> {
        try_join_all(self.ours()?.processes.iter().map(|node| node.stop(STOP_GRACE)))
            .await
            .map(drop)
    }

    async fn wipe(&self) -> Result<(), ServiceError> {
        let native = self.ours()?;
        if native.processes.iter().any(|node| node.running().is_some()) {
            return Err(ServiceError::Refused(
                "cassandra still runs on the data that is to be wiped; stop it first: chatctl init-env --down".to_owned(),
            ));
        }
        remove_folder(&native.settings.folder)
    }
}
