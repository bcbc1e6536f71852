//! Pushes: frames that answer nothing.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::To;
use crate::model::{Cid, ConvId, Epoch, LIMITS, Message, MessageType, Seq, SeqRange, UserName};

/// A frame without `id`: `{"msg":{…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each push is defined by its type")]
pub enum Push {
    Msg(MsgPush),
    Acked(AckedPush),
    Presence(PresencePush),
    Listed(ListedPush),
    Reset(ResetPush),
    Members(MembersPush),
    Removed(RemovedPush),
    Notice(NoticePush),
}

/// A message of an open conversation: exact, once, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "FlatMsg")]
pub struct MsgPush {
    /// Where.
    pub conv: ConvId,
    /// The message.
    #[serde(flatten)]
    pub message: Arc<Message>,
}

/// The same without `flatten`, which would buffer every field when reading.
#[derive(Deserialize, JsonSchema)]
struct FlatMsg {
    conv: ConvId,
    seq: Seq,
    from: UserName,
    cid: Cid,
    #[serde(rename = "type")]
    kind: MessageType,
    content: String,
    ts: u64,
    at: u64,
    late: bool,
}

impl From<FlatMsg> for MsgPush {
    fn from(flat: FlatMsg) -> Self {
        let FlatMsg { conv, seq, from, cid, kind, content, ts, at, late } = flat;
        Self { conv, message: Arc::new(Message { seq, from, cid, kind, content, ts, at, late }) }
    }
}

/// A user acknowledged; best effort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AckedPush {
    /// Where.
    pub conv: ConvId,
    /// Who.
    pub user: UserName,
    /// Everything at or below.
    pub up_to: Seq,
    /// What is acknowledged above; only to the user's own sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<SeqRange>>", length(max = LIMITS.acked_ranges_max))]
    pub ranges: Option<Vec<(Seq, Seq)>>,
}

/// The other user of a direct chat came or went; best effort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PresencePush {
    /// The direct chat.
    pub conv: ConvId,
    /// Who.
    pub user: UserName,
    /// Has a session anywhere.
    pub online: bool,
}

/// A conversation became yours, or one that is not open here got a message; best effort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListedPush {
    /// Its id.
    pub conv: ConvId,
    /// What `open` takes.
    pub to: To,
    /// Number of its newest message.
    pub head: Seq,
}

/// The stream of a conversation was replaced and is closed here: open it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResetPush {
    /// Where.
    pub conv: ConvId,
    /// The new life of the store.
    pub epoch: Epoch,
}

/// Somebody came into a group or left it; to its members, where they have it open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MembersPush {
    /// The group.
    pub conv: ConvId,
    /// Who.
    pub user: UserName,
    /// Is a member now.
    pub joined: bool,
}

/// The user is a member of a group no more: it is closed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemovedPush {
    /// The group.
    pub conv: ConvId,
}

/// Something about the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticePush {
    /// `draining`, `token_expiring`.
    pub code: String,
    /// Of `token_expiring`: when, ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

impl NoticePush {
    /// The server is about to shut down.
    pub fn draining() -> Self {
        Self { code: "draining".to_owned(), expires: None }
    }

    /// The token is about to expire: send another by `refresh`.
    pub fn token_expiring(expires: u64) -> Self {
        Self { code: "token_expiring".to_owned(), expires: Some(expires) }
    }
}
