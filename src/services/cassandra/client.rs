//! What is asked of a Cassandra, whoever runs it.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::ExecutionError;
use scylla::policies::host_filter::AllowListHostFilter;
use scylla::response::query_result::QueryResult;
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;

use super::KIND;
use crate::cassandra_link::Access;
use crate::services::{Health, SchemaFile, ServiceError};

const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A change of the schema takes up to 2 s on three nodes of a busy machine.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

const SCHEMA_VERSION_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_version \
     (version int PRIMARY KEY, applied_at timestamp)";

#[derive(Debug)]
pub(super) struct CassandraClient {
    addresses: Vec<String>,
    access: Access,
}

impl CassandraClient {
    pub(super) fn new(addresses: Vec<String>, access: Access) -> Self {
        Self { addresses, access }
    }

    pub(super) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub(super) fn shown(&self) -> String {
        self.addresses.join(",")
    }

    /// What each node says of itself; an error when one does not answer or does not know all of the others.
    pub(super) async fn health(&self) -> Result<Health, ServiceError> {
        let expected = self.addresses.len();
        let ask = |address: &'_ String| {
            let address = address.clone();
            async move {
                let node = describe(&address, &self.access).await;
                node.map_err(ServiceError::unhealthy(KIND, &address)).map(|node| (address, node))
            }
        };
        let nodes = try_join_all(self.addresses.iter().map(ask)).await?;
        for (address, node) in &nodes {
            if node.ring < expected {
                let reason = format!("it knows {} of {expected} nodes", node.ring);
                return Err(ServiceError::unhealthy(KIND, address)(reason));
            }
        }
        let Some((_, node)) = nodes.first() else {
            return Err(self.unhealthy("no address is given"));
        };
        if let Some((address, other)) = nodes.iter().find(|(_, other)| other.sync != node.sync) {
            let reason = format!("commitlog_sync {} here and {} elsewhere", other.sync, node.sync);
            return Err(ServiceError::unhealthy(KIND, address)(reason));
        }
        let (count, nodes) = (node.ring, if node.ring == 1 { "node" } else { "nodes" });
        Ok(Health {
            version: Some(node.version.clone()),
            durability: format!("{count} {nodes}, commitlog_sync {}", node.sync),
        })
    }

    /// Creates a keyspace and its tables up to the newest version, unless they are there. The result names what was created.
    pub(super) async fn provide_keyspace(
        &self,
        keyspace: &str,
        replication: u32,
        schema: &[SchemaFile],
    ) -> Result<Vec<String>, ServiceError> {
        self.check_name(keyspace)?;
        let session = self.session().await?;
        let mut created = Vec::new();
        match factor(&session, keyspace).await.map_err(self.failed())? {
            None => {
                let statement = format!(
                    "CREATE KEYSPACE IF NOT EXISTS \"{keyspace}\" WITH replication = \
                     {{'class': 'SimpleStrategy', 'replication_factor': {replication}}} AND durable_writes = true"
                );
                query(&session, statement).await.map_err(self.failed())?;
                created.push(format!("keyspace {keyspace}"));
            }
            Some(found) if found == replication.to_string() => {}
            Some(found) => {
                return Err(self.unhealthy(&format!(
                    "keyspace {keyspace} has replication {found} and should have {replication}; name another \
                     keyspace (CASSANDRA_KEYSPACE), or alter this one and repair it, or drop it"
                )));
            }
        }
        session.use_keyspace(keyspace, true).await.map_err(self.failed())?;
        query(&session, SCHEMA_VERSION_TABLE).await.map_err(self.failed())?;
        session.await_schema_agreement().await.map_err(self.failed())?;
        let applied = applied(&session).await.map_err(self.failed())?;
        let known = schema.iter().map(|file| file.version).max().unwrap_or(0);
        if let Some(newer) = applied.iter().find(|&&version| i64::from(version) > i64::from(known))
        {
            return Err(self.unhealthy(&format!(
                "keyspace {keyspace} has tables of version {newer}, made by a newer chatctl; this one knows {known}: use that one, or another CASSANDRA_KEYSPACE"
            )));
        }
        // Recorded too, so that an empty schema also proves that all replicas take writes.
        let base = SchemaFile { version: 0, cql: "" };
        for file in std::iter::once(&base).chain(schema) {
            let Ok(version) = i32::try_from(file.version) else { continue };
            if applied.contains(&version) {
                continue;
            }
            for statement in statements(file.cql) {
                query(&session, statement).await.map_err(self.failed())?;
            }
            session.await_schema_agreement().await.map_err(self.failed())?;
            let mut record = Statement::new(format!(
                "INSERT INTO schema_version (version, applied_at) VALUES ({version}, toTimestamp(now()))"
            ));
            record.set_consistency(Consistency::All);
            query(&session, record).await.map_err(self.failed())?;
            if version > 0 {
                created.push(format!("tables of {keyspace}, version {version}"));
            }
        }
        Ok(created)
    }

    /// Removes a keyspace; nothing when there is none.
    pub(super) async fn drop_keyspace(&self, keyspace: &str) -> Result<(), ServiceError> {
        self.check_name(keyspace)?;
        let session = self.session().await?;
        let statement = format!("DROP KEYSPACE IF EXISTS \"{keyspace}\"");
        query(&session, statement).await.map_err(self.failed())?;
        Ok(())
    }

    /// It goes into statements as it is.
    fn check_name(&self, keyspace: &str) -> Result<(), ServiceError> {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if (1..=48).contains(&keyspace.len()) && keyspace.chars().all(allowed) {
            return Ok(());
        }
        Err(self.unhealthy(&format!(
            "{keyspace:?} is no name for a keyspace; use up to 48 letters, digits and _"
        )))
    }

    async fn session(&self) -> Result<Session, ServiceError> {
        connect(&self.addresses, &self.access).await.map_err(|reason| self.unhealthy(&reason))
    }

    fn failed<E: std::fmt::Display>(&self) -> impl Fn(E) -> ServiceError {
        |error| self.unhealthy(&error.to_string())
    }

    fn unhealthy(&self, reason: &str) -> ServiceError {
        ServiceError::unhealthy(KIND, &self.shown())(reason)
    }
}

