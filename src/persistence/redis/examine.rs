//! A look at the server that changes nothing there.

use redis::{AsyncConnectionConfig, ProtocolVersion, RedisError};

use super::dialer::{ask, check_format};
use super::keys::Keys;
use super::{OpenError, RedisSettings};
use crate::clock;
use crate::persistence::Examined;
use crate::redis_link::{self, DIAL_TIME, in_time};

/// What the server says of itself and of its clock. No script is loaded, no life begun.
pub async fn examine(settings: &RedisSettings) -> Result<Examined, OpenError> {
    let keys = Keys::new(&settings.prefix);
    let client = redis_link::client(&settings.server, ProtocolVersion::RESP2, &keys.lineage());
    let client = client.map_err(|error| OpenError::Url(error.to_string()))?;
    let look = Box::pin(async {
        let config = AsyncConnectionConfig::new();
        let mut connection = redis_link::connect(&client, config).await?;
        if let Err(text) = check_format(&client, &mut connection, &keys).await? {
            return Ok(Err(OpenError::Format(text)));
        }
        let facts = ask(&mut connection, &client).await?;
        let asked = clock::unix_ms();
        let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await?;
        let there = seconds * 1_000 + micros / 1_000;
        Ok::<_, RedisError>(Ok(Examined::new(facts.found(), there, asked)))
    });
    in_time(DIAL_TIME, look).await.map_err(OpenError::Connect)?
}
