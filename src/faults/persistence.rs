//! A message engine that breaks one promise.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::crash::{CrashPoint, crash_at, crash_while};
use super::memory::Shared;
use super::{Fault, acks, opens, pages, rosters, sends};
use crate::model::{ConvId, Durability, Epoch, INTEGER_MAX, Order, Seq, UserName};
use crate::persistence::{
    AckOutcome, AckRequest, Append, AppendOutcome, EngineError, Following, GroupOutcome,
    GroupRequest, LatePage, Lost, Mine, OpenQuery, Opened, Page, Persistence, RangeQuery, Rostered,
    Summary,
};

/// What a room that fills itself asks for at a time.
const REPAIR_LIMIT: usize = 200;
/// What a range is rounded to: a day, ms. With shorter buckets a run that began with one would see nothing of it.
const BUCKET_MS: u64 = 86_400_000;

/// An engine around an honest one; without a fault it is as honest.
pub struct FaultyPersistence {
    shared: Arc<Shared>,
}

impl FaultyPersistence {
    /// Breaks `fault` at every so-many-th occasion.
    pub fn new(engine: Arc<dyn Persistence>, fault: Option<Fault>, every: u64) -> Self {
        Self { shared: Arc::new(Shared::new(engine, fault, every)) }
    }
}

#[async_trait]
impl Persistence for FaultyPersistence {
    fn name(&self) -> &'static str {
        self.shared.engine.name()
    }

    fn durability(&self) -> Durability {
        match self.shared.fault {
            // Of a store that stays, a check would compare what it holds with what this shows, and all of these would be `diverged`.
            Some(_) => Durability::NONE,
            None => self.shared.engine.durability(),
        }
    }

    fn epoch(&self, conv: ConvId) -> Epoch {
        self.shared.engine.epoch(conv)
    }

    fn renewals(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        self.shared.engine.renewals()
    }

    fn lost_data(&self) -> Option<Lost> {
        self.shared.engine.lost_data()
    }

    fn clock_skew_ms(&self) -> Option<i64> {
        self.shared.engine.clock_skew_ms()
    }

    fn health(&self) -> Result<(), EngineError> {
        self.shared.engine.health()
    }

    fn append(&self, append: Append) -> BoxFuture<'static, Result<AppendOutcome, EngineError>> {
        crash_at(CrashPoint::BeforePersist);
        let appending = sends::append(&self.shared, append);
        crash_while(CrashPoint::WhilePersisting);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let mut outcome = appending.await;
            rosters::spoil_append(&shared, &mut outcome);
            crash_at(CrashPoint::BeforeReply);
            outcome
        })
    }

    async fn open(&self, query: OpenQuery) -> Result<Opened, EngineError> {
        let mut opened = self.shared.engine.open(query.clone()).await?;
        opens::spoil_open(&self.shared, &query, &mut opened);
        Ok(opened)
    }

    async fn range(&self, mut query: RangeQuery) -> Result<Page, EngineError> {
        let shared = &self.shared;
        let (conv, order) = (query.conv, query.order);
        let is_first = query.start.is_none();
        if shared.has(Fault::RepeatPageItem)
            && query.limit > 1
            && let Some((ts, seq)) = query.start
            && shared.acts()
        {
            query.start = Some(match order {
                Order::Asc => (ts, Seq(seq.0 - 1)),
                Order::Desc => (ts, seq.next()),
            });
        }
        if shared.has(Fault::SkipEqualTs)
            && let Some((ts, _)) = query.start
        {
            let last = if order == Order::Asc { Seq(INTEGER_MAX) } else { Seq::ZERO };
            query.start = Some((ts, last));
        }
        if shared.has(Fault::WidenRange) && query.to < INTEGER_MAX {
            query.from -= query.from % BUCKET_MS;
            query.to += BUCKET_MS - 1 - query.to % BUCKET_MS;
        }
        let to_now = query.to >= crate::clock::unix_ms();
        let mut page = shared.engine.range(query).await?;
        let reaches_newest = to_now && if order == Order::Desc { is_first } else { !page.more };
        pages::spoil_page(shared, conv, &mut page.items, reaches_newest);
        // Where there is more, the cursor would lead elsewhere.
        if shared.has(Fault::SortBySeq) && !page.more && shared.acts() {
            page.items.sort_by_key(|message| message.seq);
            if order == Order::Desc {
                page.items.reverse();
            }
        }
        Ok(page)
    }

    async fn after(
        &self,
        conv: ConvId,
        after: Seq,
        limit: usize,
    ) -> Result<Following, EngineError> {
        let shared = &self.shared;
        let mut following = shared.engine.after(conv, after, limit).await?;
        let page = &mut following.page;
        if limit == REPAIR_LIMIT && pages::blocks_a_room(shared, conv, &page.items) {
            return Ok(following);
        }
        // A room is not misled: it would ask again and again.
        let reaches_newest =
            !page.more && (limit != REPAIR_LIMIT || !shared.has(Fault::ShowInBatches));
        pages::spoil_page(shared, conv, &mut page.items, reaches_newest);
        Ok(following)
    }

    async fn unread_late(
        &self,
        conv: ConvId,
        user: &UserName,
        after: Seq,
        limit: usize,
    ) -> Result<LatePage, EngineError> {
        let mut page = self.shared.engine.unread_late(conv, user, after, limit).await?;
        opens::spoil_late(&self.shared, conv, &mut page);
        Ok(page)
    }

    async fn ack(&self, request: AckRequest) -> Result<AckOutcome, EngineError> {
        acks::ack(&self.shared, request).await
    }

    async fn regroup(&self, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
        rosters::regroup(&self.shared, request).await
    }

    async fn roster(&self, conv: ConvId) -> Result<Rostered, EngineError> {
        let now = self.shared.engine.roster(conv).await?;
        Ok(rosters::told(&self.shared, conv, now))
    }

    async fn mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        self.shared.engine.mine(user).await
    }

    async fn summary(&self, conv: ConvId, user: &UserName) -> Result<Summary, EngineError> {
        let mut summary = self.shared.engine.summary(conv, user).await?;
        if let Some(newest) = &mut summary.newest
            && let Some(shown) = pages::shown(&self.shared, conv, newest)
        {
            *newest = shown;
        }
        Ok(summary)
    }

    async fn close(&self) {
        self.shared.engine.close().await;
    }
}
