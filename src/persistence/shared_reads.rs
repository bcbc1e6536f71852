//! Many that ask the same are answered by one read: when everybody comes back at once, most of what they ask is the same.
//!
//! A read that has begun may miss what was stored since, so nobody joins one. Of each question a few run at a time; who comes then waits for the next one, which begins later
//! than all of them came: what it shows is as fresh as the contract asks.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{
    AckOutcome, AckRequest, Append, AppendOutcome, EngineError, Following, GroupOutcome,
    GroupRequest, LatePage, Lost, Mine, OpenQuery, Opened, Page, Persistence, RangeQuery, Rostered,
    Summary,
};
use crate::model::{ConvId, Durability, Epoch, Order, Seq, UserName};

/// Reads that answer one question at the same time, before others wait for the next.
const AT_ONCE: usize = 4;

/// An engine whose reads that do not depend on who asks are shared.
pub struct SharedReads {
    engine: Arc<dyn Persistence>,
    ranges: Questions<RangeKey, Page>,
    followings: Questions<(ConvId, Seq, usize), Following>,
    rosters: Questions<ConvId, Rostered>,
}

type RangeKey = (ConvId, u64, u64, bool, Option<(u64, Seq)>, usize);

impl SharedReads {
    /// The same engine, asked less.
    pub fn new(engine: Arc<dyn Persistence>) -> Self {
        Self::at_once(engine, AT_ONCE)
    }

    pub(super) fn at_once(engine: Arc<dyn Persistence>, at_once: usize) -> Self {
        Self {
            engine,
            ranges: Questions::new(at_once),
            followings: Questions::new(at_once),
            rosters: Questions::new(at_once),
        }
    }
}

type Answer<T> = Result<T, EngineError>;

/// Everything of one kind that is being asked.
struct Questions<K, T> {
    at_once: usize,
    asked: Arc<Mutex<HashMap<K, Question<T>>>>,
}

struct Question<T> {
    running: Arc<Semaphore>,
    /// The read that has not begun; gone with the last who waits for it.
    next: Option<WeakShared<BoxFuture<'static, Answer<T>>>>,
}

impl<K, T> Questions<K, T>
where
    K: Hash + Eq + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    fn new(at_once: usize) -> Self {
        Self { at_once, asked: Arc::default() }
    }

    async fn ask<F>(&self, key: K, read: impl FnOnce() -> F + Send + 'static) -> Answer<T>
    where
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        match self.place(key.clone(), read) {
            Place::Now(read, place) => {
                let _running = Running { asked: &self.asked, key, place: Some(place) };
                read().await
            }
            Place::Next(next) => next.await,
        }
    }

    /// A place among those that run, or in the read that comes next.
    fn place<F, R>(&self, key: K, read: R) -> Place<R, T>
    where
        R: FnOnce() -> F + Send + 'static,
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        let mut asked = lock(&self.asked);
        let question = asked.entry(key.clone()).or_insert_with(|| Question {
            running: Arc::new(Semaphore::new(self.at_once)),
            next: None,
        });
        if let Some(next) = question.next.as_ref().and_then(WeakShared::upgrade) {
            metrics::counter!("chatctl_shared_reads_total").increment(1);
            return Place::Next(next);
        }
        let running = Arc::clone(&question.running);
        if let Ok(place) = Arc::clone(&running).try_acquire_owned() {
            return Place::Now(read, place);
        }
        let asked_by_all = Arc::clone(&self.asked);
        let next = async move {
            // Never closed.
            let place = running.acquire_owned().await.ok();
            if let Some(question) = lock(&asked_by_all).get_mut(&key) {
                // It begins: who comes now must not join it.
                question.next = None;
            }
            let _running = Running { asked: &asked_by_all, key, place };
            read().await
        };
        let next = next.boxed().shared();
        question.next = next.downgrade();
        Place::Next(next)
    }
}

enum Place<R, T> {
    Now(R, OwnedSemaphorePermit),
    Next(Shared<BoxFuture<'static, Answer<T>>>),
}

/// A read under way; a question that nobody asks any more is forgotten when it ends.
struct Running<'a, K: Hash + Eq, T> {
    asked: &'a Mutex<HashMap<K, Question<T>>>,
    key: K,
    place: Option<OwnedSemaphorePermit>,
}

