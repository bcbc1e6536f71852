//! Frames as text: encoded once, shared by everyone who gets them.

use serde::Serialize;

use super::Frame;
use crate::protocol::{ErrorBody, Push, Reply, ReplyFrame};

/// A push.
pub fn push(push: &Push) -> Frame {
    encode(push)
}

/// A reply to the command with `id`.
pub fn reply(id: u64, outcome: Result<Reply, ErrorBody>) -> Frame {
    rejection(Some(id), outcome.unwrap_or_else(Reply::Error))
}

/// An answer to a frame whose `id` may be unknown.
pub fn rejection(id: Option<u64>, reply: Reply) -> Frame {
    encode(&ReplyFrame { id, reply })
}

fn encode(frame: &impl Serialize) -> Frame {
    // Our own types have string keys only; that is all that could make this fail.
    serde_json::to_string(frame).unwrap_or_else(|_| unreachable!("frames are JSON")).into()
}
