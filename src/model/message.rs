//! One stored message and the order it is shown in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cid, LIMITS, MessageType, Seq, UserName};

/// A stored message, immutable. `(conversation, epoch, seq)` is its identity. As JSON it is the
/// *item* of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Number in the conversation, in commit order.
    pub seq: Seq,
    /// Who sent it.
    pub from: UserName,
    /// The sender's own name for it.
    pub cid: Cid,
    /// Kind of content.
    #[serde(rename = "type")]
    pub kind: MessageType,
    /// What was said.
    #[schemars(length(min = 1, max = LIMITS.content_bytes_max))]
    pub content: String,
    /// The client's clock, ms since 1970 UTC (the server's, where the client gave none).
    pub ts: u64,
    /// The server's commit time, ms since 1970 UTC.
    pub at: u64,
    /// `ts` is below the highest `ts` committed before it.
    pub late: bool,
}

impl Message {
    /// Where the message stands in history: by `(ts, seq)`.
    pub fn position(&self) -> (u64, Seq) {
        (self.ts, self.seq)
    }

    /// An upper bound of its bytes as a JSON item, escapes included.
    pub fn wire_bytes(&self) -> usize {
        /// Keys, punctuation, three 16-digit numbers, one 5-letter boolean, and the comma after it.
        const FIXED_BYTES: usize = 144;
        FIXED_BYTES
            + self.from.as_str().len()
            + 2 * self.cid.as_str().len()
            + self.kind.as_str().len()
            + escaped_bytes(&self.content)
    }
}

/// Whether JSON writes a byte of a string otherwise than as it is.
pub const fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Bytes that `text` takes inside a JSON string as `serde_json` writes it.
fn escaped_bytes(text: &str) -> usize {
    // Nearly all texts are plain, and sixteen bytes are looked at at a time.
    if !text.bytes().fold(false, |special, byte| special | is_escaped(byte)) {
        return text.len();
    }
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
            0..0x20 => 6,
            _ => 1,
        })
        .sum()
}

/// Which way a history page runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_bytes_is_an_upper_bound() {
        let every_byte: String = (0u8..128).map(char::from).collect();
        let message = Message {
            seq: Seq(crate::model::INTEGER_MAX),
            from: UserName::new(&"u".repeat(64)).unwrap(),
            cid: Cid::new(&"\"".repeat(64)).unwrap(),
            kind: MessageType::new("text").unwrap(),
            content: every_byte + "ü€😀",
            ts: crate::model::INTEGER_MAX,
            at: crate::model::INTEGER_MAX,
            late: false,
        };
        let json = serde_json::to_string(&message).unwrap();
        assert!(message.wire_bytes() > json.len());
        assert!(message.wire_bytes() < json.len() + 64, "the bound is close");
    }
}
