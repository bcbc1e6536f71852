//! Commands: what a client may ask.
//!
//! The parser (`parse.rs`) takes exactly what the schema of these types takes; `bad_inputs_tests.rs` holds the two together.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ErrorBody;
use crate::model::{
    ChannelName, Cid, ConvId, Epoch, GroupId, LIMITS, MessageType, Order, Seq, SeqRange, Token,
    UserName,
};

/// A frame of a client: `{"id":7,"send":{…}}`.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// Chosen by the client, at least 1.
    pub id: u64,
    /// The one method and its body.
    #[serde(flatten)]
    pub command: Command,
}

/// A method with its body.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each method is defined by the type of its body")]
pub enum Command {
    Hello(Hello),
    Open(Open),
    Send(Send),
    Read(Read),
    Ack(Ack),
    Leave(Leave),
    List(List),
    /// Makes a group of which the user is owner and member.
    Create {},
    /// Makes somebody a member of a group; any member may.
    Invite(Other),
    /// Ends the membership of another; the owner may.
    Remove(Other),
    Quit(Quit),
    Roster(RosterOf),
    Refresh(Refresh),
    /// Does nothing but be answered.
    Ping {},
}

/// The greatest `client` of a `hello`, bytes.
pub(super) const CLIENT_BYTES_MAX: usize = 128;

/// Who a session is; the first frame. Either `token` or `user`: which, the server says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("oneOf" = [{"required": ["token"]}, {"required": ["user"]}]))]
pub struct Hello {
    /// What says who the user is, where authentication is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The user, where authentication is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// Free text about the client, at most 128 bytes of UTF-8.
    #[schemars(length(max = CLIENT_BYTES_MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// Which conversation `open` means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = one_key)]
pub enum To {
    /// The direct chat with this user; with oneself: notes.
    User(UserName),
    /// A public channel.
    Channel(ChannelName),
    /// A private group that one is a member of.
    Group(GroupId),
}

/// Opens a conversation in this session.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Open {
    /// Which.
    pub to: To,
    /// Messages on the page; 0 for counts only.
    #[schemars(default = "open_limit", range(max = LIMITS.read_limit_max))]
    pub limit: usize,
    /// Bridge from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// Push this session's own messages too.
    #[schemars(default = "yes")]
    pub echo: bool,
    /// Push at all.
    #[schemars(default = "yes")]
    pub push: bool,
}

/// Where a client left a stream.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Resume {
    /// The life of the store.
    pub epoch: Epoch,
    /// The last number that the client has.
    pub seq: Seq,
}

/// Stores a message.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Send {
    /// Where.
    pub conv: ConvId,
    /// The sender's name for it.
    pub cid: Cid,
    /// Kind of content.
    #[serde(rename = "type")]
    pub kind: MessageType,
    /// The content: UTF-8, as many bytes at most as `content_bytes_max` says, without U+0000.
    #[schemars(length(min = 1, max = LIMITS.content_bytes_max), regex(pattern = r"^[^\u0000]*$"))]
    pub content: String,
    /// The client's clock, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<u64>,
}

/// Reads messages of an open conversation, in one of three ways.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(transform = either)]
pub struct Read {
    /// Where.
    pub conv: ConvId,
    /// Which messages.
    #[serde(flatten)]
    pub kind: ReadKind,
    /// Most messages.
    #[schemars(default = "page_limit", range(min = 1, max = LIMITS.read_limit_max))]
    pub limit: usize,
    /// Go on from the end of an earlier page of the same request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The three kinds of `read`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ReadKind {
    /// By `(ts, seq)`, both ends inclusive.
    Range {
        /// Lowest `ts`, ms.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        /// Highest `ts`, ms.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<u64>,
        /// Direction.
        #[schemars(default = "newest_first")]
        order: Order,
    },
    /// Above a number, ascending.
    After {
        /// The number.
        after_seq: Seq,
    },
    /// The user's unread late messages, ascending by number.
    Late {
        /// Always `true`. Elsewhere `false` is as if it were absent.
        #[schemars(extend("const" = true))]
        late: bool,
    },
}

/// Acknowledges messages: by `up_to`, `ranges` or both.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("anyOf" = [{"required": ["up_to"]}, {"required": ["ranges"]}]))]
pub struct Ack {
    /// Where.
    pub conv: ConvId,
    /// Everything at or below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Seq>,
    /// Exactly these, half-open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<SeqRange>>", length(max = LIMITS.ack_ranges_max))]
    pub ranges: Option<Vec<(Seq, Seq)>>,
}

/// Ends the pushes of a conversation to this session.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Leave {
    /// Where.
    pub conv: ConvId,
}

/// The user's conversations.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct List {
    /// Most conversations.
    #[schemars(default = "page_limit", range(min = 1, max = LIMITS.read_limit_max))]
    pub limit: usize,
    /// Go on from the end of an earlier page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Changes the membership of another in a group: `invite` and `remove`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Other {
    /// The group.
    pub conv: ConvId,
    /// Whose.
    pub user: UserName,
}

/// Ends one's own membership of a group.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Quit {
    /// The group.
    pub conv: ConvId,
}

/// Asks who is in a group.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RosterOf {
    /// The group.
    pub conv: ConvId,
}

/// Another token for the same user, in the place of the one that is about to expire.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Refresh {
    /// The token.
    pub token: Token,
}

/// `limit` of `open` where it is absent.
pub(super) fn open_limit() -> usize {
    10
}

/// `limit` of `read` and `list` where it is absent.
pub(super) fn page_limit() -> usize {
    50
}

/// `echo` and `push` where they are absent.
pub(super) fn yes() -> bool {
    true
}

/// `order` where it is absent.
pub(super) fn newest_first() -> Order {
    Order::Desc
}

/// Of an enum of objects with one key each: one object with exactly one of the keys, whatever else stands in it.
fn one_key(schema: &mut Schema) {
    let Some(Value::Array(variants)) = schema.remove("oneOf") else { return };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for mut variant in variants {
        let description = variant["description"].take();
        let Value::Object(property) = variant["properties"].take() else { continue };
        for (key, value) in property {
            required.push(json!({"required": [key]}));
            properties.insert(key, described(value, description.clone()));
        }
    }
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("oneOf".to_owned(), Value::Array(required));
}

fn described(mut value: Value, description: Value) -> Value {
    if !description.is_null() {
        value["description"] = description;
    }
    value
}

/// Of an object that is one of several: what belongs to another of them must be absent, or `false` where it is a flag that
/// makes the difference.
fn either(schema: &mut Schema) {
    let Some(Value::Array(mut kinds)) = schema.remove("anyOf") else { return };
    let mut all = Map::new();
    for kind in &kinds {
        if let Value::Object(properties) = &kind["properties"] {
            all.extend(properties.clone());
        }
    }
    for kind in &mut kinds {
        let Value::Object(properties) = &mut kind["properties"] else { continue };
        for (key, other) in &all {
            let absent = match other.get("const") {
                Some(Value::Bool(true)) => json!({"const": false}),
                _ => json!(false),
            };
            properties.entry(key).or_insert(absent);
        }
    }
    schema.insert("oneOf".to_owned(), Value::Array(kinds));
}

/// Why a frame is no command, and the `id` to answer it under, where it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// The frame's `id`, if it could be read.
    pub id: Option<u64>,
    /// The answer.
    pub error: ErrorBody,
    /// It was meant to be a `hello`.
    pub is_hello: bool,
}
