//! Close codes. 3000–3499 and 4000–4499: reconnect, with jitter; 3500–3999 and 4500–4999: do not.

/// A WebSocket close code with the reason that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode {
    /// The number in the close frame.
    pub code: u16,
    /// A short text for people; clients branch on the number.
    pub reason: &'static str,
}

impl CloseCode {
    /// Protocol error (RFC 6455).
    pub const PROTOCOL: Self = Self::new(1002, "protocol error");
    /// Binary frames are not spoken here (RFC 6455).
    pub const BINARY: Self = Self::new(1003, "text frames only");
    /// Not UTF-8 (RFC 6455).
    pub const BAD_UTF8: Self = Self::new(1007, "not UTF-8");
    /// The frame is larger than `frame_bytes_max` (RFC 6455).
    pub const TOO_LARGE: Self = Self::new(1009, "frame too large");
    /// The message comes in more frames than `fragments_max` (RFC 6455).
    pub const TOO_MANY_FRAGMENTS: Self = Self::new(1009, "too many fragments");
    /// The server shuts down.
    pub const SHUTDOWN: Self = Self::new(4001, "shutdown");
    /// No `hello` within `hello_ms_max`.
    pub const NO_HELLO: Self = Self::new(4002, "no hello in time");
    /// Nothing heard for `ping_ms` + 10 s.
    pub const NO_PONG: Self = Self::new(4008, "no pong");
    /// The server cannot go on with the streams of this session; open them again.
    pub const STATE_LOST: Self = Self::new(4010, "stream state lost");
    /// Too fast for too long.
    pub const RATE: Self = Self::new(4029, "rate limited");
    /// What waits to be sent to this reader is above its bound.
    pub const SLOW: Self = Self::new(4408, "reader too slow");
    /// Too many bad frames, or a first frame that is no `hello`.
    pub const BAD_REQUEST: Self = Self::new(4500, "bad requests");
    /// The token is not, or no longer, good.
    pub const BAD_TOKEN: Self = Self::new(4501, "bad token");
    /// The user's access was taken away.
    pub const REVOKED: Self = Self::new(4503, "revoked");
    /// The server has as many connections as it takes.
    pub const TOO_MANY: Self = Self::new(4504, "too many connections");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }

    /// Whether a close frame may carry this code: those of RFC 6455 §7.4.1 that do not stand for its absence, those that were
    /// registered since (1012 to 1014), and what is left to libraries and applications.
    pub fn may_be_sent(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether it cannot wait for what is queued: the reader takes nothing, or may have nothing more.
    pub fn is_at_once(self) -> bool {
        [Self::SLOW, Self::BAD_TOKEN, Self::REVOKED].contains(&self)
    }

    /// Whether a client should come back by itself.
    pub fn reconnect(code: u16) -> bool {
        !matches!(code, 3500..=3999 | 4500..=4999)
    }
}
