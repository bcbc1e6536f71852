//! Every bound that a client can meet, in one place; `hello` shows them. `docs/limits.md` says what comes above each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The limits of protocol v1, as they stand in `hello.limits`. What an older server leaves out is as here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Limits {
    /// Bytes of one incoming frame; above: close 1009.
    pub frame_bytes_max: usize,
    /// Bytes of one incoming message, all its fragments together; above: close 1009.
    pub message_bytes_max: usize,
    /// Frames that one message may come in; above: close 1009.
    pub fragments_max: usize,
    /// Objects and arrays within each other in one frame, its own object included.
    pub nesting_max: usize,
    /// Bad frames within a minute; the last of them closes 4500.
    pub bad_frames_max: usize,
    /// UTF-8 bytes of one message's content.
    pub content_bytes_max: usize,
    /// Bytes of the messages in one reply.
    pub page_bytes_max: usize,
    /// Conversations that one session may have open.
    pub open_max: usize,
    /// Largest `limit` of `open`, `read` and `list`.
    pub read_limit_max: usize,
    /// Unread late messages in one `open` reply.
    pub late_max: usize,
    /// Messages that `resume` bridges.
    pub resume_max: usize,
    /// Unread counts are exact up to here.
    pub unread_max: usize,
    /// Ranges in one `ack`.
    pub ack_ranges_max: usize,
    /// Ranges that the merged acknowledgement of one user in one conversation may hold.
    pub acked_ranges_max: usize,
    /// Conversations that `list` reaches.
    pub list_max: usize,
    /// Members of one group.
    pub group_members_max: usize,
    /// Commands of one session that may be unanswered.
    pub in_flight_max: usize,
    /// How far `ts` may be ahead of the server, ms.
    pub future_skew_ms_max: u64,
    /// Time for the first `hello`, ms.
    pub hello_ms_max: u64,
    /// Every command is answered within this, ms.
    pub answer_ms_max: u64,
    /// Bytes of the head of one HTTP request; above: 431.
    pub head_bytes_max: usize,
    /// Header fields of one HTTP request; above: 431.
    pub headers_max: usize,
    /// HTTP connections of a node beside its WebSockets; above, the oldest is closed.
    pub http_connections_max: usize,
}

/// The values of this version.
pub const LIMITS: Limits = Limits {
    frame_bytes_max: 131_072,
    message_bytes_max: 131_072,
    // The largest message in pieces of half a kilobyte.
    fragments_max: 256,
    nesting_max: 16,
    bad_frames_max: 10,
    content_bytes_max: 16_384,
    page_bytes_max: 1 << 20,
    open_max: 1_000,
    read_limit_max: 200,
    late_max: 100,
    resume_max: 1_000,
    unread_max: 99,
    ack_ranges_max: 100,
    acked_ranges_max: 1_000,
    list_max: 1_000,
    group_members_max: 1_000,
    in_flight_max: 256,
    future_skew_ms_max: 10_000,
    hello_ms_max: 10_000,
    answer_ms_max: 5_000,
    head_bytes_max: 16_384,
    headers_max: 100,
    http_connections_max: 10_000,
};

impl Default for Limits {
    fn default() -> Self {
        LIMITS
    }
}

/// What an operator decides, as it stands in `hello.limits` beside [`Limits`]. Left out: no limit. All is of one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OperatorLimits {
    /// WebSockets of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u64>,
    /// Connections of one address (IPv6: of one /64), HTTP included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_address_max: Option<u64>,
    /// Connections that are accepted in a second; the others wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connects_per_s_max: Option<u64>,
    /// Sessions of one user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_user_max: Option<u64>,
    /// Commands of one session in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands_per_s_max: Option<u64>,
    /// Sends of one session in a second; they count as commands, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_s_max: Option<u64>,
    /// Bytes of a session's commands in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incoming_bytes_per_s_max: Option<u64>,
    /// Bytes of the replies to a session in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_bytes_per_s_max: Option<u64>,
    /// What may come at once: as much as may come in this time, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_burst_ms: Option<u64>,
    /// Too fast for this long is closed with 4029, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_sustained_ms: Option<u64>,
    /// When commands of all sessions wait longer than this for the engine, new ones are refused (`overloaded`), ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_wait_ms_max: Option<u64>,
    /// Nothing heard for this long is closed with 4008, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms_max: Option<u64>,
    /// Time for the head of an HTTP request, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_ms_max: Option<u64>,
    /// Bytes that may wait to be sent to one session; above: close 4408.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbox_bytes_max: Option<u64>,
}

/// A client has this long, beyond the time between two pings, to answer one.
pub const PONG_GRACE_MS: u64 = 10_000;

/// All of `hello.limits`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AllLimits {
    /// Those of the protocol.
    #[serde(flatten)]
    pub fixed: Limits,
    /// Those of this server.
    #[serde(flatten)]
    pub operator: OperatorLimits,
}

impl Limits {
    /// Messages that counting or paging unread ones looks at before it stops (`unread_more`, a short page).
    pub const SCAN_MAX: usize = 1_000;
}
