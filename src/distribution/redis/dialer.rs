//! Making connections for the bus.

use std::convert::Infallible;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo as _, ProtocolVersion, PushInfo, RedisResult,
};
use tokio::time::timeout;

/// A connection that is not ready in this time will not be.
const DIAL_TIME: Duration = Duration::from_secs(1);
/// Idle time after which the kernel asks whether the peer is there, and time between two such questions.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// Sent bytes that the peer's kernel has not confirmed for this long end the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(4);
/// Pause between two attempts to connect.
pub const REDIAL_PAUSE: Duration = Duration::from_millis(100);

/// Makes connections to one server.
pub struct Dialer {
    client: Client,
    /// Where all hints go.
    pub channel: String,
}

impl Dialer {
    /// For one server. The error never holds the URL: it may have a password.
    pub fn new(url: &str, channel: String) -> RedisResult<Self> {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(keepalive)
            .set_user_timeout(USER_TIMEOUT);
        let info = url.into_connection_info()?.set_tcp_settings(tcp);
        // Version 3 of its protocol: what is published comes between answers, so that a subscription has a heartbeat.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self { client: Client::open(info.set_redis_settings(settings))?, channel })
    }

    /// A connection to publish by.
    pub async fn dial(&self) -> Result<MultiplexedConnection, String> {
        in_time(Box::pin(self.connect(AsyncConnectionConfig::new()))).await
    }

    /// A connection that is subscribed: `take` is called with everything that comes, by the task that reads the socket, so
    /// that nothing queues up between.
    pub async fn subscribe(
        &self,
        take: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, String> {
        in_time(Box::pin(async {
            let config = AsyncConnectionConfig::new().set_push_sender(move |info: PushInfo| {
                take(info);
                Ok::<(), Infallible>(())
            });
            let mut connection = self.connect(config).await?;
            connection.subscribe(&self.channel).await?;
            Ok(connection)
        }))
        .await
    }

    async fn connect(&self, config: AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        let config = config.set_connection_timeout(None).set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// The work comes boxed: making a connection is large, and waits in large futures.
async fn in_time<T>(work: impl Future<Output = RedisResult<T>> + Send) -> Result<T, String> {
    match timeout(DIAL_TIME, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} ms", DIAL_TIME.as_millis())),
    }
}
