//! The specification as an engine: what the suite itself is tested with. With a [`Flaw`] it breaks
//! one promise, and the case for that promise must notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::model::{Clock, Model};
use super::subject::{Ending, Factory};
use crate::clock::unix_ms;
use crate::model::{Cid, ConvId, Durability, Epoch, Order, Seq, UserName};
use crate::persistence::{
    AckOutcome, AckRequest, Append, AppendOutcome, EngineError, Following, GroupOutcome,
    GroupRequest, LatePage, Mine, OpenQuery, OpenView, Opened, Page, Persistence, RangeQuery,
    Rostered, Summary,
};

/// A promise to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A message as old as the newest counts as late.
    EqualIsLate,
    /// A retry is stored again.
    ForgetsCids,
    /// A refused message takes a number all the same.
    RefusalTakesSeq,
    /// The newest page is by number.
    PagesBySeq,
    /// `open` never shows late messages.
    HidesLate,
    /// An acknowledgement replaces what was acknowledged.
    AckRegresses,
    /// Some of an acknowledgement that reaches above the head is taken.
    AckTakesPart,
    /// The upper end of a history read is left out.
    RangeEndIsExclusive,
    /// A page begins with the message that the last one ended with.
    StartIsInclusive,
    /// Bounds in bytes are not kept.
    IgnoresBytes,
    /// A gap too wide to bridge is bridged in part.
    BridgesInPart,
    /// Any epoch may resume.
    IgnoresEpoch,
    /// Each open of a channel acknowledges everything.
    JoinsAgain,
    /// Users are told every time that a conversation became theirs.
    BecameEachTime,
}

/// One node over a shared specification.
pub struct Reference {
    model: Arc<Mutex<Model>>,
    flaw: Option<Flaw>,
    closed: AtomicBool,
}

/// Makes [`Reference`]s over one store.
pub struct ReferenceFactory {
    model: Arc<Mutex<Model>>,
    flaw: Option<Flaw>,
}

impl ReferenceFactory {
    /// Keeps every promise.
    pub fn sound() -> Self {
        Self { model: Arc::new(Mutex::new(Model::new(Epoch::generate()))), flaw: None }
    }

    /// Breaks one.
    pub fn with(flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..Self::sound() }
    }

    fn node(&self) -> Arc<dyn Persistence> {
        let (model, flaw) = (Arc::clone(&self.model), self.flaw);
        Arc::new(Reference { model, flaw, closed: AtomicBool::new(false) })
    }
}

#[async_trait]
impl Factory for ReferenceFactory {
    async fn create(&self) -> Arc<dyn Persistence> {
        self.node()
    }

    async fn second_node(&self) -> Option<Arc<dyn Persistence>> {
        Some(self.node())
    }

    fn survives(&self) -> bool {
        true
    }

    async fn reopen(&self, _: Arc<dyn Persistence>, _: Ending) -> Arc<dyn Persistence> {
        self.node()
    }
}

impl Reference {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn append_now(&self, append: &Append) -> AppendOutcome {
        let now = unix_ms();
        let clock = Clock { at: now, stamp: now };
        let mut model = self.model();
        let highest_ts = model.conversation(append.conv).highest_ts();
        let mut outcome = model.append(append, clock);
        match &mut outcome {
            AppendOutcome::Stored(stored) if stored.dup && self.has(Flaw::ForgetsCids) => {
                *stored = model.store(append, clock);
            }
            AppendOutcome::Stored(stored) if !stored.dup => {
                if self.has(Flaw::EqualIsLate) && stored.message.ts == highest_ts {
                    let last = model.conversation_mut(append.conv).messages.last_mut();
                    let message = Arc::make_mut(last.expect("just stored"));
                    message.late = true;
                    stored.message = Arc::new(message.clone());
                }
                if self.has(Flaw::BecameEachTime) {
                    stored.became = append.place.participants().cloned().collect();
                }
            }
            AppendOutcome::TsInFuture if self.has(Flaw::RefusalTakesSeq) => {
                let cid = Cid::new("refused").expect("a cid");
                model.store(&Append { cid, ts: None, ..append.clone() }, clock);
            }
            _ => {}
        }
        outcome
    }

