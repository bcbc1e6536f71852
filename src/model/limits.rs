//! Every bound that a client can meet, in one place; `hello` shows them.

use serde::{Deserialize, Serialize};

/// The limits of protocol v1, as they stand in `hello.limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of one incoming frame; above: close 1009.
    pub frame_bytes_max: usize,
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
}

/// The values of this version.
pub const LIMITS: Limits = Limits {
    frame_bytes_max: 131_072,
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
};

impl Limits {
    /// Messages that counting or paging unread ones looks at before it stops (`unread_more`, a short page).
    pub const SCAN_MAX: usize = 1_000;
}
