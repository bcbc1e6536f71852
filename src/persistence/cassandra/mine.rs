//! The conversations of a user: from a list that may hold too much, those that are theirs and not empty.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};

use super::acks;
use super::codec::{bigint, number};
use super::link::{CallError, Link};
use super::store::Store;
use crate::model::{ConvId, LIMITS, Place, Seq, UserName};
use crate::persistence::Mine;

/// Entries of a user's list that are looked at.
const SCAN_MAX: i32 = 4_000;
/// Conversations that are asked at once.
const AT_ONCE: usize = 64;

impl Store {
    /// Those that became theirs last.
    pub async fn mine(&self, link: &Link, user: &UserName) -> Result<Vec<Mine>, CallError> {
        let rows = link
            .rows::<(Vec<u8>, String)>(&link.statements.mine, (user.as_str(), SCAN_MAX))
            .await?;
        let mut seen = HashSet::new();
        let entries = rows.into_iter().filter_map(|(conv, place)| {
            let conv = ConvId::from_bytes(&conv)?;
            let place: Place = serde_json::from_str(&place).ok()?;
            // An entry of a call that was refused may stand below the one that counts.
            seen.insert(conv).then(|| (conv, Arc::new(place)))
        });
        let entries: Vec<_> = entries.collect();
        let asked: Vec<_> = entries
            .into_iter()
            .map(|(conv, place)| self.mine_of(link, user, conv, place).boxed())
            .collect();
        let mut found = stream::iter(asked).buffered(AT_ONCE);
        let mut mine = Vec::new();
        while let Some(entry) = found.next().await {
            mine.extend(entry?);
            if mine.len() == LIMITS.list_max {
                break;
            }
        }
        Ok(mine)
    }

    async fn mine_of(
        &self,
        link: &Link,
        user: &UserName,
        conv: ConvId,
        place: Arc<Place>,
    ) -> Result<Option<Mine>, CallError> {
        let Some(at) = self.newest(link, conv).await? else { return Ok(None) };
        // The first message of a direct chat made it both users'; who is in a group is for the caller to ask.
        let is_theirs = matches!(*place, Place::Direct(..) | Place::Group(_))
            || acks::read(link, conv, user).await?.joined.is_some();
        Ok(is_theirs.then_some(Mine { conv, place, at }))
    }

    /// The commit time of the newest message; `None` in an empty conversation.
    async fn newest(&self, link: &Link, conv: ConvId) -> Result<Option<u64>, CallError> {
        let key = &conv.as_bytes()[..];
        let mut bucket = match self.ends.of(conv).tail() {
            Some(tail) => tail.bucket,
            None => {
                let rows = link.rows::<(Option<i64>,)>(&link.statements.head, (key,)).await?;
                rows.first().and_then(|row| row.0).map_or(0, number)
            }
        };
        let mut newest = None;
        while let Some((seq, at)) = last_of(link, conv, bucket).await? {
            newest = Some(at);
            if seq != link.layout.last(bucket) {
                break;
            }
            bucket += 1;
        }
        if newest.is_some() || bucket == 0 {
            return Ok(newest);
        }
        // A change of a group began this bucket, or the store came back with less than the hint says.
        let tail = self.ends.fresh(link, conv).await?;
        match (tail.rows.last(), tail.bucket.checked_sub(1)) {
            (None, Some(before)) => Ok(last_of(link, conv, before).await?.map(|(_, at)| at)),
            (last, _) => Ok(last.map(|row| row.message.at)),
        }
    }
}

/// Number and commit time of the last message of a bucket, if it holds any.
async fn last_of(link: &Link, conv: ConvId, bucket: u64) -> Result<Option<(Seq, u64)>, CallError> {
    let values = (&conv.as_bytes()[..], bigint(bucket));
    let rows = link.rows::<(Option<i64>, Option<i64>)>(&link.statements.newest, values).await?;
    let last = rows.first().and_then(|&(seq, at)| seq.zip(at));
    Ok(last.map(|(seq, at)| (Seq(number(seq)), number(at))))
}
