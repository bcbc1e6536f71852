//! Making connections for the bus.

use std::convert::Infallible;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisResult};

pub use crate::redis_link::REDIAL_PAUSE;
use crate::redis_link::{self, Client, DIAL_TIME, RedisServer, connect, in_time};

/// Makes connections to one server.
pub struct Dialer {
    client: Client,
    /// Where all hints go.
    pub channel: String,
}

impl Dialer {
    /// For one server. The error never holds the URL: it may have a password.
    pub fn new(server: &RedisServer, channel: String) -> RedisResult<Self> {
        // Version 3 of its protocol: what is published comes between answers, so that a subscription has a heartbeat.
        // In a cluster all meet at one server, which is no more than a habit: it repeats what is published to all others.
        let client = redis_link::client(server, ProtocolVersion::RESP3, &channel)?;
        Ok(Self { client, channel })
    }

    /// A connection to publish by.
    pub async fn dial(&self) -> Result<MultiplexedConnection, String> {
        in_time(DIAL_TIME, Box::pin(connect(&self.client, AsyncConnectionConfig::new()))).await
    }

    /// A connection that is subscribed: `take` is called with everything that comes, by the task that reads the socket, so
    /// that nothing queues up between.
    pub async fn subscribe(
        &self,
        take: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, String> {
        let subscribe = async {
            let config = AsyncConnectionConfig::new().set_push_sender(move |info: PushInfo| {
                take(info);
                Ok::<(), Infallible>(())
            });
            let mut connection = connect(&self.client, config).await?;
            connection.subscribe(&self.channel).await?;
            Ok(connection)
        };
        in_time(DIAL_TIME, Box::pin(subscribe)).await
    }
}
