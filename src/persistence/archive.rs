//! What `export` and `import` need of an engine beside what a chat does: all that there is, and a way to put it back as it was.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use super::{AckOutcome, AckRequest, EngineError, Persistence};
use crate::model::{AckSet, ConvId, Lives, Place, Roster, Seq, UserName};

/// An engine whose conversations can be carried to another one.
///
/// Messages are read with [`Persistence::after`], and come back by [`Persistence::append`] with [`Append::restored`](super::Append::restored): numbers, times and
/// names stay what they were, so lateness is the same too. The life of the store is its own, never that of the store they come from.
#[async_trait]
pub trait Archive: Persistence {
    /// Which conversations are whose, of all users, in no order. Every conversation that somebody has opened, written to or
    /// made is among them. It may hold entries of calls that were refused, and of one conversation of a user two: then the later counts.
    fn entries(&self) -> BoxStream<'_, Result<Entry, EngineError>>;

    /// The lives of the store, which each [`Persistence::epoch`] is one of.
    fn lives(&self) -> Lives;

    /// What a user has acknowledged; `None`: they never opened the conversation, nor wrote to it. Changes nothing.
    async fn acked(&self, conv: ConvId, user: &UserName) -> Result<Option<AckSet>, EngineError> {
        if self.summary(conv, user).await?.acked_up_to.is_none() {
            return Ok(None);
        }
        let nothing = AckRequest { conv, user: user.clone(), up_to: Seq::ZERO, ranges: Vec::new() };
        match self.ack(nothing).await? {
            AckOutcome::Merged { acked, .. } => Ok(Some(acked)),
            AckOutcome::AboveHead | AckOutcome::TooManyRanges => {
                Err(EngineError::Internal(format!("{conv}: acknowledging nothing was refused")))
            }
        }
    }

    /// Makes a conversation a user's as of a time, and their acknowledgement begin where it did, unless there is one. Safe to repeat;
    /// durable like a message.
    async fn restore_member(&self, member: RestoredMember) -> Result<(), EngineError>;

    /// Puts the roster of a group in its place where it has none yet; answers whether it is the group's roster now. Safe to
    /// repeat; durable like a message.
    async fn restore_roster(&self, conv: ConvId, roster: Roster) -> Result<bool, EngineError>;
}

/// A message that was stored elsewhere, as it was there: neither the clock nor members nor names are asked. It is stored if its
/// number is the next, otherwise the answer is [`AppendOutcome::NotNext`](super::AppendOutcome::NotNext). Nobody's list changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Its number.
    pub seq: Seq,
    /// When it was committed, ms.
    pub at: u64,
}

/// A conversation in a user's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub user: UserName,
    /// The id.
    pub conv: ConvId,
    /// What it is.
    pub place: Arc<Place>,
    /// When it became theirs, µs since 1970 UTC.
    pub since_us: u64,
}

/// A user in a conversation that comes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredMember {
    /// The conversation in their list.
    pub entry: Entry,
    /// Up to where their acknowledgement begins; `None`: they never opened it. At most the head.
    pub acked_up_to: Option<Seq>,
}
