//! How every REDIS engine reaches its server: the settings of a connection, and the limit on making one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    ProtocolVersion, RedisError, RedisResult, TlsCertificates,
};
use tokio::time::timeout;

mod cluster;
mod sentinel;

pub use cluster::ClusterNodes;
pub use sentinel::Sentinels;

use cluster::Home;

/// A connection that is not ready in this time will not be.
pub const DIAL_TIME: Duration = Duration::from_secs(1);
/// Who has not answered in this time where a server is, is left out. With what comes after, it stays below [`DIAL_TIME`].
const ASK_TIME: Duration = Duration::from_millis(400);
/// Pause between two attempts to connect.
pub const REDIAL_PAUSE: Duration = Duration::from_millis(100);
/// Idle time after which the kernel asks whether the peer is there, and time between two such questions.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// Sent bytes that the peer's kernel has not confirmed for this long end the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(4);

/// Where a server is, and whom to take for it.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisServer {
    /// `redis://` or, over TLS, `rediss://[user:password@]host[:port][/database]`. Never shown: it may hold a password.
    url: String,
    /// Certificates in PEM form, of those who may have issued the server's; `None`: whom this system trusts.
    authority: Option<Arc<[u8]>>,
    finder: Finder,
}

/// Who says where the server is, before each connection.
#[derive(Clone, PartialEq, Eq)]
enum Finder {
    /// Nobody: the URL says it.
    Url,
    /// Where the primary is.
    Sentinels(Arc<Sentinels>),
    /// Where the primary is that has the slot of a key.
    Cluster(Arc<ClusterNodes>),
}

/// Who puts another server in the place of one that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn {
    /// Sentinels.
    Sentinels,
    /// The nodes of its cluster.
    Cluster,
}

impl RedisServer {
    /// The same, wherever these say that it is.
    pub fn found_by(self, sentinels: Sentinels) -> Self {
        Self { finder: Finder::Sentinels(Arc::new(sentinels)), ..self }
    }

    /// The cluster of these nodes; the server of the URL is one more to ask.
    pub fn in_cluster(self, nodes: ClusterNodes) -> Self {
        Self { finder: Finder::Cluster(Arc::new(nodes)), ..self }
    }

    /// Whether it is a cluster.
    pub fn is_in_cluster(&self) -> bool {
        matches!(self.finder, Finder::Cluster(_))
    }

    /// The same, issued by one of these alone (PEM).
    pub fn issued_by(self, authority: &[u8]) -> Self {
        Self { authority: Some(authority.into()), ..self }
    }
}

impl From<&str> for RedisServer {
    fn from(url: &str) -> Self {
        Self { url: url.to_owned(), authority: None, finder: Finder::Url }
    }
}

impl From<String> for RedisServer {
    fn from(url: String) -> Self {
        Self { url, authority: None, finder: Finder::Url }
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisServer(…)")
    }
}

/// Makes connections to one server, wherever it is by then.
#[derive(Clone)]
pub struct Client {
    info: ConnectionInfo,
    /// Where the URL says.
    at: redis::Client,
    server: RedisServer,
    home: Arc<Home>,
    /// Where it was found last.
    found: Arc<Mutex<Option<(String, u16)>>>,
}

impl Client {
    /// What the URL says of where it is, for messages: without user and password.
    pub fn address(&self) -> &ConnectionAddr {
        self.info.addr()
    }

    /// Where it was found last, for messages; what the URL says where nobody else is asked, or was.
    pub fn reached(&self) -> String {
        // Under the lock there is only this, and one assignment.
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match &*found {
            Some((host, port)) => format!("{host}:{port}"),
            None => self.address().to_string(),
        }
    }

    /// Who may put another server in its place; `None`: nobody.
    pub fn stand_in(&self) -> Option<StandIn> {
        match self.server.finder {
            Finder::Url => None,
            Finder::Sentinels(_) => Some(StandIn::Sentinels),
            Finder::Cluster(_) => Some(StandIn::Cluster),
        }
    }
}

/// A client for one server: in a cluster, for the primary that has the slot of `home`, a key or the name of a channel. Version 3 of its
/// protocol ([`ProtocolVersion::RESP3`]) is for subscriptions. The error never holds the URL: it may have a password.
pub fn client(server: &RedisServer, protocol: ProtocolVersion, home: &str) -> RedisResult<Client> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(USER_TIMEOUT);
    let info = server.url.as_str().into_connection_info()?.set_tcp_settings(tcp);
    // Servers before 7.2 do not know it, and a user that may do little would have to be allowed it.
    let settings = info.redis_settings().clone().set_protocol(protocol).set_skip_set_lib_name();
    let info = info.set_redis_settings(settings);
    let at = build(info.clone(), server.authority.as_deref())?;
    let home = Arc::new(Home::new(home));
    Ok(Client { info, at, server: server.clone(), home, found: Arc::default() })
}

