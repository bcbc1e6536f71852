//! What had its turn: decided over the conversation as it is, written as one entry, answered.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout_at};

use super::ANSWER_TIME;
use super::conversation::Conversation;
use super::entry::Entry;
use super::store::{Claimed, Store};
use super::{acks, failure, shared};
use crate::clock;
use crate::model::{ConvId, Place, Seq, UserName};
use crate::persistence::decision::{Fate, decide};
use crate::persistence::lineage::Life;
use crate::persistence::writer::{Change, Commits, Queued};
use crate::persistence::{
    Append, AppendOutcome, EngineError, GroupOutcome, GroupRequest, Rostered, Stored,
};

/// What follows an entry that is written has so much longer, and is still answered in time.
const AFTER_TIME: Duration = Duration::from_millis(500);

const CROWDED: &str = "the conversation changes all the time";

/// Writes entries.
pub struct Committer {
    /// The store as this node knows it.
    pub store: Arc<Store>,
}

#[async_trait]
impl Commits for Committer {
    fn engine(&self) -> &'static str {
        "riak"
    }

    async fn commit(&self, conv: ConvId, mut queued: Vec<Queued>) {
        let Some(first) = queued.first() else { return };
        let deadline = first.since + ANSWER_TIME;
        let outcome = self.append(conv, &mut queued, deadline).await;
        if let Err(error) = outcome {
            for queued in queued {
                queued.answer(Err(error.clone()));
            }
        }
    }

    async fn change(&self, conv: ConvId, change: Change) {
        let deadline = change.since + ANSWER_TIME;
        let outcome = self.regroup(conv, &change.request, change.stamp, deadline).await;
        change.answer(outcome);
    }
}

impl Committer {
    /// What is decided is answered and gone from `queued`; the error is that of what is left.
    async fn append(
        &self,
        conv: ConvId,
        queued: &mut Vec<Queued>,
        deadline: Instant,
    ) -> Result<(), EngineError> {
        let mut known = self.locked(conv, deadline).await?;
        let mut doubt = None;
        loop {
            let fresh = until(deadline, self.store.fresh(conv, &mut known)).await;
            let life = fresh.map_err(|error| undone(error, &doubt))?;
            let appends = queued.iter().map(|queued| &queued.append);
            let fates = decide(&*known, appends, clock::unix_ms());
            let messages: Vec<_> = fates.iter().filter_map(Fate::new_message).cloned().collect();
            let is_first = known.head() == Seq::ZERO && !messages.is_empty();
            let mut claimed = Ok(Claimed::Done);
            if !messages.is_empty() {
                if is_first {
                    let enlisted = until(deadline, self.enlist(queued)).await;
                    enlisted.map_err(|error| undone(error, &doubt))?;
                }
                let entry = Entry { messages, ..known.next_entry(&life) };
                let claim = self.store.claim(conv, &mut known, entry, deadline);
                claimed = until(deadline, claim).await;
            }
            match claimed {
                Ok(Claimed::Done) => {
                    let became = match is_first {
                        true => until(deadline + AFTER_TIME, self.become_theirs(queued)).await,
                        false => Ok(Vec::new()),
                    };
                    let told =
                        Told { known: &known, life: &life, became: became.unwrap_or_default() };
                    for (queued, fate) in queued.drain(..).zip(fates) {
                        let joined = self.joined(&queued.append, &fate, &life);
                        let outcome = until(deadline + AFTER_TIME, joined).await;
                        queued.answer(outcome.map(|()| told.of(fate)));
                    }
                    return Ok(());
                }
                Ok(Claimed::Moved(unsure)) => {
                    doubt = doubt.or(unsure);
                    if Instant::now() > deadline {
                        return Err(undone(failure::crowded(CROWDED), &doubt));
                    }
                }
                Err(error) => {
                    let error = doubt.unwrap_or(error);
                    // What is decided without the entry may be said; what it carries is in doubt.
                    let told = Told { known: &known, life: &life, became: Vec::new() };
                    for (queued, fate) in queued.drain(..).zip(fates) {
                        queued.answer(match fate.depends_on_the_batch() {
                            true => Err(error.clone()),
                            false => Ok(told.of(fate)),
                        });
                    }
                    return Ok(());
                }
            }
        }
    }

