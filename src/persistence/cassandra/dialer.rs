//! Making sessions: each one knows, before its first call, which life of the store it talks to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::response::query_result::QueryResult;
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;
use tokio::time::timeout;

use super::facts::{KeyspaceFacts, NodeFacts, SETTINGS, Starts, found};
use super::layout::Layout;
use super::life::{self, Seen};
use super::link::Link;
use super::statements::Statements;
use super::{CassandraSettings, SCHEMA};
use crate::cassandra_link;
use crate::clock;
use crate::model::Level;
use crate::persistence::Examined;
use crate::persistence::lineage::{Life, Lineage};
use crate::persistence::status::Status;

/// A session is ready within this, or it is tried again.
pub const DIAL_TIME: Duration = Duration::from_secs(4);
/// A read that takes longer is also sent to another node.
const SPECULATE_AFTER: Duration = Duration::from_millis(300);
/// The version of the tables that this version works with.
pub const SCHEMA_VERSION: i32 = SCHEMA[SCHEMA.len() - 1].0.cast_signed();

/// Why there is no session.
#[derive(Debug)]
pub enum DialError {
    /// It may be otherwise at another time.
    Now(String),
    /// Somebody must do something first.
    Setup(String),
}

impl<E: std::error::Error> From<E> for DialError {
    fn from(error: E) -> Self {
        Self::Now(error.to_string())
    }
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Now(text) | Self::Setup(text)) = self;
        f.write_str(text)
    }
}

/// Makes sessions with one cluster.
pub struct Dialer {
    settings: CassandraSettings,
    /// Which life the store is in.
    pub lineage: Arc<Lineage>,
    /// What was seen of the nodes.
    pub status: Arc<Status>,
}

impl Dialer {
    /// For one keyspace.
    pub fn new(settings: CassandraSettings, lineage: Arc<Lineage>, status: Arc<Status>) -> Self {
        Self { settings, lineage, status }
    }

    /// Connects, checks the tables, asks the nodes what they are and learns the life of the store.
    pub async fn dial(&self) -> Result<Arc<Link>, DialError> {
        let dialing = timeout(DIAL_TIME, Box::pin(self.dial_patiently())).await;
        dialing.map_err(|_| late())?
    }

    /// The same up to what the nodes are, and their clock. Nothing is written, no life begun.
    pub async fn examine(&self) -> Result<Examined, DialError> {
        let looking = timeout(DIAL_TIME, Box::pin(self.examine_patiently())).await;
        looking.map_err(|_| late())?
    }

    async fn examine_patiently(&self) -> Result<Examined, DialError> {
        let (session, keyspace, _) = self.session().await?;
        let found = found(keyspace, &self.nodes(&session).await?);
        let asked = clock::unix_ms();
        let there = life::clock_ms(&session).await?;
        Ok(Examined::new(found, there, asked))
    }

    /// A session whose keyspace has the tables of this version.
    async fn session(&self) -> Result<(Session, KeyspaceFacts, Statements), DialError> {
        let session = self.connect().await?;
        self.check_datacenter(&session)?;
        let keyspace = self.keyspace(&session).await?;
        Box::pin(session.use_keyspace(&self.settings.keyspace, true)).await?;
        self.check_schema(&session).await?;
        let statements = Box::pin(Statements::prepare(&session)).await?;
        Ok((session, keyspace, statements))
    }

    async fn dial_patiently(&self) -> Result<Arc<Link>, DialError> {
        let (session, keyspace, statements) = self.session().await?;
        let (life, layout) = self.learn(&session, &statements, keyspace).await?;
        Ok(Arc::new(Link::new(session, statements, life, layout, keyspace)))
    }

    /// What the nodes say now, and the life of the store after it.
    pub async fn ask(&self, link: &Link) -> Result<(), DialError> {
        self.learn(&link.session, &link.statements, link.keyspace).await.map(drop)
    }

    async fn learn(
        &self,
        session: &Session,
        statements: &Statements,
        keyspace: KeyspaceFacts,
    ) -> Result<(Arc<Life>, Layout), DialError> {
        let nodes = self.nodes(session).await?;
        let found = found(keyspace, &nodes);
        let seen = Seen {
            starts: Starts::of(&nodes),
            quorum: keyspace.quorum() as usize,
            is_on_disk: found.durability.level >= Level::Disk,
        };
        let rows = self.settings.bucket_rows;
        let learnt = life::learn(session, statements, &self.lineage, &seen, rows).await?;
        self.status.found(found);
        Ok(learnt)
    }

    async fn connect(&self) -> Result<Session, DialError> {
        let speculation = SimpleSpeculativeExecutionPolicy {
            max_retry_count: 1,
            retry_interval: SPECULATE_AFTER,
        };
        let profile =
            cassandra_link::profile().speculative_execution_policy(Some(Arc::new(speculation)));
        let connected = cassandra_link::connect(&self.settings.cluster, profile).await;
        connected.map_err(|error| DialError::Now(cassandra_link::explain(&error)))
    }

