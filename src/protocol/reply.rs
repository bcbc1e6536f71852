//! Replies: the bodies, and the frame around them.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ErrorBody, PROTOCOL_VERSION, To};
use crate::model::{
    AckSet, AllLimits, CURSOR_CHARACTERS_MAX, ConvId, Durability, Epoch, GroupId, LIMITS, Message,
    NodeId, Seq, SessionId, UserName,
};

/// A frame that answers a command: `{"id":7,"send":{…}}` or `{"id":7,"error":{…}}`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReplyFrame {
    /// The command's `id`; absent where it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The method's name and its answer, or `error`.
    #[serde(flatten)]
    pub reply: Reply,
}

/// An answer under the name of its method, or an error.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each answer is defined by its type")]
pub enum Reply {
    Hello(Box<HelloReply>),
    Open(Box<OpenReply>),
    Send(SendReply),
    Read(ReadReply),
    Ack(AckReply),
    /// There are no more pushes of the conversation to this session.
    Leave(Empty),
    List(ListReply),
    Create(CreateReply),
    /// The user is a member.
    Invite(Empty),
    /// The user is no member; nothing that is committed from now on reaches them.
    Remove(Empty),
    /// The user of this session is no member.
    Quit(Empty),
    Roster(RosterReply),
    Refresh(RefreshReply),
    /// The server lives, and has answered.
    Ping(Empty),
    /// It was not done, or nobody knows: see `definite`.
    Error(ErrorBody),
}

/// Nothing more to say: `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

/// The engine behind a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineInfo {
    /// `LOCAL`, `REDIS`, `CASSANDRA`.
    pub name: String,
    /// What an `ok` survives.
    pub durability: Durability,
}

/// Answer of `hello`: the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HelloReply {
    /// This session.
    pub session: SessionId,
    /// Who it is.
    pub user: UserName,
    /// The server process.
    pub node: NodeId,
    /// Protocol version.
    #[schemars(extend("const" = PROTOCOL_VERSION))]
    pub protocol: u32,
    /// The engine and its durability class.
    pub engine: EngineInfo,
    /// Every bound.
    pub limits: AllLimits,
    /// The server pings this often.
    pub ping_ms: u64,
}

/// Answer of `open`: a page, or what was missed, and what is unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenReply {
    /// What the other methods take.
    pub conv: ConvId,
    /// The life of the store that numbers belong to.
    pub epoch: Epoch,
    /// Number of the newest message.
    pub head: Seq,
    /// What the user has acknowledged.
    pub acked: AckSet,
    /// The page, ascending by `(ts, seq)`; resumed: the missing messages, ascending by `seq`.
    pub items: Vec<Arc<Message>>,
    /// Unread late messages that are not among `items`; absent when resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LIMITS.late_max))]
    pub late: Option<Vec<Arc<Message>>>,
    /// More of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = CURSOR_CHARACTERS_MAX))]
    pub late_next: Option<String>,
    /// Messages of others that the user has not acknowledged.
    #[schemars(range(max = LIMITS.unread_max))]
    pub unread: usize,
    /// There may be more than `unread`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread_more: bool,
    /// The late ones among them.
    #[schemars(range(max = LIMITS.unread_max))]
    pub unread_late: usize,
    /// Unread on-time messages older than the page; absent when resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = LIMITS.unread_max))]
    pub unread_before: Option<usize>,
    /// `unread_before > 0`; absent when resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<bool>,
    /// There is something older than `items`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = CURSOR_CHARACTERS_MAX))]
    pub next: Option<String>,
    /// Whether `resume` was granted; absent when it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<bool>,
    /// The other user has a session anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
}

impl OpenReply {
    /// Of a conversation with `head` messages, none of them shown and none unread.
    pub fn bare(conv: ConvId, epoch: Epoch, head: Seq) -> Self {
        Self {
            conv,
            epoch,
            head,
            acked: AckSet::default(),
            items: vec![],
            late: None,
            late_next: None,
            unread: 0,
            unread_more: false,
            unread_late: 0,
            unread_before: None,
            gap: None,
            next: None,
            recovered: None,
            online: None,
        }
    }
}

/// Answer of `send`: the message is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SendReply {
    /// Its number.
    pub seq: Seq,
    /// Its time, ms.
    pub ts: u64,
    /// It is late.
    pub late: bool,
    /// It was stored before, by an earlier send with the same `cid`.
    pub dup: bool,
    /// Commit time, ms.
    pub at: u64,
}

/// Answer of `read`: a page of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadReply {
    /// The messages.
    pub items: Vec<Arc<Message>>,
    /// There is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = CURSOR_CHARACTERS_MAX))]
    pub next: Option<String>,
}

/// Answer of `ack`: what is acknowledged and unread now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AckReply {
    /// The merged state.
    pub acked: AckSet,
    /// What is unread now.
    #[schemars(range(max = LIMITS.unread_max))]
    pub unread: usize,
    /// There may be more than `unread`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread_more: bool,
}

/// Answer of `list`: conversations of the user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListReply {
    /// The conversations, the one with the newest message first.
    pub items: Vec<ListItem>,
    /// There are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = CURSOR_CHARACTERS_MAX))]
    pub next: Option<String>,
}

/// Answer of `create`: the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateReply {
    /// What `open` takes.
    pub group: GroupId,
}

/// Answer of `roster`: who is in the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RosterReply {
    /// Who may remove others.
    pub owner: UserName,
    /// Everybody, the owner too, by name.
    #[schemars(length(min = 1, max = LIMITS.group_members_max))]
    pub members: Vec<UserName>,
}

/// Answer of `refresh`: the new token is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefreshReply {
    /// When the token expires, ms since 1970.
    pub expires: u64,
}

/// One conversation in `list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListItem {
    /// Its id; it still needs `open`.
    pub conv: ConvId,
    /// What `open` takes.
    pub to: To,
    /// Number of its newest message.
    pub head: Seq,
    /// What the user has not acknowledged.
    #[schemars(range(max = LIMITS.unread_max))]
    pub unread: usize,
    /// There may be more than `unread`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread_more: bool,
    /// The message with the highest number.
    pub newest: Arc<Message>,
}
