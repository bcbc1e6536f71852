//! The tenants of a Cassandra keyspace: one row of its table `tenants`, changed by compare-and-set.
//!
//! No clock is compared: each tenant counts its beats, and one whose beats stand still for as long as its lease is over. Whoever
//! is in the way is looked at for that long.

use std::time::Duration;

use scylla::client::session::Session;
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::lease::{self, BEATS_PER_LEASE, LOOK_PAUSE, Lease, START_TIME, Tenant};
use super::{ClaimError, Company};
use crate::cassandra_link::{self, Cluster, was_applied};
use crate::clock;
use crate::model::NodeId;

/// How long an answer is waited for, and how long it is tried against others.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// What is left of tenants that may have company is forgotten after this.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3_600);

const READ: &str = "SELECT version, tenants FROM tenants WHERE id = 'tenants'";
const CREATE: &str =
    "INSERT INTO tenants (id, version, tenants) VALUES ('tenants', ?, ?) IF NOT EXISTS";
const CHANGE: &str =
    "UPDATE tenants SET version = ?, tenants = ? WHERE id = 'tenants' IF version = ?";

/// What a tenant is.
#[derive(Debug, Clone)]
pub struct CassandraSettings {
    /// Where the nodes are.
    pub cluster: Cluster,
    /// Where the messages are: tenants of another keyspace are not in the way.
    pub keyspace: String,
    /// What is the same after a restart of this node, and no other node's.
    pub name: String,
    /// This server process.
    pub node: NodeId,
    /// With whom it may share.
    pub company: Company,
    /// How long it counts as running without a sign of it.
    pub lease: Duration,
}

/// One node's place among the tenants of a keyspace.
pub type CassandraTenancy = Lease<CassandraTenant>;

impl CassandraTenancy {
    /// A node that has not asked yet.
    pub fn of(settings: CassandraSettings) -> Self {
        Self::new(CassandraTenant { settings })
    }
}

/// One of those in the row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    name: String,
    /// Which start of it.
    start: String,
    beat: u64,
    lease_ms: u64,
    /// Why it is alone; empty when it is not.
    because: String,
    /// When it beat last, by its own clock: only to forget what is left of it.
    at_ms: u64,
}

/// A node that meets others in a keyspace.
pub struct CassandraTenant {
    settings: CassandraSettings,
}

