//! How every REDIS engine reaches its server: the settings of a connection, and the limit on making one.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo as _, ProtocolVersion, RedisResult};
use tokio::time::timeout;

/// A connection that is not ready in this time will not be.
pub const DIAL_TIME: Duration = Duration::from_secs(1);
/// Pause between two attempts to connect.
pub const REDIAL_PAUSE: Duration = Duration::from_millis(100);
/// Idle time after which the kernel asks whether the peer is there, and time between two such questions.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// Sent bytes that the peer's kernel has not confirmed for this long end the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(4);

/// A client for one server. Version 3 of its protocol ([`ProtocolVersion::RESP3`]) is for subscriptions. The error never
/// holds the URL: it may have a password.
pub fn client(url: &str, protocol: ProtocolVersion) -> RedisResult<Client> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(USER_TIMEOUT);
    let info = url.into_connection_info()?.set_tcp_settings(tcp);
    let settings = info.redis_settings().clone().set_protocol(protocol);
    Client::open(info.set_redis_settings(settings))
}

/// A new connection. Its calls have no time limit of their own: the library would give up the answer and keep the
/// connection, so whoever calls limits the time, and makes a new connection after silence.
pub async fn connect(
    client: &Client,
    config: AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let config = config.set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// The result of `work`, or why there is none within `limit`. Box work that makes a connection: it is large.
pub async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = RedisResult<T>> + Send,
) -> Result<T, String> {
    match timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} ms", limit.as_millis())),
    }
}