/// A client of the library.
fn build(info: ConnectionInfo, authority: Option<&[u8]>) -> RedisResult<redis::Client> {
    match authority {
        None => redis::Client::open(info),
        Some(authority) => {
            let root_cert = Some(authority.to_vec());
            redis::Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
        }
    }
}

/// The same, somewhere else.
fn with_address(info: ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let host = host.to_owned();
    let address = match info.addr() {
        ConnectionAddr::TcpTls { .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.set_addr(address)
}

/// Refuses what a connection would be of no use with. A replica is refused only where another server is known to be the primary.
fn judge(cluster: &str, replication: Option<&str>) -> RedisResult<()> {
    let says = |info: &str, line: &str| info.lines().any(|found| found.trim() == line);
    let reason = if says(cluster, "cluster_enabled:1") {
        "it is a node of a Redis Cluster: name nodes of it by CHATCTL_REDIS_CLUSTER, without CHATCTL_REDIS_SENTINELS; or set REDIS_URL to a server that runs without cluster-enabled"
    } else if replication.is_some_and(|info| !says(info, "role:master")) {
        "it is a replica, and the sentinels of CHATCTL_REDIS_SENTINELS call it the primary: a failover is under way"
    } else {
        return Ok(());
    };
    Err(unusable(reason.to_owned()))
}

fn unusable(reason: String) -> RedisError {
    RedisError::from((redis::ErrorKind::Client, "the server cannot be used", reason))
}

/// A new connection. Its calls have no time limit of their own: the library would give up the answer and keep the
/// connection, so whoever calls limits the time, and makes a new connection after silence.
pub async fn connect(
    client: &Client,
    config: AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let config = patient(config);
    let Client { info, at, server, home, found } = client;
    let authority = server.authority.as_deref();
    let place = match &server.finder {
        Finder::Url => None,
        Finder::Sentinels(sentinels) => Some(sentinels.find(info, authority).await?),
        Finder::Cluster(nodes) => Some(nodes.find(home, info, authority).await?),
    };
    let at = match &place {
        None => at,
        Some((host, port)) => &build(with_address(info.clone(), host, *port), authority)?,
    };
    let mut connection = at.get_multiplexed_async_connection_with_config(&config).await?;
    if let Finder::Cluster(_) = server.finder {
        home.check(&mut connection).await?;
    } else {
        let mut ask = redis::cmd("INFO");
        let cluster: String = ask.arg("cluster").query_async(&mut connection).await?;
        let mut replication = None;
        if place.is_some() {
            let mut ask = redis::cmd("INFO");
            let answer: String = ask.arg("replication").query_async(&mut connection).await?;
            replication = Some(answer);
        }
        judge(&cluster, replication.as_deref())?;
    }
    *found.lock().unwrap_or_else(PoisonError::into_inner) = place;
    Ok(connection)
}

/// Without time limits of the library's.
fn patient(config: AsyncConnectionConfig) -> AsyncConnectionConfig {
    config.set_connection_timeout(None).set_response_timeout(None)
}

/// A connection to whoever is asked where a server is.
async fn open(client: &redis::Client) -> RedisResult<MultiplexedConnection> {
    client
        .get_multiplexed_async_connection_with_config(&patient(AsyncConnectionConfig::new()))
        .await
}

/// What went wrong, and what to do where it is plain.
pub fn explain(error: &RedisError) -> String {
    let text = error.to_string();
    let hint = match error.code() {
        Some("NOAUTH") => "write user and password into REDIS_URL",
        Some("WRONGPASS") => "correct user and password in REDIS_URL",
        Some("NOPERM") => {
            "allow the user of REDIS_URL what docs/guides/operating.md lists (ACL SETUSER)"
        }
        _ if error.kind() == redis::ErrorKind::AuthenticationFailed => {
            "correct user and password in REDIS_URL"
        }
        _ if text.contains("UnknownIssuer") => {
            "name the certificate of who issued the server's by CHATCTL_REDIS_TLS_CA"
        }
        _ => return text,
    };
    format!("{text}; {hint}")
}

/// The result of `work`, or why there is none within `limit`. Box work that makes a connection: it is large.
pub async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = RedisResult<T>> + Send,
) -> Result<T, String> {
    match timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(explain(&error)),
        Err(_) => Err(format!("no answer in {} ms", limit.as_millis())),
    }
}