/// What became of a look at the row.
enum Looked {
    /// This node is among the tenants.
    In,
    /// Another start of this node has come.
    Replaced,
    /// Somebody is in the way.
    Taken(Entry),
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Tenant for CassandraTenant {
    type Link = Session;

    async fn come_in(&self) -> Result<Session, ClaimError> {
        let unheard = |reason: Failure| {
            let hosts = self.settings.cluster.hosts.join(",");
            ClaimError(format!(
                "the nodes of CASSANDRA_HOSTS={hosts} do not answer as they should: {reason}"
            ))
        };
        let session = self.dial().await.map_err(unheard)?;
        let mut seen: Vec<(Entry, Instant)> = Vec::new();
        let mut over = Vec::new();
        let deadline = Instant::now() + START_TIME + self.settings.lease;
        loop {
            let holder = match self.look(&session, true, &over).await {
                Ok(Looked::Taken(holder)) => holder,
                Ok(Looked::In | Looked::Replaced) => return Ok(session),
                Err(reason) if Instant::now() > deadline => return Err(unheard(reason)),
                Err(_) => {
                    sleep(LOOK_PAUSE).await;
                    continue;
                }
            };
            let is_it = |(entry, _): &&(Entry, Instant)| {
                entry.name == holder.name && entry.start == holder.start
            };
            match seen.iter().find(is_it) {
                None => {
                    tracing::info!(
                        node = %holder.name,
                        "cassandra: a node that must not run beside this one has a lease; waiting whether it renews it"
                    );
                    let lease = Duration::from_millis(holder.lease_ms);
                    seen.push((holder, Instant::now() + lease));
                }
                Some((before, _)) if *before != holder => return Err(self.refusal(&holder)),
                Some((before, until)) if Instant::now() > *until => over.push(before.clone()),
                Some(_) => {}
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    async fn stay(
        mut self,
        session: Session,
        closing: CancellationToken,
        lost: oneshot::Sender<String>,
    ) {
        let mut link = Some(session);
        let beat = self.settings.lease / BEATS_PER_LEASE;
        loop {
            if closing.run_until_cancelled(sleep(beat)).await.is_none() {
                if let Some(session) = &link {
                    self.leave(session).await;
                }
                return;
            }
            let Some(session) = &link else {
                link = self.dial().await.ok();
                continue;
            };
            match timeout(ANSWER_TIME, Box::pin(self.look(session, false, &[]))).await {
                Ok(Ok(Looked::In)) => {}
                Ok(Ok(Looked::Replaced)) => {
                    // Two nodes of one name; the registry warns of it.
                    let CassandraSettings { name, node, .. } = &self.settings;
                    self.settings.name = format!("{name}#{node}");
                }
                Ok(Ok(Looked::Taken(holder))) => {
                    let reason = if holder.name == self.settings.name {
                        lease::started_again(&self.settings.name)
                    } else {
                        let ClaimError(reason) = self.refusal(&holder);
                        format!("another node came in after a pause: {reason}")
                    };
                    let _ = lost.send(reason);
                    return;
                }
                // A session mends itself; one that was made while no node was up may not.
                Ok(Err(reason)) => {
                    tracing::debug!(%reason, "cassandra: the lease of this node was not renewed");
                    link = None;
                }
                Err(_) => link = None,
            }
        }
    }
}

impl CassandraTenant {
    async fn dial(&self) -> Result<Session, Failure> {
        let connect = cassandra_link::connect(&self.settings.cluster, cassandra_link::profile());
        let session = timeout(START_TIME, connect).await??;
        Box::pin(session.use_keyspace(&self.settings.keyspace, true)).await?;
        Ok(session)
    }

    fn refusal(&self, holder: &Entry) -> ClaimError {
        let CassandraSettings { company, keyspace, cluster, .. } = &self.settings;
        let place = format!(
            "at CASSANDRA_HOSTS={} in CASSANDRA_KEYSPACE={keyspace}",
            cluster.hosts.join(",")
        );
        lease::refusal(company, &holder.name, &place, &holder.because)
    }

    /// Takes or keeps this node's place, unless somebody is in the way who is not `over`.
    async fn look(
        &self,
        session: &Session,
        is_start: bool,
        over: &[Entry],
    ) -> Result<Looked, Failure> {
        let CassandraSettings { name, node, company, lease, .. } = &self.settings;
        let because = match company {
            Company::Many => "",
            Company::Nobody(because) => because.as_str(),
            Company::Alone(what) => what,
        };
        let deadline = Instant::now() + ANSWER_TIME;
        loop {
            let (version, mut entries) = read(session).await?;
            entries.retain(|entry| !over.contains(entry));
            let own = entries.iter().position(|entry| entry.name == *name);
            let own = own.map(|at| entries.swap_remove(at));
            if let Some(own) = own.as_ref().filter(|own| !is_start && own.start != node.as_str()) {
                return Ok(if because.is_empty() && own.because.is_empty() {
                    Looked::Replaced
                } else {
                    Looked::Taken(own.clone())
                });
            }
            let in_the_way =
                entries.iter().find(|entry| !because.is_empty() || !entry.because.is_empty());
            if let Some(entry) = in_the_way {
                return Ok(Looked::Taken(entry.clone()));
            }
            let now = clock::unix_ms();
            let forgotten = now.saturating_sub(FORGOTTEN_AFTER.as_millis() as u64);
            entries.retain(|entry| entry.at_ms > forgotten);
            entries.push(Entry {
                name: name.clone(),
                start: node.to_string(),
                beat: own.map_or(0, |own| own.beat + 1),
                lease_ms: lease.as_millis() as u64,
                because: because.to_owned(),
                at_ms: now,
            });
            if write(session, version, &entries).await? {
                return Ok(Looked::In);
            }
            if Instant::now() > deadline {
                return Err("others change the tenants all the time".into());
            }
        }
    }

    async fn leave(&self, session: &Session) {
        let gone = async {
            loop {
                let (version, mut entries) = read(session).await?;
                entries.retain(|entry| entry.start != self.settings.node.as_str());
                if write(session, version, &entries).await? {
                    return Ok::<_, Failure>(());
                }
            }
        };
        if !matches!(timeout(ANSWER_TIME, Box::pin(gone)).await, Ok(Ok(()))) {
            tracing::debug!("cassandra: the lease of this node ends by itself");
        }
    }
}

/// The version of the row, and who is in it.
async fn read(session: &Session) -> Result<(Option<i64>, Vec<Entry>), Failure> {
    let mut statement = Statement::new(READ);
    statement.set_consistency(Consistency::Serial);
    let rows = Box::pin(session.query_unpaged(statement, ())).await?.into_rows_result()?;
    match rows.maybe_first_row::<(i64, String)>()? {
        Some((version, text)) => Ok((Some(version), serde_json::from_str(&text)?)),
        None => Ok((None, Vec::new())),
    }
}

/// Whether nobody else was faster.
async fn write(
    session: &Session,
    version: Option<i64>,
    entries: &[Entry],
) -> Result<bool, Failure> {
    let text = serde_json::to_string(entries)?;
    match version {
        Some(version) => change(session, CHANGE, (version + 1, text, version)).await,
        None => change(session, CREATE, (1_i64, text)).await,
    }
}

async fn change(session: &Session, text: &str, values: impl SerializeRow) -> Result<bool, Failure> {
    Ok(was_applied(Box::pin(session.query_unpaged(text, values)).await?)?)
}
