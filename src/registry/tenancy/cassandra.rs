//! The tenants of a Cassandra keyspace: a [roll](super::roll) in one row of its table `tenants`, changed by compare-and-set.

use scylla::client::session::Session;
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;
use tokio::time::timeout;

use super::entry::Entry;
use super::lease::{Lease, START_TIME};
use super::roll::{Failure, Roll, RollSettings, RollTenant};
use crate::cassandra_link::{self, Cluster, was_applied};

const READ: &str = "SELECT version, tenants FROM tenants WHERE id = 'tenants'";
const CREATE: &str =
    "INSERT INTO tenants (id, version, tenants) VALUES ('tenants', ?, ?) IF NOT EXISTS";
const CHANGE: &str =
    "UPDATE tenants SET version = ?, tenants = ? WHERE id = 'tenants' IF version = ?";

/// One node's place among the tenants of a keyspace.
pub type CassandraTenancy = Lease<RollTenant<CassandraRoll>>;

impl CassandraTenancy {
    /// A node that has not asked yet. Tenants of another keyspace are not in the way.
    pub fn in_keyspace(cluster: Cluster, keyspace: String, settings: RollSettings) -> Self {
        Self::new(RollTenant::new(CassandraRoll { cluster, keyspace }, settings))
    }
}

/// A row of a keyspace.
pub struct CassandraRoll {
    cluster: Cluster,
    keyspace: String,
}

impl Roll for CassandraRoll {
    type Link = Session;
    type Version = Option<i64>;
    const IS_EXCLUSIVE: bool = true;
    const STORE: &'static str = "cassandra";

    fn address(&self) -> String {
        format!("CASSANDRA_HOSTS={}", self.cluster.hosts.join(","))
    }

    fn place(&self) -> String {
        format!("CASSANDRA_KEYSPACE={}", self.keyspace)
    }

    async fn dial(&self) -> Result<Session, Failure> {
        let connect = cassandra_link::connect(&self.cluster, cassandra_link::profile());
        let session = timeout(START_TIME, connect).await??;
        Box::pin(session.use_keyspace(&self.keyspace, true)).await?;
        Ok(session)
    }

    async fn read(&self, session: &Session) -> Result<(Option<i64>, Vec<Entry>), Failure> {
        let mut statement = Statement::new(READ);
        statement.set_consistency(Consistency::Serial);
        let rows = Box::pin(session.query_unpaged(statement, ())).await?.into_rows_result()?;
        match rows.maybe_first_row::<(i64, String)>()? {
            Some((version, text)) => Ok((Some(version), serde_json::from_str(&text)?)),
            None => Ok((None, Vec::new())),
        }
    }

    async fn write(
        &self,
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
}

async fn change(session: &Session, text: &str, values: impl SerializeRow) -> Result<bool, Failure> {
    Ok(was_applied(Box::pin(session.query_unpaged(text, values)).await?)?)
}
