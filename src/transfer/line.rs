//! The lines of an export: JSON, one a line. Format 1.
//!
//! A file is `export`, then for each conversation in the order of ids `conversation`, its `message`s in the order of numbers, its `member`s in the order of names,
//! in a group its `roster`, and `end`; last `complete`.

use serde::{Deserialize, Serialize};

use crate::model::{AckSet, ConvId, Lives, Message, Place, Seq, UserName};

/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line<M = Message> {
    /// The first of a file.
    Export(Header),
    /// The first of a conversation.
    Conversation(Opening),
    /// A message, as in the protocol.
    Message(M),
    /// Somebody who has the conversation.
    Member(Member),
    /// Who is in a group.
    Roster(RosterLine),
    /// The last of a conversation.
    End(End),
    /// The last of a file.
    Complete(Totals),
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of the program that wrote it.
    pub chatctl: String,
    /// The engine, as users configure it.
    pub engine: String,
    /// The lives of the store that it comes from.
    pub epoch: Lives,
    /// When it was begun, RFC 3339.
    pub started_at: String,
}

/// Which conversation follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The id of `place`.
    pub conv: ConvId,
    /// What it is.
    pub place: Place,
}

/// A user in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Who.
    pub user: UserName,
    /// When it became theirs, µs since 1970 UTC.
    pub since_us: u64,
    /// What they have acknowledged; none: they never opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked: Option<AckSet>,
}

/// Who is in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterLine {
    /// Counts the changes.
    pub version: u64,
    /// None in a group that everybody has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserName>,
    /// Everybody, in the order of names.
    pub members: Vec<RosterMember>,
}

/// How somebody came to be a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterMember {
    /// Who.
    pub user: UserName,
    /// The version that began with it.
    pub joined: u64,
    /// Up to where everything counts as read; 0 where it began in an earlier life of the store.
    pub since: Seq,
}

/// What a conversation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Which.
    pub conv: ConvId,
    /// Messages; the highest number.
    pub messages: u64,
    /// SHA-256 of what it is and of its lines but this one, hex: the same in every engine.
    pub digest: String,
    /// The chain up to the line before, hex.
    pub chain: String,
}

/// What a file came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Conversations.
    pub conversations: u64,
    /// Messages of all of them.
    pub messages: u64,
    /// SHA-256 of the digests of all conversations in their order, hex: the same in every engine.
    pub digest: String,
    /// The chain up to the line before, hex.
    pub chain: String,
}
