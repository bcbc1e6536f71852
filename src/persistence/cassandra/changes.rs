//! Changes of who is in a group: in one queue with the appends of this node, in one order with those of all nodes.
//!
//! A change writes no message, but the end of the conversation on the same condition as an append, and in the same place: where the
//! last bucket is full it begins the next one. So what was decided under the roster before it fails, and is decided again.

use std::sync::Arc;

use tokio::time::Instant;

use super::acks;
use super::batch::Written;
use super::commit::{ANSWER_TIME, Committer, in_time};
use super::decision::Decision;
use super::failure;
use super::link::{CallError, Link};
use super::rosters::{self, RosterId};
use crate::model::{ConvId, Roster, UserName};
use crate::persistence::writer::Change;
use crate::persistence::{GroupOutcome, GroupRequest, Rostered};

/// What is done of a change that is tried again: little may be left between a look at the end and the write, or it would never
/// get its turn in a conversation that others write to all the time.
#[derive(Default)]
struct Begun {
    /// The end is known as it was after the call.
    has_looked: bool,
    /// The list of who comes is written; whether the group was not theirs before.
    enlisted: Option<bool>,
    /// A roster is written that was made of this one.
    drafted: Option<(Option<RosterId>, RosterId)>,
}

impl Committer {
    /// Does it or refuses it, in time.
    pub(super) async fn change_in_time(&self, conv: ConvId, change: Change) {
        let deadline = change.since + ANSWER_TIME;
        let mut last = failure::down("there was no time");
        let mut begun = Begun::default();
        let outcome = loop {
            let link = match self.store.calls.link(deadline).await {
                Ok(link) => link,
                Err(error) => break Err(if last.is_definite() { error } else { last }),
            };
            let attempt = self.change_once(&link, conv, &change, &mut begun, deadline);
            match Box::pin(attempt).await {
                Ok(Some(outcome)) => break Ok(outcome),
                Ok(None) => {
                    begun.has_looked = true;
                    last = failure::crowded("the conversation changes all the time");
                }
                Err(CallError::Answer(error)) => break Err(error),
                Err(error) => {
                    begun.has_looked = false;
                    if matches!(error, CallError::Lost) {
                        self.store.lost(&link).await;
                    }
                    last = self.store.calls.failed(error, &link, deadline).await;
                }
            }
            if Instant::now() >= deadline {
                break Err(last);
            }
        };
        change.answer(outcome);
    }

    /// `None`: the conversation has moved on, and nothing was changed. Errors are those of [`Store::write`](super::store::Store).
    async fn change_once(
        &self,
        link: &Arc<Link>,
        conv: ConvId,
        change: &Change,
        begun: &mut Begun,
        deadline: Instant,
    ) -> Result<Option<GroupOutcome>, CallError> {
        let (store, layout) = (&self.store, link.layout);
        store.enter(link);
        let end = store.ends.of(conv);
        let ends = &store.ends;
        let tail = if begun.has_looked {
            in_time(deadline, ends.known(link, conv)).await?
        } else {
            in_time(deadline, ends.rostered(link, conv)).await?
        };
        let named = store.rosters.named(link, conv, tail.roster);
        let before = in_time(deadline, named).await?;
        let done = |roster: Arc<Roster>, became| {
            let now = Rostered { epoch: link.life.epoch.clone(), roster };
            Ok(Some(GroupOutcome::Done { now, became }))
        };
        let GroupRequest { by, act, .. } = &change.request;
        let head = tail.head(layout);
        let changed = match before.after(by, act, (head, &link.life.epoch)) {
            Ok(Some(changed)) => Arc::new(changed),
            Ok(None) => return done(before, None),
            Err(refusal) => return Ok(Some(GroupOutcome::Refused(refusal))),
        };
        let comes = changed.joined_since(&before).next();
        if let (Some(user), None) = (comes, begun.enlisted) {
            begun.enlisted = Some(in_time(deadline, enlist(link, change, user)).await?);
        }
        let roster = match begun.drafted {
            Some((made_of, roster)) if made_of == tail.roster => roster,
            _ => {
                let writing = rosters::write(link, conv, &changed, tail.roster);
                let roster = in_time(deadline, writing).await?;
                begun.drafted = Some((tail.roster, roster));
                roster
            }
        };
        let roster = roster.at(head);
        let (base, is_new) = self.base(link, conv, tail, deadline).await?;
        let decision = Decision::change(&base, link.life.generation, layout, roster);
        match store.write(link, conv, &end, &decision, deadline).await? {
            Written::Done => {}
            Written::Moved => return Ok(None),
        }
        self.written(link, conv, &end, &decision, is_new);
        store.rosters.keep(conv, roster, &changed);
        let listed = comes.filter(|_| begun.enlisted == Some(true));
        let became = match listed {
            // It is done; whose the conversation became by it is a courtesy.
            Some(user) => in_time(deadline, acks::become_mine(link, conv, user)).await,
            None => Ok(false),
        };
        let became = listed.filter(|_| matches!(became, Ok(true))).cloned();
        done(changed, became)
    }
}

/// Before somebody becomes a member: the group will be in their list. Answers whether it was not theirs before.
async fn enlist(link: &Link, change: &Change, user: &UserName) -> Result<bool, CallError> {
    let GroupRequest { conv, place, .. } = &change.request;
    if acks::read(link, *conv, user).await?.mine {
        return Ok(false);
    }
    acks::add_mine(link, user, *conv, place, change.stamp).await?;
    Ok(true)
}
