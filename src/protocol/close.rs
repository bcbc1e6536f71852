//! Close codes. 3000–3499 and 4000–4499: reconnect, with jitter; 3500–3999 and 4500–4999: do not.

/// A WebSocket close code with the reason that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode {
    /// The number in the close frame.
    pub code: u16,
    /// A short text for people; clients branch on the number.
    pub reason: &'static str,
}

macro_rules! close_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = ($code:literal, $reason:literal);)+) => {
        impl CloseCode {
            $($(#[doc = $doc])+ pub const $name: Self = Self { code: $code, reason: $reason };)+

            /// All of them, each with what it means and, as a second paragraph, what to do. `docs/errors.md` is made of it.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, concat!($($doc, "\n"),+))),+];
        }
    };
}

close_codes! {
    /// A frame is against RFC 6455: reserved bits, lengths, masks, fragments, control frames.
    ///
    /// Correct the client; the same bytes are refused again.
    PROTOCOL = (1002, "protocol error");
    /// A binary frame: only text frames are spoken here.
    ///
    /// Correct the client; the same frame is refused again.
    BINARY = (1003, "text frames only");
    /// A text frame, or the reason in a close frame, is not UTF-8.
    ///
    /// Correct the client; the same bytes are refused again.
    BAD_UTF8 = (1007, "not UTF-8");
    /// A frame is larger than `frame_bytes_max`, or a message in several larger than `message_bytes_max`.
    ///
    /// Look at the sizes before writing; the same frame is refused again.
    TOO_LARGE = (1009, "frame too large");
    /// A message comes in more frames than `fragments_max`.
    ///
    /// Write a message in one frame; the same frames are refused again.
    TOO_MANY_FRAGMENTS = (1009, "too many fragments");
    /// The server shuts down.
    ///
    /// Connect again, to another server if there is one.
    SHUTDOWN = (4001, "shutdown");
    /// There was no `hello` within `hello_ms_max`.
    ///
    /// Connect again, and say `hello` at once.
    NO_HELLO = (4002, "no hello in time");
    /// Nothing was heard, pongs included, for `idle_ms_max` (`ping_ms` + 10 s).
    ///
    /// Connect again, and answer pings.
    NO_PONG = (4008, "no pong");
    /// The server cannot go on with the streams of this session.
    ///
    /// Connect again, and open each conversation again with `resume`.
    STATE_LOST = (4010, "stream state lost");
    /// Too fast for too long: the client did not wait as it was told to.
    ///
    /// Connect again, and wait for `retry_after_ms` where an answer has it.
    RATE = (4029, "rate limited");
    /// What waits to be sent to this reader is above `outbox_bytes_max`.
    ///
    /// Connect again, resume, and read what comes.
    SLOW = (4408, "reader too slow");
    /// Too many bad frames, or a first frame that is no `hello`.
    ///
    /// Correct the client.
    BAD_REQUEST = (4500, "bad requests");
    /// The token is not, or no longer, good.
    ///
    /// Get another token, then connect again.
    BAD_TOKEN = (4501, "bad token");
    /// The user's access was taken away.
    ///
    /// Get a token that was issued later, if the user may still have one.
    REVOKED = (4503, "revoked");
    /// The server has as many connections as it takes, or the user as many as one may have.
    ///
    /// Close other connections, or come back when somebody asks for it.
    TOO_MANY = (4504, "too many connections");
}

impl CloseCode {
    /// Whether a close frame may carry this code: those of RFC 6455 §7.4.1 that do not stand for its absence, those that were
    /// registered since (1012 to 1014), and what is left to libraries and applications.
    pub fn may_be_sent(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether it cannot wait for what is queued: the reader takes nothing, or may have nothing more.
    pub fn is_at_once(self) -> bool {
        [Self::SLOW, Self::BAD_TOKEN, Self::REVOKED].contains(&self)
    }

    /// Whether a client should come back by itself. Not after its own wrong bytes: it would write them again.
    pub fn reconnect(code: u16) -> bool {
        !matches!(code, 1002 | 1003 | 1007 | 1009 | 3500..=3999 | 4500..=4999)
    }
}
