//! How everything that uses Cassandra reaches its nodes: the settings of a session.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use scylla::client::execution_profile::ExecutionProfileBuilder;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{NewSessionError, TranslationError};
use scylla::policies::address_translator::{AddressTranslator, UntranslatedPeer};
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::response::query_result::QueryResult;
use scylla::statement::{Consistency, SerialConsistency};
use scylla::value::Row;
use tokio_rustls::rustls::ClientConfig;

/// How long one connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(1);
/// A connection on which nothing came for so long is asked whether it lives …
const KEEPALIVE: Duration = Duration::from_millis(500);
/// … and is given up when it does not say so in this.
const KEEPALIVE_TIME: Duration = Duration::from_secs(1);
/// How long one attempt of a statement may take. Two of them fit into the time of a call.
const ATTEMPT_TIME: Duration = Duration::from_millis(1_500);

/// How a client gets in: who it says that it is, and whom it takes for a node.
#[derive(Clone, Default)]
pub struct Access {
    /// User and password; `None`: nobody asks.
    pub login: Option<(String, String)>,
    /// The certificates of nodes must be for their IP addresses; `None`: no TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Access {
    /// A session that gets in so.
    pub fn apply(&self, builder: SessionBuilder) -> SessionBuilder {
        let builder = match &self.login {
            Some((user, password)) => builder.user(user, password),
            None => builder,
        };
        builder.tls_context(self.tls.clone())
    }
}

impl PartialEq for Access {
    fn eq(&self, other: &Self) -> bool {
        let tls = match (&self.tls, &other.tls) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        tls && self.login == other.login
    }
}

impl Eq for Access {}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.login.as_ref().map(|(user, _)| user);
        f.debug_struct("Access").field("user", &user).field("tls", &self.tls.is_some()).finish()
    }
}

/// Where the nodes are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Where to ask first, `host:port` each.
    pub hosts: Vec<String>,
    /// Nodes there are asked before others; `None`: all alike.
    pub datacenter: Option<String>,
    /// Where nodes are reached instead of where they say; those that are not in it, where they say. Nodes tell each other's addresses
    /// without ports.
    pub translation: HashMap<IpAddr, SocketAddr>,
    /// How to get in.
    pub access: Access,
}

/// The translation of a [`Cluster`].
struct Translation(HashMap<IpAddr, SocketAddr>);

#[async_trait]
impl AddressTranslator for Translation {
    async fn translate_address(
        &self,
        peer: &UntranslatedPeer,
    ) -> Result<SocketAddr, TranslationError> {
        let said = peer.untranslated_address();
        Ok(self.0.get(&said.ip()).copied().unwrap_or(said))
    }
}

/// How statements are sent unless they say otherwise: to a quorum, once. Repeating is decided by whoever knows what
/// a repetition means, not by the driver.
pub fn profile() -> ExecutionProfileBuilder {
    scylla::client::execution_profile::ExecutionProfile::builder()
        .consistency(Consistency::Quorum)
        .serial_consistency(Some(SerialConsistency::Serial))
        .request_timeout(Some(ATTEMPT_TIME))
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
}

/// A session whose dead connections are noticed in time. Nothing bounds the time of this call.
pub async fn connect(
    cluster: &Cluster,
    profile: ExecutionProfileBuilder,
) -> Result<Session, NewSessionError> {
    let builder = SessionBuilder::new()
        .known_nodes(&cluster.hosts)
        .connection_timeout(CONNECT_TIME)
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE_TIME)
        .tcp_nodelay(true)
        .fetch_schema_metadata(false)
        .default_execution_profile_handle(profile.build().into_handle());
    let builder = match &cluster.datacenter {
        Some(name) => builder.prefer_datacenter(name.clone()),
        None => builder,
    };
    let builder = match cluster.translation.is_empty() {
        true => builder,
        false => builder.address_translator(Arc::new(Translation(cluster.translation.clone()))),
    };
    // Boxed: it is some kilobytes, and asked for rarely.
    Box::pin(cluster.access.apply(builder).build()).await
}

/// What an error of the driver says, and what to do where that is plain.
pub fn explain(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    let hint = if text.contains("Authentication") {
        "set CHATCTL_CASSANDRA_USER and CHATCTL_CASSANDRA_PASSWORD to a user that the nodes know"
    } else if text.contains("UnknownIssuer") {
        "name the certificate of who issued those of the nodes by CHATCTL_CASSANDRA_TLS_CA"
    } else {
        return text;
    };
    format!("{text}; {hint}")
}

/// An answer to a conditional write that is none.
#[derive(Debug, thiserror::Error)]
#[error("an answer to a conditional write that cannot be read: {0}")]
pub struct ReplyError(String);

/// Whether the condition of a write held: the first column of the answer says it.
pub fn was_applied(reply: QueryResult) -> Result<bool, ReplyError> {
    let rows = reply.into_rows_result().map_err(|error| ReplyError(error.to_string()))?;
    let row = rows.first_row::<Row>().map_err(|error| ReplyError(error.to_string()))?;
    let applied = row.columns.into_iter().next().flatten();
    Ok(applied.and_then(|value| value.as_boolean()).unwrap_or(false))
}
