//! The conversations of a user: what the index names, of which only what is theirs counts.

use std::sync::Arc;

use super::codec::Reply;
use super::{RedisPersistence, failure, index};
use crate::model::{ConvId, LIMITS, Place, UserName};
use crate::persistence::lineage::Life;
use crate::persistence::{EngineError, Mine};

/// Conversations that one pipeline of `mine` asks: bounds how long it keeps others waiting.
pub(super) const MINE_CHUNK: usize = 250;
/// Entries of a user's index that `mine` looks at.
pub(super) const MINE_SCAN_MAX: usize = 4_000;

/// A part of a user's index.
pub(super) struct Listed {
    /// When each became theirs, µs, which, and what it is.
    pub(super) entries: Vec<(u64, ConvId, Arc<Place>)>,
    /// There is nothing behind it.
    was_last: bool,
}

impl RedisPersistence {
    /// Those that became theirs last, up to the limit of a list.
    pub(super) async fn last_mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        let mut mine = Vec::new();
        for first in (0..MINE_SCAN_MAX).step_by(MINE_CHUNK) {
            let Listed { entries, was_last } =
                self.listed(user, first, first + MINE_CHUNK - 1).await?;
            let entries = entries.into_iter().map(|(_, conv, place)| (conv, place)).collect();
            mine.extend(self.theirs(user, entries).await?);
            if was_last || mine.len() >= LIMITS.list_max {
                break;
            }
        }
        mine.truncate(LIMITS.list_max);
        Ok(mine)
    }

    /// Entries of a user's index from one place to another, those that became theirs last first.
    pub(super) async fn listed(
        &self,
        user: &UserName,
        first: usize,
        last: usize,
    ) -> Result<Listed, EngineError> {
        let build = |_: &Life| {
            let mut pipe = redis::pipe();
            pipe.ignore_errors().cmd("ZREVRANGE").arg(self.keys.index(user));
            pipe.arg(first).arg(last).arg("WITHSCORES");
            pipe
        };
        let (mut values, _) = self.reader.call_all(build).await?;
        let members = values.pop().ok_or_else(failure::unanswered)?;
        let members: Vec<(String, f64)> = redis::from_redis_value(members)
            .map_err(|error| EngineError::Internal(format!("redis: an index: {error}")))?;
        let was_last = members.len() <= last - first;
        let entries = members.iter().filter_map(|(member, stamp)| {
            let (conv, place) = index::entry(member)?;
            Some((*stamp as u64, conv, place))
        });
        Ok(Listed { entries: entries.collect(), was_last })
    }

    /// Which of these are the user's, and not empty.
    pub(super) async fn theirs(
        &self,
        user: &UserName,
        entries: Vec<(ConvId, Arc<Place>)>,
    ) -> Result<Vec<Mine>, EngineError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let build = |life: &Life| {
            let mut pipe = redis::pipe();
            pipe.ignore_errors();
            for (conv, place) in &entries {
                let mut cmd = self.keys.call(&self.scripts.mine, *conv, life);
                let by_others = !matches!(**place, Place::Channel(_));
                cmd.arg(user.as_str()).arg(u8::from(by_others));
                pipe.add_command(cmd);
            }
            pipe
        };
        let (values, _) = self.reader.call_all(build).await?;
        let mut mine = Vec::new();
        for ((conv, place), value) in entries.into_iter().zip(values) {
            let mut reply = Reply::new(value)?;
            reply.text()?;
            if let Some(at) = reply.number()? {
                mine.push(Mine { conv, place, at });
            }
        }
        Ok(mine)
    }
}
