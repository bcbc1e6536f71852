//! An engine whose operations are timed and whose errors are counted.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::operations::Operation;
use super::{
    AckOutcome, AckRequest, Append, AppendOutcome, EngineError, Following, GroupOutcome,
    GroupRequest, LatePage, Lost, Mine, OpenQuery, Opened, Page, Persistence, RangeQuery, Rostered,
    Summary,
};
use crate::model::{ConvId, Durability, Epoch, Seq, UserName};

/// Times all operations but `append`: whoever waits for that one times it, because a future around its future would be an allocation
/// for each message.
pub struct Timed {
    engine: Arc<dyn Persistence>,
    open: Operation,
    range: Operation,
    after: Operation,
    unread_late: Operation,
    ack: Operation,
    regroup: Operation,
    roster: Operation,
    mine: Operation,
    summary: Operation,
}

impl Timed {
    /// The same engine, watched.
    pub fn new(engine: Arc<dyn Persistence>) -> Self {
        let operation = |operation| Operation::new(engine.name(), operation);
        Self {
            open: operation("open"),
            range: operation("range"),
            after: operation("after"),
            unread_late: operation("unread_late"),
            ack: operation("ack"),
            regroup: operation("regroup"),
            roster: operation("roster"),
            mine: operation("mine"),
            summary: operation("summary"),
            engine,
        }
    }
}

async fn timed<T>(
    operation: &Operation,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    let began = Instant::now();
    let result = work.await;
    operation.record(began.elapsed(), &result);
    result
}

#[async_trait]
impl Persistence for Timed {
    as_the_engine!();

    async fn open(&self, query: OpenQuery) -> Result<Opened, EngineError> {
        timed(&self.open, self.engine.open(query)).await
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, EngineError> {
        timed(&self.range, self.engine.range(query)).await
    }

    async fn after(
        &self,
        conv: ConvId,
        after: Seq,
        limit: usize,
    ) -> Result<Following, EngineError> {
        timed(&self.after, self.engine.after(conv, after, limit)).await
    }

    async fn unread_late(
        &self,
        conv: ConvId,
        user: &UserName,
        after: Seq,
        limit: usize,
    ) -> Result<LatePage, EngineError> {
        timed(&self.unread_late, self.engine.unread_late(conv, user, after, limit)).await
    }

    async fn ack(&self, request: AckRequest) -> Result<AckOutcome, EngineError> {
        timed(&self.ack, self.engine.ack(request)).await
    }

    async fn regroup(&self, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
        timed(&self.regroup, self.engine.regroup(request)).await
    }

    async fn roster(&self, conv: ConvId) -> Result<Rostered, EngineError> {
        timed(&self.roster, self.engine.roster(conv)).await
    }

    async fn mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        timed(&self.mine, self.engine.mine(user)).await
    }

    async fn summary(&self, conv: ConvId, user: &UserName) -> Result<Summary, EngineError> {
        timed(&self.summary, self.engine.summary(conv, user)).await
    }

    async fn close(&self) {
        self.engine.close().await;
    }
}
