//! A look at the server that changes nothing there.

use futures_util::future::try_join_all;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisError};

use super::cluster::partitions;
use super::dialer::{ask, check_format};
use super::keys::Keys;
use super::{OpenError, RedisSettings};
use crate::clock;
use crate::persistence::Examined;
use crate::redis_link::{self, DIAL_TIME, RedisServer, in_time};

/// What the server says of itself and of its clock; in a cluster the least that the primaries say. No script is loaded, no life begun.
pub async fn examine(settings: &RedisSettings) -> Result<Examined, OpenError> {
    let RedisSettings { server, prefix } = settings;
    if !server.is_in_cluster() {
        return examine_part(server, Keys::new(prefix)).await;
    }
    let parts = try_join_all(partitions(prefix).map(|keys| examine_part(server, keys))).await?;
    let ahead_ms = parts.iter().filter_map(|part| part.ahead_ms);
    let ahead_ms = ahead_ms.max_by_key(|ahead_ms| ahead_ms.unsigned_abs());
    let refusal = parts.iter().find_map(|part| part.refusal);
    let least = parts.into_iter().reduce(|least, part| {
        if part.durability.satisfies(least.durability) { least } else { part }
    });
    least
        .map(|least| Examined { ahead_ms, refusal, ..least })
        .ok_or_else(|| OpenError::Connect("the store has no partitions".to_owned()))
}

async fn examine_part(server: &RedisServer, keys: Keys) -> Result<Examined, OpenError> {
    let client = redis_link::client(server, ProtocolVersion::RESP2, &keys.lineage());
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
