//! What waits for its batch: decided over the end as known, written, answered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::acks;
use super::batch::Written;
use super::codec::bigint;
use super::crash::Point;
use super::decision::{Circumstances, Decision, decide};
use super::ends::End;
use super::failure;
use super::link::{CallError, Link};
use super::rosters::RosterId;
use super::store::Store;
use super::tail::Tail;
use super::{names, seal};
use crate::clock;
use crate::model::{Cid, ConvId, Message, Place, Seq, UserName};
use crate::persistence::decision::Fate;
use crate::persistence::writer::{Change, Commits, Queued};
use crate::persistence::{AppendOutcome, Stored};

/// A batch is answered within this of the first call in it; below `answer_ms_max`.
pub const ANSWER_TIME: Duration = Duration::from_millis(4_200);

/// Writes batches.
pub struct Committer {
    /// The store as this node knows it.
    pub store: Arc<Store>,
    tasks: TaskTracker,
}

#[async_trait]
impl Commits for Committer {
    fn engine(&self) -> &'static str {
        "cassandra"
    }

    async fn commit(&self, conv: ConvId, queued: Vec<Queued>) {
        self.commit_in_time(conv, queued).await;
    }

    async fn change(&self, conv: ConvId, change: Change) {
        self.change_in_time(conv, change).await;
    }
}

impl Committer {
    /// Of one store; what need not be waited for is spawned on `tasks`.
    pub fn new(store: Arc<Store>, tasks: TaskTracker) -> Self {
        Self { store, tasks }
    }

    async fn commit_in_time(&self, conv: ConvId, mut queued: Vec<Queued>) {
        let Some(first) = queued.first() else { return };
        let deadline = first.since + ANSWER_TIME;
        let mut last = failure::down("there was no time");
        while !queued.is_empty() {
            let error = match self.store.calls.link(deadline).await {
                Ok(link) => {
                    let step = Box::pin(self.step(&link, conv, &mut queued, deadline));
                    match step.await {
                        Ok(()) => continue,
                        Err(CallError::Answer(error)) => error,
                        Err(error) => {
                            if matches!(error, CallError::Lost) {
                                self.store.lost(&link).await;
                            }
                            last = self.store.calls.failed(error, &link, deadline).await;
                            if Instant::now() < deadline {
                                continue;
                            }
                            last.clone()
                        }
                    }
                }
                Err(error) if last.is_definite() => error,
                Err(_) => last.clone(),
            };
            for queued in queued.drain(..) {
                queued.answer(Err(error.clone()));
            }
        }
    }

