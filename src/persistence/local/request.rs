//! What the committer is asked, and where its answers go.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::model::{AckSet, ConvId, GroupRefusal, Place, Roster, UserName};
use crate::persistence::{
    AckRequest, Append, AppendOutcome, EngineError, GroupRequest, RestoredMember,
};

/// Where the answer to a request goes. A caller that has gone is no error.
pub type Answer<T> = oneshot::Sender<Result<T, EngineError>>;

/// What became of an acknowledgement: the union, or why not.
pub type AckDecision = Result<AckSet, crate::model::AckError>;

/// What became of a change of a group: the roster, and whom the conversation became theirs by it; or why not.
pub type GroupDecision = Result<(Arc<Roster>, Option<UserName>), GroupRefusal>;

/// Something to write.
pub enum Request {
    /// Store a message.
    Append(Append, Answer<AppendOutcome>),
    /// Merge an acknowledgement.
    Ack(AckRequest, Answer<AckDecision>),
    /// Make a conversation a user's; answers whether it became theirs now.
    Join(ConvId, Arc<Place>, UserName, Answer<bool>),
    /// Change who is in a group; answers the roster, and whether the conversation became somebody's.
    Regroup(GroupRequest, Answer<GroupDecision>),
    /// Make a conversation a user's as it was elsewhere.
    Member(RestoredMember, Answer<()>),
    /// Take the roster of a group as it was elsewhere; answers whether it is the group's now.
    Roster(ConvId, Arc<Roster>, Answer<bool>),
    /// Force everything to the disk and end.
    Close(Answer<()>),
}

impl Request {
    /// Content bytes that it holds while it waits.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Append(append, _) => append.content.len(),
            _ => 0,
        }
    }
}
