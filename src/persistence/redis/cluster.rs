//! A cluster: partitions side by side, each a store of its own in one slot.
//!
//! A pipeline, a script and the fence of a life need all that they touch in one slot. So does what a failover takes away: one primary of
//! several, and what was in its slots. A partition is all of that, and nothing is promised between conversations anyway. Each has
//! its keys, its life, its connections; where its slot is moved to another primary, it goes along as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, join_all, try_join_all};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;

use super::keys::Keys;
use super::mine::{MINE_CHUNK, MINE_SCAN_MAX};
use super::scripts::SCRIPTS;
use super::{Index, OpenError, RedisPersistence, RedisSettings, Renewals, Shared, open_part};
use crate::model::{ConvId, Durability, Epoch, LIMITS, Lives, Roster, Seq, UserName};
use crate::persistence::{
    AckOutcome, AckRequest, Append, AppendOutcome, Archive, EngineError, Entry, Following,
    GroupOutcome, GroupRequest, LatePage, Lost, Mine, OpenQuery, Opened, Page, Persistence,
    RangeQuery, RestoredMember, Rostered, Summary,
};

/// The hash tag of each partition. Their slots are the middles of sixteen equal ranges, up to 30 off, so that primaries with equal shares of the
/// slots have equal shares of the partitions. Which conversations are in which is fixed by the order: another table would be another format.
const TAGS: [&str; 16] = [
    "pel", "piy", "pt6", "ppv", "p0f", "p3r", "pe4", "pat", "p0x", "p48", "p9s", "paj", "per",
    "pa2", "p8u", "pph",
];

/// Lanes of appends in each partition.
const LANES: usize = 1;

/// The keys of each partition under a prefix.
pub(super) fn partitions(prefix: &str) -> impl Iterator<Item = Keys> {
    TAGS.into_iter().map(move |tag| Keys::in_slot(prefix, tag))
}

/// The engine on a cluster.
pub struct RedisCluster {
    /// As many as there are tags, in their order.
    partitions: Vec<Arc<RedisPersistence>>,
    renewals: Renewals,
}

/// Connects to all partitions, and learns which life each is in.
pub async fn open_cluster(settings: RedisSettings) -> Result<Arc<RedisCluster>, OpenError> {
    let RedisSettings { server, prefix } = &settings;
    let renewals = Renewals::new(0);
    let shared = Shared { index: Arc::new(Index::default()), renewals: renewals.clone() };
    let opened = partitions(prefix)
        // Boxed: each holds whole connections.
        .map(|keys| Box::pin(open_part(server, keys, &SCRIPTS, LANES, shared.clone())));
    let partitions = try_join_all(opened).await?;
    Ok(Arc::new(RedisCluster { partitions, renewals }))
}

impl RedisCluster {
    /// What to change for a stronger durability class; empty where there is nothing.
    pub fn advice(&self) -> String {
        self.weakest().map_or_else(String::new, |partition| partition.advice())
    }

    /// Ids are hashes: any of their bytes spreads them.
    fn of(&self, conv: ConvId) -> &RedisPersistence {
        &self.partitions[usize::from(conv.as_bytes()[0]) % self.partitions.len()]
    }

    /// The one whose answers survive least.
    fn weakest(&self) -> Option<&RedisPersistence> {
        let partitions = self.partitions.iter().map(|partition| &**partition);
        partitions.reduce(|least, other| {
            if other.durability().satisfies(least.durability()) { least } else { other }
        })
    }
}