    fn spoil(&self, model: &Model, query: &OpenQuery, opened: &mut Opened) {
        let messages = model.conversation(query.conv).messages;
        match (&mut opened.view, &query.resume) {
            (OpenView::Page { items, .. }, _) if self.has(Flaw::PagesBySeq) => {
                *items = messages[messages.len().saturating_sub(query.limit)..].to_vec();
            }
            (OpenView::Page { items, .. }, _) if self.has(Flaw::IgnoresBytes) => {
                let mut all = messages;
                all.sort_by_key(|message| message.position());
                *items = all.split_off(all.len().saturating_sub(query.limit));
            }
            (OpenView::Page { late, late_next, .. }, _) if self.has(Flaw::HidesLate) => {
                late.clear();
                *late_next = None;
            }
            (view @ OpenView::Page { .. }, Some((epoch, seq)))
                if (self.has(Flaw::BridgesInPart) && *epoch == model.epoch)
                    || self.has(Flaw::IgnoresEpoch) =>
            {
                let skipped = messages.len().saturating_sub(100).max(seq.0 as usize);
                *view = OpenView::Recovered(messages.into_iter().skip(skipped).collect());
            }
            _ => {}
        }
    }
}

#[async_trait]
impl Persistence for Reference {
    fn name(&self) -> &'static str {
        "REFERENCE"
    }

    fn durability(&self) -> Durability {
        Durability::NONE
    }

    fn epoch(&self, _: ConvId) -> Epoch {
        self.model().epoch.clone()
    }

    fn health(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn append(&self, append: Append) -> BoxFuture<'static, Result<AppendOutcome, EngineError>> {
        let outcome = if self.closed.load(Ordering::SeqCst) {
            Err(EngineError::Unavailable("closed".to_owned()))
        } else {
            Ok(self.append_now(&append))
        };
        Box::pin(std::future::ready(outcome))
    }

    async fn open(&self, query: OpenQuery) -> Result<Opened, EngineError> {
        let mut model = self.model();
        if self.has(Flaw::JoinsAgain) {
            model.conversation_mut(query.conv).acked.remove(&query.user);
        }
        let mut opened = model.open(&query);
        self.spoil(&model, &query, &mut opened);
        Ok(opened)
    }

    async fn range(&self, mut query: RangeQuery) -> Result<Page, EngineError> {
        if self.has(Flaw::RangeEndIsExclusive) {
            query.to -= 1;
        }
        if self.has(Flaw::StartIsInclusive) {
            query.start = query.start.map(|(ts, seq)| match query.order {
                Order::Asc => (ts, Seq(seq.0 - 1)),
                Order::Desc => (ts, seq.next()),
            });
        }
        Ok(self.model().conversation(query.conv).range(&query))
    }

    async fn after(
        &self,
        conv: ConvId,
        after: Seq,
        limit: usize,
    ) -> Result<Following, EngineError> {
        let page = self.model().conversation(conv).after(after, limit);
        Ok(Following { epoch: self.epoch(conv), page })
    }

    async fn unread_late(
        &self,
        conv: ConvId,
        user: &UserName,
        after: Seq,
        limit: usize,
    ) -> Result<LatePage, EngineError> {
        Ok(self.model().conversation(conv).late_page(user, after, limit))
    }

    async fn ack(&self, mut request: AckRequest) -> Result<AckOutcome, EngineError> {
        let mut model = self.model();
        if self.has(Flaw::AckRegresses) {
            model.conversation_mut(request.conv).acked.remove(&request.user);
        }
        let outcome = model.ack(&request);
        if self.has(Flaw::AckTakesPart) && matches!(outcome, AckOutcome::AboveHead) {
            request.up_to = request.up_to.min(model.conversation(request.conv).head());
            request.ranges.clear();
            model.ack(&request);
        }
        Ok(outcome)
    }

    async fn regroup(&self, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
        Ok(self.model().regroup(&request))
    }

    async fn roster(&self, conv: ConvId) -> Result<Rostered, EngineError> {
        let model = self.model();
        Ok(Rostered { epoch: model.epoch.clone(), roster: model.roster(conv) })
    }

    async fn mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        Ok(self.model().mine(user))
    }

    async fn summary(&self, conv: ConvId, user: &UserName) -> Result<Summary, EngineError> {
        Ok(self.model().conversation(conv).summary(user))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}
