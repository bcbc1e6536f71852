//! The text messages that a harness sends, under names that it makes itself.

use crate::model::{Cid, ConvId, MessageType};
use crate::protocol::Send;

/// A name for a message that the harness made, of letters, digits, dots and dashes.
pub fn own_cid(text: &str) -> Cid {
    Cid::new(text).unwrap_or_else(|_| unreachable!("a short name without anything special: {text}"))
}

/// A text message.
pub fn text_message(conv: ConvId, cid: Cid, content: String, ts: Option<u64>) -> Send {
    let kind = MessageType::new("text").unwrap_or_else(|_| unreachable!("a constant"));
    Send { conv, cid, kind, content, ts }
}