/// What a node says of itself.
struct Node {
    version: String,
    sync: String,
    /// Nodes with tokens that it knows, itself among them.
    ring: usize,
}

/// Whether the node of `address` answers and knows as many nodes with their tokens.
pub(super) async fn ring_is_whole(
    address: &str,
    nodes: usize,
    access: &Access,
) -> Result<(), String> {
    // Cheaper than a session, while nobody listens.
    tokio::net::TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let session = connect(&[address.to_owned()], access).await?;
    let found = ring(&session).await.map_err(|error| error.to_string())?;
    (found == nodes).then_some(()).ok_or(format!("it knows {found} of {nodes} nodes"))
}

async fn describe(address: &str, access: &Access) -> Result<Node, String> {
    let session = connect(&[address.to_owned()], access).await?;
    let ask = async {
        let rows = query(&session, "SELECT release_version FROM system.local").await?;
        let (version,) = rows.into_rows_result()?.single_row::<(String,)>()?;
        let settings = query(&session, "SELECT name, value FROM system_views.settings");
        let settings = settings.await?.into_rows_result()?;
        let settings: BTreeMap<_, _> =
            settings.rows::<(String, Option<String>)>()?.collect::<Result<_, _>>()?;
        let setting = |name| settings.get(name).cloned().flatten();
        let mode = setting("commitlog_sync").unwrap_or_else(|| "?".to_owned());
        let every = match mode.as_str() {
            "periodic" => setting("commitlog_sync_period"),
            "group" => setting("commitlog_sync_group_window"),
            _ => None,
        };
        let sync = every.map_or(mode.clone(), |every| format!("{mode} {every}"));
        Ok(Node { version, sync, ring: ring(&session).await? })
    };
    ask.await.map_err(|error: Failure| error.to_string())
}

/// A request of the driver weighs kilobytes; boxed here, it does not weigh on everything that asks.
async fn query(
    session: &Session,
    statement: impl Into<Statement>,
) -> Result<QueryResult, ExecutionError> {
    Box::pin(session.query_unpaged(statement, ())).await
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn ring(session: &Session) -> Result<usize, Failure> {
    let rows = query(session, "SELECT tokens FROM system.peers_v2").await?;
    let rows = rows.into_rows_result()?;
    let peers: Vec<_> = rows.rows::<(Option<Vec<String>>,)>()?.collect::<Result<_, _>>()?;
    let with_tokens = |(tokens,): &&(Option<Vec<String>>,)| {
        tokens.as_ref().is_some_and(|tokens| !tokens.is_empty())
    };
    Ok(1 + peers.iter().filter(with_tokens).count())
}

/// The replication factor of a keyspace, or all its replication where there is more to it; `None` when there is no keyspace.
async fn factor(session: &Session, keyspace: &str) -> Result<Option<String>, Failure> {
    let statement = format!(
        "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace}'"
    );
    let rows = query(session, statement).await?.into_rows_result()?;
    let row = rows.maybe_first_row::<(HashMap<String, String>,)>()?;
    Ok(row.map(|(mut replication,)| {
        replication.remove("class");
        let factors: BTreeMap<_, _> = replication.into_iter().collect();
        match factors.get("replication_factor") {
            Some(factor) if factors.len() == 1 => factor.clone(),
            _ => format!("{factors:?}"),
        }
    }))
}

async fn applied(session: &Session) -> Result<Vec<i32>, Failure> {
    let rows = query(session, "SELECT version FROM schema_version").await?;
    let rows = rows.into_rows_result()?;
    Ok(rows.rows::<(i32,)>()?.map(|row| row.map(|(version,)| version)).collect::<Result<_, _>>()?)
}

/// The statements of a file: each ends by `;` at the end of a line; lines that begin with `--` are for people.
pub(super) fn statements(cql: &str) -> Vec<String> {
    let lines: Vec<_> = cql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let text = lines.join("\n") + "\n";
    let statements = text.split(";\n").map(|statement| statement.trim().to_owned());
    statements.filter(|statement| !statement.is_empty()).collect()
}

/// A session that talks to these addresses and to no other node that they know.
async fn connect(addresses: &[String], access: &Access) -> Result<Session, String> {
    let mut resolved: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        let found = tokio::net::lookup_host(address).await;
        resolved.extend(found.map_err(|error| format!("{address}: {error}"))?);
    }
    let filter = AllowListHostFilter::new(resolved.iter().copied()).map_err(|e| e.to_string())?;
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::One)
        .request_timeout(Some(REQUEST_LIMIT))
        .build();
    let builder = SessionBuilder::new()
        .known_nodes_addr(&resolved)
        .host_filter(Arc::new(filter))
        .connection_timeout(CONNECT_LIMIT)
        .default_execution_profile_handle(profile.into_handle())
        .schema_agreement_interval(Duration::from_millis(50))
        .schema_agreement_timeout(REQUEST_LIMIT)
        .fetch_schema_metadata(false);
    // Boxed: it is some kilobytes, and asked for rarely.
    Box::pin(access.apply(builder).build()).await.map_err(|error| error.to_string())
}