#[async_trait]
impl Persistence for RedisCluster {
    fn name(&self) -> &'static str {
        "REDIS"
    }

    fn durability(&self) -> Durability {
        self.weakest().map_or(Durability::NONE, Persistence::durability)
    }

    fn epoch(&self, conv: ConvId) -> Epoch {
        self.of(conv).epoch(conv)
    }

    fn renewals(&self) -> Option<watch::Receiver<u64>> {
        Some(self.renewals.subscribe())
    }

    fn lost_data(&self) -> Option<Lost> {
        let lost = self.partitions.iter().filter_map(|partition| partition.lost_data());
        lost.max_by_key(|lost| lost.at)
    }

    fn clock_skew_ms(&self) -> Option<i64> {
        let skews = self.partitions.iter().filter_map(|partition| partition.clock_skew_ms());
        skews.max_by_key(|skew_ms| skew_ms.unsigned_abs())
    }

    fn health(&self) -> Result<(), EngineError> {
        let count = self.partitions.len();
        for (number, partition) in (1..).zip(&self.partitions) {
            let place = || {
                let address = partition.dialer.reached();
                format!("partition {number} of {count}, last at {address}")
            };
            partition.health().map_err(|error| match error {
                EngineError::Unavailable(text) => {
                    EngineError::Unavailable(format!("{}: {text}", place()))
                }
                EngineError::ReadOnly(text) => {
                    EngineError::ReadOnly(format!("{}: {text}", place()))
                }
                other => other,
            })?;
        }
        Ok(())
    }

    fn append(&self, append: Append) -> BoxFuture<'static, Result<AppendOutcome, EngineError>> {
        self.of(append.conv).append(append)
    }

    async fn open(&self, query: OpenQuery) -> Result<Opened, EngineError> {
        self.of(query.conv).open(query).await
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, EngineError> {
        self.of(query.conv).range(query).await
    }

    async fn after(
        &self,
        conv: ConvId,
        after: Seq,
        limit: usize,
    ) -> Result<Following, EngineError> {
        self.of(conv).after(conv, after, limit).await
    }

    async fn unread_late(
        &self,
        conv: ConvId,
        user: &UserName,
        after: Seq,
        limit: usize,
    ) -> Result<LatePage, EngineError> {
        self.of(conv).unread_late(conv, user, after, limit).await
    }

    async fn ack(&self, request: AckRequest) -> Result<AckOutcome, EngineError> {
        self.of(request.conv).ack(request).await
    }

    async fn regroup(&self, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
        self.of(request.conv).regroup(request).await
    }

    async fn roster(&self, conv: ConvId) -> Result<Rostered, EngineError> {
        self.of(conv).roster(conv).await
    }

    /// Every partition has an index of the user: together they are looked at as if they were one.
    async fn mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        let listed = self.partitions.iter().map(async |partition| {
            partition.listed(user, 0, MINE_SCAN_MAX - 1).await.map(|listed| listed.entries)
        });
        let mut entries = try_join_all(listed).await?.concat();
        entries.sort_by_key(|(stamp, ..)| std::cmp::Reverse(*stamp));
        entries.truncate(MINE_SCAN_MAX);
        let mut mine = Vec::new();
        for chunk in entries.chunks(MINE_CHUNK) {
            let asked = self.partitions.iter().map(|partition| {
                let here =
                    chunk.iter().filter(|(_, conv, _)| std::ptr::eq(self.of(*conv), &**partition));
                let here = here.map(|(_, conv, place)| (*conv, Arc::clone(place))).collect();
                partition.theirs(user, here)
            });
            let theirs = try_join_all(asked).await?.into_iter().flatten();
            let mut theirs: HashMap<_, _> = theirs.map(|mine| (mine.conv, mine)).collect();
            mine.extend(chunk.iter().filter_map(|(_, conv, _)| theirs.remove(conv)));
            if mine.len() >= LIMITS.list_max {
                break;
            }
        }
        mine.truncate(LIMITS.list_max);
        Ok(mine)
    }

    async fn summary(&self, conv: ConvId, user: &UserName) -> Result<Summary, EngineError> {
        self.of(conv).summary(conv, user).await
    }

    async fn close(&self) {
        join_all(self.partitions.iter().map(|partition| partition.close())).await;
    }
}

#[async_trait]
impl Archive for RedisCluster {
    fn lives(&self) -> Lives {
        Lives::of(self.partitions.iter().map(|partition| partition.current_epoch()))
    }

    fn entries(&self) -> BoxStream<'_, Result<Entry, EngineError>> {
        stream::iter(&self.partitions).flat_map(|partition| partition.entries()).boxed()
    }

    async fn restore_member(&self, member: RestoredMember) -> Result<(), EngineError> {
        self.of(member.entry.conv).restore_member(member).await
    }

    async fn restore_roster(&self, conv: ConvId, roster: Roster) -> Result<bool, EngineError> {
        self.of(conv).restore_roster(conv, roster).await
    }
}
