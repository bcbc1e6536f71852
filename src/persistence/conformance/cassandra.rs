//! Where the suite gets CASSANDRA engines from: one node for all suites, a keyspace for each.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tempfile::TempDir;

use super::service::{Guard, ServiceFactory, Store, blocking, is_ci};
use crate::cassandra_link::Cluster;
use crate::config;
use crate::persistence::Persistence;
use crate::persistence::cassandra::{CassandraSettings, SCHEMA, open};
use crate::services::{
    Artifacts, CassandraNode, CassandraService, CommitlogSync, NodeProcess, Progress, Provision,
    SchemaFile, Service as _, free_port,
};

/// As `init-env` makes them.
const TABLES: &[SchemaFile] = &[SchemaFile { version: SCHEMA[0].0, cql: SCHEMA[0].1 }];

/// Java heap of a node.
const HEAP_MB: u32 = 512;

/// Nodes of our own: on loopback, in a folder of their own, ended with this process.
pub struct Ring {
    service: CassandraService,
    copies: u32,
    guards: Vec<Guard>,
    folder: TempDir,
}

impl Ring {
    /// Starts one node or three. `None` where what they need is not there; an error in CI.
    pub fn start(nodes: u8, commitlog_sync: CommitlogSync) -> Option<Self> {
        match blocking(Self::try_start(nodes, commitlog_sync)) {
            Ok(ring) => Some(ring),
            Err(reason) => {
                assert!(!is_ci(), "cassandra: {reason}");
                eprintln!("LEFT OUT: everything on cassandra, for {reason}");
                None
            }
        }
    }

    async fn try_start(nodes: u8, commitlog_sync: CommitlogSync) -> Result<Self, String> {
        /// Rings of one process differ in their hosts.
        static RINGS: AtomicU32 = AtomicU32::new(0);
        let cache = config::cache_folder().ok_or("there is no home folder to keep programs in")?;
        let folder =
            TempDir::with_prefix("chatctl-cassandra").map_err(|error| error.to_string())?;
        let ring = RINGS.fetch_add(1, Ordering::Relaxed) as u8 + 32;
        let hosts: Vec<_> = (1..=nodes).map(|node| Ipv4Addr::new(127, 0, ring, node)).collect();
        let listened: Vec<_> = hosts.iter().map(|&host| host.into()).collect();
        let port = || free_port(&listened, None).map_err(|error| error.to_string());
        let (cql_port, storage_port) = (port()?, port()?);
        let node = |host| CassandraNode { host, cql_port, storage_port };
        let service = CassandraService::native(crate::services::CassandraSettings {
            folder: folder.path().to_owned(),
            artifacts: Arc::new(Artifacts::new(cache)),
            nodes: hosts.into_iter().map(node).collect(),
            heap_mb: HEAP_MB,
            commitlog_sync,
        });
        service.prepare(&Progress::silent()).await.map_err(|error| error.to_string())?;
        // From here on a failure is one of the node, not of what is installed.
        let mut ring = Self { service, copies: nodes.into(), guards: Vec::new(), folder };
        ring.serve().await;
        Ok(ring)
    }

    /// Starts what does not run.
    pub async fn serve(&mut self) {
        self.service.start(&Progress::silent()).await.expect("the nodes start");
        // Those of nodes that were killed, among others.
        self.guards.drain(..).for_each(Guard::forget);
        let guard =
            |node: &NodeProcess| Guard::new(node.running().expect("it runs"), self.folder.path());
        self.guards = self.service.processes().iter().map(guard).collect();
    }

    /// Its nodes.
    pub fn nodes(&self) -> &[NodeProcess] {
        self.service.processes()
    }

    /// Where they are.
    pub fn cluster(&self) -> Cluster {
        Cluster { hosts: self.service.addresses(), datacenter: None }
    }

    /// A keyspace that nobody else has.
    pub async fn keyspace(&self, bucket_rows: u64) -> CassandraSettings {
        static KEYSPACES: AtomicU32 = AtomicU32::new(0);
        let keyspace = format!("chat_{}", KEYSPACES.fetch_add(1, Ordering::Relaxed));
        let provision = Provision {
            kafka_topic: String::new(),
            kafka_partitions: 1,
            cassandra_keyspace: keyspace.clone(),
            cassandra_replication: self.copies,
            cassandra_schema: TABLES,
        };
        self.service.provision(&provision).await.expect("the tables are made");
        let settings = CassandraSettings::new(self.cluster(), keyspace);
        CassandraSettings { bucket_rows, ..settings }
    }
}

/// Engines over one keyspace of a shared node.
pub type CassandraFactory = ServiceFactory<CassandraSettings>;

impl CassandraFactory {
    /// With buckets as they usually are.
    pub fn usual() -> Self {
        static SETTINGS: OnceLock<Option<CassandraSettings>> = OnceLock::new();
        Self::over(&SETTINGS, 512)
    }

    /// With buckets so small that every case crosses their borders.
    pub fn small_buckets() -> Self {
        static SETTINGS: OnceLock<Option<CassandraSettings>> = OnceLock::new();
        Self::over(&SETTINGS, 16)
    }

    fn over(settings: &'static OnceLock<Option<CassandraSettings>>, bucket_rows: u64) -> Self {
        static SHARED: OnceLock<Option<Ring>> = OnceLock::new();
        let settings = settings.get_or_init(|| {
            let ring = SHARED.get_or_init(|| Ring::start(1, CommitlogSync::Periodic)).as_ref()?;
            Some(blocking(ring.keyspace(bucket_rows)))
        });
        Self::new(settings.clone())
    }
}

#[async_trait]
impl Store for CassandraSettings {
    async fn engine(&self) -> Arc<dyn Persistence> {
        open(self.clone()).await.expect("the node runs")
    }
}
