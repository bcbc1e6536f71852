//! Where the suite gets CASSANDRA engines from: one node for all suites, a keyspace for each.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use super::service::{Own, ServiceFactory, Store, blocking, free_port_on};
use crate::cassandra_link::{Access, Cluster};
use crate::persistence::Persistence;
use crate::persistence::cassandra::{CassandraSettings, SCHEMA, open};
use crate::services::{
    CassandraNode, CassandraService, CommitlogSync, NodeProcess, Provision, SchemaFile,
    Service as _,
};

/// As `init-env` makes them.
pub const TABLES: &[SchemaFile] = &[
    SchemaFile { version: SCHEMA[0].0, cql: SCHEMA[0].1 },
    SchemaFile { version: SCHEMA[1].0, cql: SCHEMA[1].1 },
];

/// Java heap of a node.
const HEAP_MB: u32 = 512;

/// Nodes of our own.
pub struct Ring {
    own: Own<CassandraService>,
    copies: u32,
    access: Access,
}

impl Ring {
    /// Starts one node or three. `None` where what they need is not there; an error in CI.
    pub fn start(nodes: u8, commitlog_sync: CommitlogSync) -> Option<Self> {
        Self::start_guarded(nodes, commitlog_sync, Access::default(), |_| None)
    }

    /// The same, and not everybody gets in; `encrypt` tells the files of TLS of its hosts.
    pub fn start_guarded(
        nodes: u8,
        commitlog_sync: CommitlogSync,
        access: Access,
        encrypt: impl FnOnce(&[Ipv4Addr]) -> Option<[PathBuf; 2]> + Send,
    ) -> Option<Self> {
        /// Rings of one process differ in their hosts.
        static RINGS: AtomicU32 = AtomicU32::new(0);
        let ring = RINGS.fetch_add(1, Ordering::Relaxed) as u8 + 32;
        let hosts: Vec<_> = (1..=nodes).map(|node| Ipv4Addr::new(127, 0, ring, node)).collect();
        let listened: Vec<_> = hosts.iter().map(|&host| host.into()).collect();
        let encryption = encrypt(&hosts);
        let guarded = access.clone();
        let own = Own::start("cassandra", |folder, artifacts| {
            let (cql_port, storage_port) = (free_port_on(&listened)?, free_port_on(&listened)?);
            let node = |host| CassandraNode { host, cql_port, storage_port };
            Ok(CassandraService::native(crate::services::CassandraSettings {
                folder: folder.to_owned(),
                artifacts,
                nodes: hosts.into_iter().map(node).collect(),
                heap_mb: HEAP_MB,
                commitlog_sync,
                access: access.clone(),
                encryption,
            }))
        })?;
        Some(Self { own, copies: nodes.into(), access: guarded })
    }

    /// Starts what does not run.
    pub async fn serve(&mut self) {
        self.own.serve().await;
    }

    /// Its nodes.
    pub fn nodes(&self) -> &[NodeProcess] {
        self.own.service().processes()
    }

    /// Where they are.
    pub fn cluster(&self) -> Cluster {
        let (hosts, access) = (self.own.service().addresses(), self.access.clone());
        Cluster { hosts, access, ..Cluster::default() }
    }

    /// A keyspace that nobody else has.
    pub async fn keyspace(&self, bucket_rows: u64) -> CassandraSettings {
        self.keyspace_of(bucket_rows, TABLES).await
    }

    /// The same with these tables.
    pub async fn keyspace_of(
        &self,
        bucket_rows: u64,
        tables: &'static [SchemaFile],
    ) -> CassandraSettings {
        static KEYSPACES: AtomicU32 = AtomicU32::new(0);
        let keyspace = format!("chat_{}", KEYSPACES.fetch_add(1, Ordering::Relaxed));
        self.provide(&keyspace, tables).await;
        let settings = CassandraSettings::new(self.cluster(), keyspace);
        CassandraSettings { bucket_rows, ..settings }
    }

    /// Makes a keyspace and those of its tables that are not there.
    pub async fn provide(&self, keyspace: &str, tables: &'static [SchemaFile]) {
        let provision = Provision {
            kafka_topic: String::new(),
            kafka_partitions: 1,
            cassandra_keyspace: keyspace.to_owned(),
            cassandra_replication: self.copies,
            cassandra_schema: tables,
        };
        self.own.service().provision(&provision).await.expect("the tables are made");
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