    async fn regroup(
        &self,
        conv: ConvId,
        request: &GroupRequest,
        stamp: u64,
        deadline: Instant,
    ) -> Result<GroupOutcome, EngineError> {
        let GroupRequest { place, by, act, .. } = request;
        let mut known = self.locked(conv, deadline).await?;
        let mut doubt = None;
        loop {
            let fresh = until(deadline, self.store.fresh(conv, &mut known)).await;
            let life = fresh.map_err(|error| undone(error, &doubt))?;
            let before = Arc::clone(&known.roster);
            let done = |roster, became| {
                let now = Rostered { epoch: life.epoch.clone(), roster };
                Ok(GroupOutcome::Done { now, became })
            };
            let changed = match before.after(by, act, (known.head(), &life.epoch)) {
                Ok(Some(changed)) => Arc::new(changed),
                Ok(None) => return done(before, None),
                Err(refusal) => return Ok(GroupOutcome::Refused(refusal)),
            };
            let comes = changed.joined_since(&before).next();
            if let Some(user) = comes {
                let enlisted = until(deadline, self.enlist_one(user, place, stamp)).await;
                enlisted.map_err(|error| undone(error, &doubt))?;
            }
            let entry = Entry { roster: Some(Arc::clone(&changed)), ..known.next_entry(&life) };
            let claim = self.store.claim(conv, &mut known, entry, deadline);
            let claimed = until(deadline, claim).await;
            match claimed.map_err(|error| doubt.clone().unwrap_or(error))? {
                Claimed::Done => {
                    let mut became = None;
                    if let Some(user) = comes {
                        // It is done; whose the conversation became by it is a courtesy.
                        let became_theirs =
                            until(deadline + AFTER_TIME, self.become_mine(conv, user));
                        let is_new = became_theirs.await.unwrap_or(false);
                        became = is_new.then(|| user.clone());
                    }
                    return done(changed, became);
                }
                Claimed::Moved(unsure) => {
                    doubt = doubt.or(unsure);
                    if Instant::now() > deadline {
                        return Err(undone(failure::crowded(CROWDED), &doubt));
                    }
                }
            }
        }
    }

    async fn locked(
        &self,
        conv: ConvId,
        deadline: Instant,
    ) -> Result<OwnedMutexGuard<Conversation>, EngineError> {
        let locked = timeout_at(deadline, self.store.conversation(conv).lock_owned()).await;
        locked.map_err(|_| failure::crowded("the conversation is read for too long"))
    }

    /// Before the first message of a direct chat: it will be in the lists of both.
    async fn enlist(&self, queued: &[Queued]) -> Result<(), EngineError> {
        let first = queued.first().filter(|first| !first.is_restored());
        let Some(Queued { append, stamp, .. }) = first else { return Ok(()) };
        for user in append.place.participants() {
            self.enlist_one(user, &append.place, *stamp).await?;
        }
        Ok(())
    }

    async fn enlist_one(
        &self,
        user: &UserName,
        place: &Arc<Place>,
        stamp: u64,
    ) -> Result<(), EngineError> {
        self.store.lists.add(&self.store.node, user, place, stamp).await
    }

    async fn become_mine(&self, conv: ConvId, user: &UserName) -> Result<bool, EngineError> {
        let (object, tag) = (acks::place(conv, user), rand::random());
        let change = |acks: &mut acks::Acks| acks.become_mine(tag);
        shared::change(&self.store.node, &object, change).await
    }

    /// The first message makes a direct chat both users'. Answers whose it became by that.
    async fn become_theirs(&self, queued: &[Queued]) -> Result<Vec<UserName>, EngineError> {
        let mut became = Vec::new();
        if let Some(Queued { append, .. }) = queued.first().filter(|first| !first.is_restored()) {
            for user in append.place.participants() {
                if self.become_mine(append.conv, user).await? {
                    became.push(user.clone());
                }
            }
        }
        Ok(became)
    }

    /// Who writes in a direct chat was there as if by an open.
    async fn joined(&self, append: &Append, fate: &Fate, life: &Life) -> Result<(), EngineError> {
        let Append { conv, sender, .. } = append;
        let is_direct = matches!(*append.place, Place::Direct(..)) && append.restored.is_none();
        if !fate.is_stored() || !is_direct || !self.store.index.is_missing(*conv, sender, life) {
            return Ok(());
        }
        let object = acks::place(*conv, sender);
        let start = (Seq::ZERO, life.generation);
        let change = |acks: &mut acks::Acks| {
            acks.joined.get_or_insert(start);
        };
        shared::change(&self.store.node, &object, change).await.map_err(|error| {
            // The same call again makes it theirs.
            let text = "the message is stored, and not yet in the sender's list";
            EngineError::Timeout(format!("riak: {text}: {error}"))
        })?;
        self.store.index.note(*conv, sender, life);
        Ok(())
    }
}

/// What failed before anything was written was not done, unless an earlier attempt is in doubt.
fn undone(error: EngineError, doubt: &Option<EngineError>) -> EngineError {
    doubt.clone().unwrap_or_else(|| failure::before_anything(error))
}

/// What takes longer may have been done.
async fn until<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, EngineError>> + Send,
) -> Result<T, EngineError> {
    // Boxed: it holds whole requests.
    timeout_at(deadline, Box::pin(work))
        .await
        .unwrap_or_else(|_| Err(EngineError::Timeout("riak: the node is slow".to_owned())))
}

/// What callers are told.
struct Told<'a> {
    known: &'a Conversation,
    life: &'a Life,
    became: Vec<UserName>,
}

impl Told<'_> {
    fn of(&self, fate: Fate) -> AppendOutcome {
        let (message, dup) = match fate.stored() {
            Ok(stored) => stored,
            Err(refused) => return refused,
        };
        let is_first = message.seq == Seq(1) && !dup;
        let became = if is_first { self.became.clone() } else { Vec::new() };
        let (epoch, roster) = (self.life.epoch.clone(), self.known.roster.version);
        AppendOutcome::Stored(Stored { message, dup, epoch, became, roster })
    }
}
