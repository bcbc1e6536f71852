//! Who may do what: the one place that decides it, for every method.
//!
//! | method | who |
//! |---|---|
//! | `create`, `list`, `ping` | every session; `list` shows what is the user's, and of groups those they are in |
//! | `open{user}` | the two: whoever asks is one of them |
//! | `open{channel}` | everybody: channels are public |
//! | `open{group}` | members: asked before, so that a stranger leaves no trace, and again after the read |
//! | `send` | who has it open; in a group the engine asks in the step that stores |
//! | `read`, `roster` | who has it open; in a group asked *after* the answer was read |
//! | `ack` | the same, and asked before: what is refused is not done |
//! | `invite`, `quit`, `remove` | who has it open; the engine decides: members, for `remove` the owner |
//! | `leave` | who has it open |
//!
//! Asked afterwards: whoever is still a member of the same membership then was one when the answer was read, so nothing in it was
//! stored after a removal that has been answered. "Forbidden" and "does not exist" are one answer.

use std::future::Future;
use std::sync::Arc;

use super::ChatService;
use super::flaw::{self, Flaw};
use super::refusals::{engine_error, timed_out};
use super::subscription::Subscription;
use crate::model::{ConvId, Epoch, Membership, Place, Roster, UserName};
use crate::persistence::Rostered;
use crate::protocol::{ErrorBody, ErrorCode, Reply};

/// A membership of a group, and all of them at that moment.
pub(super) struct Member {
    pub(super) roster: Arc<Roster>,
    pub(super) membership: Membership,
    /// The life of the store that it was asked in.
    pub(super) epoch: Epoch,
}

impl ChatService {
    /// The membership of a user; `None` where none is needed. Who has none is told what they would be told if the group did not exist.
    pub(super) async fn membership(
        &self,
        conv: ConvId,
        place: &Place,
        user: &UserName,
    ) -> Result<Option<Member>, ErrorBody> {
        if !matches!(place, Place::Group(_)) {
            return Ok(None);
        }
        let Rostered { roster, epoch } =
            self.persistence.roster(conv).await.map_err(engine_error)?;
        let membership = roster.membership(user).ok_or_else(ErrorBody::not_found)?;
        Ok(Some(Member { roster, membership, epoch }))
    }

    /// Acknowledges, for those who may.
    pub(super) async fn ack_for_members(
        &self,
        conv: ConvId,
        place: &Place,
        subscription: &Subscription,
        work: impl Future<Output = Result<Reply, ErrorBody>>,
    ) -> Result<Reply, ErrorBody> {
        self.check(conv, place, subscription).await?;
        let outcome = work.await;
        match self.check(conv, place, subscription).await {
            Ok(()) => outcome,
            // Whoever was removed meanwhile does not see what they did; invited again they have read everything.
            Err(error) if error.code == ErrorCode::NotFound => Err(error),
            // It is done, or may be.
            Err(_) => outcome.and_then(|_| Err(timed_out())),
        }
    }

    /// Whether the membership goes on that the conversation was opened with.
    async fn check(
        &self,
        conv: ConvId,
        place: &Place,
        subscription: &Subscription,
    ) -> Result<(), ErrorBody> {
        match self.membership(conv, place, &subscription.session.user).await? {
            Some(member) if !subscription.is_of(&member.roster) => Err(ErrorBody::not_found()),
            _ => Ok(()),
        }
    }

    /// Does something that reads, and gives its outcome to those who may see it.
    pub(super) async fn for_members(
        &self,
        conv: ConvId,
        place: &Place,
        subscription: &Subscription,
        work: impl Future<Output = Result<Reply, ErrorBody>>,
    ) -> Result<Reply, ErrorBody> {
        let outcome = work.await;
        if flaw::has(Flaw::AsksNoRoster) {
            return outcome;
        }
        self.check(conv, place, subscription).await.and(outcome)
    }
}
