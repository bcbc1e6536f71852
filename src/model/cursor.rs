//! Opaque cursors: where a paged read goes on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{ConvId, Order, Seq, UserName};

/// What a cursor belongs to: the request that it continues, all of it but `limit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CursorScope<'a> {
    /// History between two times, both inclusive.
    Range {
        /// The conversation.
        conv: ConvId,
        /// Lower end, ms.
        from: u64,
        /// Upper end, ms.
        to: u64,
        /// Direction.
        order: Order,
    },
    /// By number, ascending.
    After {
        /// The conversation.
        conv: ConvId,
        /// The request's `after_seq`.
        after_seq: Seq,
    },
    /// The unread late messages of one user.
    Late {
        /// The conversation.
        conv: ConvId,
        /// Whose.
        user: &'a UserName,
    },
    /// The conversations of one user.
    List {
        /// Whose.
        user: &'a UserName,
    },
}

/// Where the last page ended: the time and number of its last entry (for `list`: its `at` and a
/// tie-break of the conversation's id).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Time, ms.
    pub time: u64,
    /// Number.
    pub seq: Seq,
}

/// The most characters of a cursor that a client must be ready for: the form is opaque to it.
pub const CURSOR_CHARACTERS_MAX: usize = 128;

/// Encoding of a [`Position`] with a checksum over its scope. The checksum keeps honest clients
/// from mixing requests up; it is no secret and grants nothing that its user may not read.
#[derive(Debug)]
pub struct Cursor;

const CHECK_BYTES: usize = 8;
const CURSOR_BYTES: usize = 16 + CHECK_BYTES;

impl Cursor {
    /// The text for a client: 32 characters, the same on every node and after restarts.
    pub fn encode(scope: &CursorScope<'_>, position: Position) -> String {
        let mut bytes = [0; CURSOR_BYTES];
        bytes[..8].copy_from_slice(&position.time.to_be_bytes());
        bytes[8..16].copy_from_slice(&position.seq.0.to_be_bytes());
        let check = checksum(scope, &bytes[..16]);
        bytes[16..].copy_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position, or `None` for anything that [`Cursor::encode`] did not make for this scope.
    pub fn decode(scope: &CursorScope<'_>, text: &str) -> Option<Position> {
        if text.len() != CURSOR_BYTES / 3 * 4 {
            return None;
        }
        let mut bytes = [0; CURSOR_BYTES];
        URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (position, check) = bytes.split_at(16);
        if check != checksum(scope, position) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| {
            position[range].iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte))
        };
        Some(Position { time: number(0..8), seq: Seq(number(8..16)) })
    }
}

fn checksum(scope: &CursorScope<'_>, position: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = Sha256::new();
    match scope {
        CursorScope::Range { conv, from, to, order } => {
            hash.update([1, u8::from(*order == Order::Desc)]);
            hash.update(conv.as_bytes());
            hash.update(from.to_be_bytes());
            hash.update(to.to_be_bytes());
        }
        CursorScope::After { conv, after_seq } => {
            hash.update([2]);
            hash.update(conv.as_bytes());
            hash.update(after_seq.0.to_be_bytes());
        }
        CursorScope::Late { conv, user } => {
            hash.update([3]);
            hash.update(conv.as_bytes());
            hash.update(user.as_str());
        }
        CursorScope::List { user } => {
            hash.update([4]);
            hash.update(user.as_str());
        }
    }
    hash.update(position);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash.finalize()[..CHECK_BYTES]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelName, Place};

    #[test]
    fn a_cursor_fits_its_own_request_only() {
        let conv = Place::Channel(ChannelName::new("c").unwrap()).conv_id();
        let range = |order| CursorScope::Range { conv, from: 0, to: 9, order };
        let position = Position { time: 1_700_000_000_000, seq: Seq(12) };
        let text = Cursor::encode(&range(Order::Desc), position);
        assert!(text.len() <= CURSOR_CHARACTERS_MAX);
        assert_eq!(Cursor::decode(&range(Order::Desc), &text), Some(position));
        assert_eq!(Cursor::decode(&range(Order::Asc), &text), None);
        let after = CursorScope::After { conv, after_seq: Seq(3) };
        assert_eq!(Cursor::decode(&after, &text), None);
        assert_eq!(Cursor::decode(&range(Order::Desc), ""), None);
        for at in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(Cursor::decode(&range(Order::Desc), &altered), None);
        }
    }
}
