//! What comes from another engine, and goes to one.

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use redis::Value;

use super::{RedisPersistence, failure, index, number};
use crate::model::{ConvId, Lives, Roster, UserName};
use crate::persistence::lineage::Life;
use crate::persistence::{Archive, EngineError, Entry, RestoredMember};

/// Keys that one step of a scan looks at.
const SCAN_COUNT: usize = 1_000;

/// Where the walk over the indices of users is.
enum Walk {
    /// At this cursor, with keys that are still to be read.
    At { cursor: u64, keys: Vec<String> },
    /// The last cursor was 0.
    Last { keys: Vec<String> },
}

#[async_trait]
impl Archive for RedisPersistence {
    fn lives(&self) -> Lives {
        self.current_epoch().into()
    }

    fn entries(&self) -> BoxStream<'_, Result<Entry, EngineError>> {
        let chunks = stream::try_unfold(Some(Walk::At { cursor: 0, keys: Vec::new() }), {
            async move |walk: Option<Walk>| self.walk(walk).await
        });
        chunks.map_ok(|entries| stream::iter(entries).map(Ok)).try_flatten().boxed()
    }

    async fn restore_member(&self, member: RestoredMember) -> Result<(), EngineError> {
        let RestoredMember { entry: Entry { user, conv, place, since_us }, acked_up_to } = &member;
        let build = |life: &Life| {
            let mut pipe = redis::pipe();
            pipe.ignore_errors();
            pipe.add_command(index::add(&self.keys, user, *conv, place, *since_us));
            if let Some(up_to) = acked_up_to {
                let mut cmd = self.keys.call(&self.scripts.restore_member, *conv, life);
                cmd.arg(user.as_str()).arg(number(up_to.0));
                pipe.add_command(cmd);
            }
            pipe
        };
        self.reader.call_all(build).await.map(drop)
    }

    async fn restore_roster(&self, conv: ConvId, roster: Roster) -> Result<bool, EngineError> {
        let mut arguments = vec![roster.version.to_string(), "owner".to_owned()];
        arguments.push(roster.owner.as_ref().map_or_else(String::new, UserName::to_string));
        for (user, membership) in &roster.members {
            arguments.push(format!("m {user}"));
            arguments
                .push(format!("{} {} {}", membership.joined, membership.since, membership.life));
        }
        let (mut reply, _) = self.call(&self.scripts.restore_roster, conv, arguments).await?;
        if reply.text()? == "ok" {
            return Ok(true);
        }
        let (there, _, _) = self.read_roster(conv).await?;
        Ok(*there == roster)
    }
}

impl RedisPersistence {
    /// Reads the next index, or the next step of the scan; nothing where all was read.
    async fn walk(
        &self,
        walk: Option<Walk>,
    ) -> Result<Option<(Vec<Entry>, Option<Walk>)>, EngineError> {
        let (cursor, mut keys) = match walk {
            None => return Ok(None),
            Some(Walk::At { cursor, keys }) => (Some(cursor), keys),
            Some(Walk::Last { keys }) => (None, keys),
        };
        if let Some(key) = keys.pop() {
            let entries = self.entries_of(&key).await?;
            let next = match cursor {
                Some(cursor) => Walk::At { cursor, keys },
                None => Walk::Last { keys },
            };
            return Ok(Some((entries, Some(next))));
        }
        let Some(cursor) = cursor else { return Ok(None) };
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(self.keys.indices());
        scan.arg("COUNT").arg(SCAN_COUNT);
        let (cursor, keys): (u64, Vec<String>) = self.one(scan).await?;
        let next = match cursor {
            0 => Walk::Last { keys },
            cursor => Walk::At { cursor, keys },
        };
        Ok(Some((Vec::new(), Some(next))))
    }

    async fn entries_of(&self, key: &str) -> Result<Vec<Entry>, EngineError> {
        let Some(user) = self.keys.index_owner(key) else { return Ok(Vec::new()) };
        let mut cmd = redis::cmd("ZREVRANGE");
        cmd.arg(key).arg(0).arg(-1).arg("WITHSCORES");
        let members: Vec<(String, f64)> = self.one(cmd).await?;
        let entries = members.into_iter().map(|(member, stamp)| {
            let (conv, place) = index::entry(&member).ok_or_else(|| {
                EngineError::Internal(format!("redis: {key} has an entry that cannot be read"))
            })?;
            Ok(Entry { user: user.clone(), conv, place, since_us: stamp as u64 })
        });
        entries.collect()
    }

    /// One command that changes nothing.
    async fn one<T: redis::FromRedisValue>(&self, cmd: redis::Cmd) -> Result<T, EngineError> {
        let build = |_: &Life| {
            let mut pipe = redis::pipe();
            pipe.ignore_errors().add_command(cmd.clone());
            pipe
        };
        let (mut values, _) = self.reader.call_all(build).await?;
        let value: Value = values.pop().ok_or_else(failure::unanswered)?;
        redis::from_redis_value(value)
            .map_err(|error| EngineError::Internal(format!("redis: an index: {error}")))
    }
}