impl<K: Hash + Eq, T> Drop for Running<'_, K, T> {
    fn drop(&mut self) {
        let mut asked = lock(self.asked);
        drop(self.place.take());
        // Whoever runs or waits to run holds the semaphore as well.
        if asked.get(&self.key).is_some_and(|question| Arc::strong_count(&question.running) == 1) {
            asked.remove(&self.key);
        }
    }
}

fn lock<K, T>(asked: &Mutex<HashMap<K, Question<T>>>) -> MutexGuard<'_, HashMap<K, Question<T>>> {
    // No code under this lock can panic half-way through a change.
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Persistence for SharedReads {
    as_the_engine!();

    async fn open(&self, query: OpenQuery) -> Result<Opened, EngineError> {
        self.engine.open(query).await
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, EngineError> {
        let RangeQuery { conv, from, to, order, start, limit } = query.clone();
        let key = (conv, from, to, order == Order::Desc, start, limit);
        let engine = Arc::clone(&self.engine);
        self.ranges.ask(key, move || async move { engine.range(query).await }).await
    }

    async fn after(
        &self,
        conv: ConvId,
        after: Seq,
        limit: usize,
    ) -> Result<Following, EngineError> {
        let engine = Arc::clone(&self.engine);
        let read = move || async move { engine.after(conv, after, limit).await };
        self.followings.ask((conv, after, limit), read).await
    }

    async fn unread_late(
        &self,
        conv: ConvId,
        user: &UserName,
        after: Seq,
        limit: usize,
    ) -> Result<LatePage, EngineError> {
        self.engine.unread_late(conv, user, after, limit).await
    }

    async fn ack(&self, request: AckRequest) -> Result<AckOutcome, EngineError> {
        self.engine.ack(request).await
    }

    async fn regroup(&self, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
        self.engine.regroup(request).await
    }

    async fn roster(&self, conv: ConvId) -> Result<Rostered, EngineError> {
        let engine = Arc::clone(&self.engine);
        self.rosters.ask(conv, move || async move { engine.roster(conv).await }).await
    }

    async fn mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        self.engine.mine(user).await
    }

    async fn summary(&self, conv: ConvId, user: &UserName) -> Result<Summary, EngineError> {
        self.engine.summary(conv, user).await
    }

    async fn close(&self) {
        self.engine.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    /// A counter as a store: each read takes a second, and shows what it was when it began.
    struct World {
        questions: Arc<Questions<&'static str, u64>>,
        value: Arc<AtomicU64>,
        reads: Arc<AtomicU64>,
    }

    impl World {
        fn new(at_once: usize) -> Self {
            let questions = Arc::new(Questions::new(at_once));
            Self { questions, value: Arc::default(), reads: Arc::default() }
        }

        async fn ask(&self) -> u64 {
            let (value, reads) = (Arc::clone(&self.value), Arc::clone(&self.reads));
            let read = move || async move {
                reads.fetch_add(1, Ordering::Relaxed);
                let seen = value.load(Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(seen)
            };
            self.questions.ask("it", read).await.unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_that_ask_the_same_are_a_few_reads_and_all_of_them_fresh() {
        let world = Arc::new(World::new(2));
        let mut asking = tokio::task::JoinSet::new();
        for number in 0..1_000 {
            world.value.store(number, Ordering::Relaxed);
            let world = Arc::clone(&world);
            asking.spawn(async move {
                let before = world.value.load(Ordering::Relaxed);
                assert!(world.ask().await >= before, "it shows what was there when it was asked");
            });
            tokio::task::yield_now().await;
        }
        while let Some(asked) = asking.join_next().await {
            asked.unwrap();
        }
        assert_eq!(world.reads.load(Ordering::Relaxed), 3, "two at once, and one for all others");
        assert!(lock(&world.questions.asked).is_empty(), "nothing is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_takes_nobody_along() {
        let world = Arc::new(World::new(1));
        let ask = || {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.ask().await })
        };
        let (running, first, second) = (ask(), ask(), ask());
        tokio::task::yield_now().await;
        first.abort();
        running.abort();
        assert_eq!(second.await.unwrap(), 0);
        let (running, alone) = (ask(), ask());
        tokio::task::yield_now().await;
        alone.abort();
        assert_eq!(running.await.unwrap(), 0);
        assert_eq!(ask().await.unwrap(), 0);
        assert!(lock(&world.questions.asked).is_empty());
    }
}