    /// A datacenter without nodes would get every request, and answer none.
    fn check_datacenter(&self, session: &Session) -> Result<(), DialError> {
        let Some(wanted) = &self.settings.cluster.datacenter else { return Ok(()) };
        let state = session.get_cluster_state();
        let mut found: Vec<&str> =
            state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
        found.sort_unstable();
        found.dedup();
        if found.contains(&wanted.as_str()) {
            return Ok(());
        }
        Err(DialError::Setup(format!(
            "CHATCTL_CASSANDRA_DATACENTER={wanted} has no node; there are: {}",
            found.join(", ")
        )))
    }

    async fn keyspace(&self, session: &Session) -> Result<KeyspaceFacts, DialError> {
        let name = &self.settings.keyspace;
        // Checked by the settings: letters, digits and _.
        let text = format!(
            "SELECT replication, durable_writes FROM system_schema.keyspaces WHERE keyspace_name = '{name}'"
        );
        let rows = local(session, text).await?.into_rows_result()?;
        let row = rows.maybe_first_row::<(HashMap<String, String>, bool)>()?;
        let (mut replication, durable_writes) = row.ok_or_else(|| {
            DialError::Setup(format!(
                "there is no keyspace {name} (CASSANDRA_KEYSPACE): make it with \
                 'chatctl init-env --services cassandra'"
            ))
        })?;
        replication.remove("class");
        let copies = match &self.settings.cluster.datacenter {
            Some(name) if replication.contains_key(name) => replication[name].parse(),
            _ => replication.values().map(|count| count.parse::<u32>()).sum(),
        };
        let copies = copies.unwrap_or(1);
        Ok(KeyspaceFacts { copies, durable_writes })
    }

    async fn check_schema(&self, session: &Session) -> Result<(), DialError> {
        let name = &self.settings.keyspace;
        let text = format!("SELECT version FROM \"{name}\".schema_version");
        let mut newest = 0;
        match local(session, text).await {
            Ok(rows) => {
                for row in rows.into_rows_result()?.rows::<(i32,)>()? {
                    newest = newest.max(row?.0);
                }
            }
            // A keyspace without that table has none of the others.
            Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(
                DbError::Invalid,
                _,
            ))) => {}
            Err(error) => return Err(error.into()),
        }
        match newest {
            SCHEMA_VERSION => Ok(()),
            older if older < SCHEMA_VERSION => Err(DialError::Setup(format!(
                "keyspace {name} (CASSANDRA_KEYSPACE) at {} has tables of version {older}, and version {SCHEMA_VERSION} is needed: \
                 run 'chatctl init-env --services cassandra', which makes what is missing and keeps what is there",
                self.settings.cluster.hosts.join(", ")
            ))),
            newer => Err(DialError::Setup(format!(
                "keyspace {name} (CASSANDRA_KEYSPACE) at {} has tables of version {newer}, and this chatctl knows only \
                 version {SCHEMA_VERSION}: use the chatctl that made them, or bring the messages over ('chatctl export' with \
                 that one, 'chatctl import' with this one into another CASSANDRA_KEYSPACE)",
                self.settings.cluster.hosts.join(", ")
            ))),
        }
    }

    /// What each node that is up says; an error when fewer than a quorum do.
    async fn nodes(&self, session: &Session) -> Result<Vec<NodeFacts>, DialError> {
        let state = session.get_cluster_state();
        let ask = state.get_nodes_info().iter().map(|node| {
            let target = NodeIdentifier::Node(Arc::clone(node));
            describe(session, target)
        });
        let mut facts = Vec::new();
        let mut reason = None;
        for answer in join_all(ask).await {
            match answer {
                Ok(node) => facts.push(node),
                Err(error) => reason = Some(error),
            }
        }
        match reason {
            Some(reason) if facts.is_empty() => Err(reason),
            _ => Ok(facts),
        }
    }
}

fn late() -> DialError {
    DialError::Now(format!("no session in {} ms", DIAL_TIME.as_millis()))
}

async fn describe(session: &Session, target: NodeIdentifier) -> Result<NodeFacts, DialError> {
    let ask = async |text: String| {
        let mut statement = Statement::new(text);
        let policy = SingleTargetLoadBalancingPolicy::new(target.clone(), None);
        statement.set_load_balancing_policy(Some(policy));
        statement.set_consistency(Consistency::One);
        Box::pin(session.query_unpaged(statement, ())).await
    };
    let rows = ask("SELECT host_id, gossip_generation FROM system.local".to_owned()).await?;
    let (host_id, start) = rows.into_rows_result()?.single_row::<(uuid::Uuid, i32)>()?;
    let mut settings = BTreeMap::new();
    for name in SETTINGS {
        let text = format!("SELECT value FROM system_views.settings WHERE name = '{name}'");
        let rows = ask(text).await?.into_rows_result()?;
        if let Some((Some(value),)) = rows.maybe_first_row::<(Option<String>,)>()? {
            settings.insert(name.to_owned(), value);
        }
    }
    Ok(NodeFacts { host_id: host_id.to_string(), start: i64::from(start), settings })
}

/// Asks any node for what it knows itself.
async fn local(session: &Session, text: String) -> Result<QueryResult, ExecutionError> {
    let mut statement = Statement::new(text);
    statement.set_consistency(Consistency::One);
    Box::pin(session.query_unpaged(statement, ())).await
}
