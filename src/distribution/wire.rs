//! Hints as bytes: what travels over a bus between processes.
//!
//! `<version> <node> <JSON>`: who sent it is read without reading the hint, because a node hears its own hints by a function call
//! and leaves out what the bus brings back of them.

use super::Hint;
use crate::model::NodeId;
use serde::{Deserialize, Serialize};

/// Changes when an older node could not read what is written, or would read it as something else.
const VERSION: &str = "1";

/// What one node tells the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Something was stored.
    Hint(Hint),
    /// More was stored than this node could keep in mind while the bus was away: compare everything with the engine.
    Gap,
}

/// What came over the bus.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// From this very node.
    Own,
    /// From another.
    Note(Box<Note>),
    /// From another version, or no note at all: somebody told something.
    Unreadable,
}

/// A note as bytes; `None` when it cannot be written, which no hint is.
pub fn encode(node: &NodeId, note: &Note) -> Option<Vec<u8>> {
    let mut bytes = format!("{VERSION} {node} ").into_bytes();
    serde_json::to_writer(&mut bytes, note).ok()?;
    Some(bytes)
}

/// Reads what came, as `node`.
pub fn decode(node: &NodeId, bytes: &[u8]) -> Heard {
    let mut words = bytes.splitn(3, |&byte| byte == b' ');
    let (Some(version), Some(sender), Some(note)) = (words.next(), words.next(), words.next())
    else {
        return Heard::Unreadable;
    };
    if sender == node.as_str().as_bytes() {
        return Heard::Own;
    }
    if version != VERSION.as_bytes() {
        return Heard::Unreadable;
    }
    serde_json::from_slice(note).map_or(Heard::Unreadable, |note| Heard::Note(Box::new(note)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_apart_from_what_is_ones_own() {
        let (node, other) = (NodeId::generate(), NodeId::generate());
        let bytes = encode(&node, &Note::Gap).unwrap();
        assert_eq!(decode(&node, &bytes), Heard::Own);
        assert_eq!(decode(&other, &bytes), Heard::Note(Box::new(Note::Gap)));
        for unreadable in
            [&b""[..], b"1", b"1 x", b"2 x \"gap\"", b"1 x {\"later\":1}", b"\xff \xff \xff"]
        {
            assert_eq!(decode(&other, unreadable), Heard::Unreadable);
        }
    }
}