    /// One batch of the appends in front; what it decided is answered and gone. An error says that nothing was written,
    /// but for [`EngineError::Timeout`]: that nobody knows.
    async fn step(
        &self,
        link: &Arc<Link>,
        conv: ConvId,
        queued: &mut Vec<Queued>,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let store = &self.store;
        store.enter(link);
        let layout = link.layout;
        let end = store.ends.of(conv);
        let tail = in_time(deadline, store.ends.known(link, conv)).await?;
        let older = in_time(deadline, self.older(link, conv, &end, &tail, queued)).await?;
        let is_group = queued.iter().any(Queued::asks_members);
        let named = store.rosters.named(link, conv, tail.roster);
        let roster = if is_group { Some(in_time(deadline, named).await?) } else { None };
        let seen = (tail.head(layout), tail.roster);
        let (base, is_new) = self.base(link, conv, tail, deadline).await?;
        let now = clock::unix_ms().saturating_add_signed(store.status.ahead_ms());
        let (generation, tag) = (link.life.generation, rand::random());
        let roster = roster.as_deref();
        let with = Circumstances { layout, generation, now, older: &older, roster, tag };
        let mut decision = decide(&base, queued, &with);
        let mut became = Vec::new();
        if is_group && decision.rows.is_empty() {
            // Who is in the group may have changed elsewhere: a batch that holds would say that it has not.
            let fresh = in_time(deadline, store.ends.rostered(link, conv)).await?;
            if (fresh.head(layout), fresh.roster) != seen {
                return Ok(());
            }
        }
        if !decision.rows.is_empty() {
            if base.head(layout) == Seq::ZERO {
                in_time(deadline, self.index(link, &queued[..decision.fates.len()])).await?;
            }
            store.crash.at(Point::BeforeAppend).await;
            match store.write(link, conv, &end, &decision, deadline).await {
                Ok(Written::Done) => {}
                Ok(Written::Moved) => return Ok(()),
                Err(CallError::Answer(error)) if !error.is_definite() => {
                    // What is decided without the batch may be said, but in a group; what it carries is in doubt.
                    let fates = std::mem::take(&mut decision.fates);
                    for (queued, fate) in queued.drain(..fates.len()).zip(fates) {
                        queued.answer(match is_group || fate.depends_on_the_batch() {
                            true => Err(error.clone()),
                            false => Ok(outcome(fate, &decision, link, &[])),
                        });
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            if is_new {
                store.crash.at(Point::AfterFirstRow).await;
            }
            store.crash.at(Point::AfterAppend).await;
            self.written(link, conv, &end, &decision, is_new);
            became = in_time(deadline, self.become_theirs(link, &decision, queued))
                .await
                .unwrap_or_default();
        }
        let decided = decision.fates.len();
        let joined = in_time(deadline, self.join(link, &decision, &queued[..decided])).await;
        let fates = std::mem::take(&mut decision.fates);
        for (queued, fate) in queued.drain(..decided).zip(fates) {
            // The message is stored, but the sender does not have the conversation: the same call again makes it theirs.
            queued.answer(match joined.is_err() && fate.is_stored() {
                true => Err(failure::unanswered(
                    "the message is stored, and not yet in the sender's list",
                )),
                false => Ok(outcome(fate, &decision, link, &became)),
            });
        }
        Ok(())
    }

    /// What the next batch is decided on: the end, or, where that is full, the bucket after it, and whether it begins that.
    pub async fn base(
        &self,
        link: &Link,
        conv: ConvId,
        tail: Arc<Tail>,
        deadline: Instant,
    ) -> Result<(Arc<Tail>, bool), CallError> {
        if !tail.is_full(link.layout) {
            return Ok((tail, false));
        }
        in_time(deadline, seal::seal(&self.store, link, conv, &tail)).await?;
        Ok((Arc::new(tail.next_bucket()), true))
    }

    /// Stored messages of full buckets with the names of appends.
    async fn older(
        &self,
        link: &Link,
        conv: ConvId,
        end: &End,
        tail: &Tail,
        queued: &[Queued],
    ) -> Result<HashMap<(UserName, Cid), Arc<Message>>, CallError> {
        let sent = queued.iter().filter(|queued| !queued.is_restored());
        let names = sent.map(|queued| (&queued.append.sender, &queued.append.cid));
        let names: HashSet<(&UserName, &Cid)> = names.collect();
        let mut older = HashMap::new();
        if tail.is_full(link.layout) {
            // It will be one of the full buckets.
            for (sender, cid) in &names {
                let row = tail.named(sender, cid, link.layout);
                older.extend(row.map(|row| named(Arc::clone(&row.message))));
            }
        }
        if tail.bucket == 0 || names.is_empty() {
            return Ok(older);
        }
        let elsewhere = || {
            names
                .iter()
                .copied()
                .filter(|(sender, cid)| tail.named(sender, cid, link.layout).is_none())
        };
        let seqs = match end.find(tail.bucket, elsewhere()) {
            Some(seqs) => seqs,
            None => {
                let known = names::load(link, conv, tail.bucket, clock::unix_ms()).await?;
                let found = known.find_all(elsewhere());
                end.know(known);
                found
            }
        };
        let messages = self.store.buckets.messages(link, conv, &seqs).await?;
        older.extend(messages.into_values().map(named));
        Ok(older)
    }

    /// Remembers what was written.
    pub fn written(
        &self,
        link: &Arc<Link>,
        conv: ConvId,
        end: &Arc<End>,
        decision: &Decision,
        is_new: bool,
    ) {
        let tail = Arc::new(decision.applied(link.layout));
        end.learn(&tail, link.layout);
        if is_new {
            let (link, bucket) = (Arc::clone(link), tail.bucket);
            self.tasks.spawn(async move {
                // A hint: without it the end is found a little later.
                let values = (bigint(bucket), bigint(bucket), &conv.as_bytes()[..]);
                let _ = link.run(&link.statements.set_head, values).await;
            });
        }
    }

    /// Before the first message of a direct chat: it will be in the lists of both.
    async fn index(&self, link: &Link, queued: &[Queued]) -> Result<(), CallError> {
        let first = queued.first().filter(|first| !first.is_restored());
        let Some(Queued { append, stamp, .. }) = first else { return Ok(()) };
        for user in append.place.participants() {
            let acks = acks::read(link, append.conv, user).await?;
            if !acks.mine {
                acks::add_mine(link, user, append.conv, &append.place, *stamp).await?;
            }
        }
        Ok(())
    }

    /// The first message makes a direct chat both users'. Answers whose it became by that.
    async fn become_theirs(
        &self,
        link: &Link,
        decision: &Decision,
        queued: &[Queued],
    ) -> Result<Vec<UserName>, CallError> {
        let mut became = Vec::new();
        let is_first = decision.base.head(link.layout) == Seq::ZERO;
        let first = queued.first().filter(|first| !first.is_restored());
        if let (true, Some(Queued { append, .. })) = (is_first, first) {
            for user in append.place.participants() {
                if acks::become_mine(link, append.conv, user).await? {
                    became.push(user.clone());
                }
            }
        }
        Ok(became)
    }

    /// Who writes in a direct chat was there as if by an open.
    async fn join(
        &self,
        link: &Link,
        decision: &Decision,
        queued: &[Queued],
    ) -> Result<(), CallError> {
        for (Queued { append, .. }, fate) in queued.iter().zip(&decision.fates) {
            let (conv, sender) = (append.conv, &append.sender);
            if !fate.is_stored()
                || append.restored.is_some()
                || !matches!(*append.place, Place::Direct(..))
                || !self.store.index.is_missing(conv, sender, &link.life)
            {
                continue;
            }
            acks::join(link, conv, sender, Seq::ZERO).await?;
            self.store.index.note(conv, sender, &link.life);
        }
        Ok(())
    }
}

fn named(message: Arc<Message>) -> ((UserName, Cid), Arc<Message>) {
    ((message.from.clone(), message.cid.clone()), message)
}

/// What the caller is told.
fn outcome(fate: Fate, decision: &Decision, link: &Link, became: &[UserName]) -> AppendOutcome {
    let (message, dup) = match fate.stored() {
        Ok(stored) => stored,
        Err(refused) => return refused,
    };
    let epoch = link.life.epoch.clone();
    let is_first = message.seq == Seq(1) && !dup;
    let became = if is_first { became.to_vec() } else { Vec::new() };
    let roster = decision.roster.map_or(0, RosterId::version);
    AppendOutcome::Stored(Stored { message, dup, epoch, became, roster })
}

/// What is read before anything is written may fail: nothing was written.
pub async fn in_time<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    match timeout_at(deadline, Box::pin(work)).await {
        Ok(Err(CallError::Doubt(reason))) => Err(CallError::NotSent(reason)),
        Ok(outcome) => outcome,
        Err(_) => Err(CallError::NotSent("the nodes are slow".to_owned())),
    }
}
