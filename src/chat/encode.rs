//! Frames as text: encoded once, shared by everyone who gets them.

use std::cell::RefCell;

use serde::Serialize;

use super::Frame;
use crate::model::{ConvId, Message};
use crate::protocol::{ErrorBody, Push, Reply, ReplyFrame, write_msg, write_send_reply};

/// A message, to those who have its conversation open.
pub fn msg(conv: ConvId, message: &Message) -> Frame {
    written(|text| write_msg(conv, message, text))
}

/// A push.
pub fn push(push: &Push) -> Frame {
    match push {
        Push::Msg(push) => msg(push.conv, &push.message),
        _ => encode(push),
    }
}

/// A reply to the command with `id`.
pub fn reply(id: u64, outcome: Result<Reply, ErrorBody>) -> Frame {
    match outcome {
        Ok(Reply::Send(reply)) => written(|text| write_send_reply(id, &reply, text)),
        outcome => rejection(Some(id), outcome.unwrap_or_else(Reply::Error)),
    }
}

/// An answer to a frame whose `id` may be unknown.
pub fn rejection(id: Option<u64>, reply: Reply) -> Frame {
    encode(&ReplyFrame { id, reply })
}

/// Room that a thread keeps for the next frame: more than nearly all need.
const ROOM_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// Frames are written here and then copied as long as they are: one allocation each, where a text that grows takes several.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The same of what is a text already.
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What is not asked for its bytes, since it is made of texts.
fn written(write: impl FnOnce(&mut String)) -> Frame {
    TEXT.with_borrow_mut(|text| {
        text.clear();
        write(text);
        let frame = text.as_str().to_owned().into();
        text.clear();
        text.shrink_to(ROOM_BYTES_MAX);
        frame
    })
}

fn encode(frame: &impl Serialize) -> Frame {
    ROOM.with_borrow_mut(|room| {
        room.clear();
        // Our own types have string keys only; that is all that could make this fail.
        serde_json::to_writer(&mut *room, frame)
            .unwrap_or_else(|_| unreachable!("frames are JSON"));
        let text = String::from_utf8(room.as_slice().to_vec())
            .unwrap_or_else(|_| unreachable!("JSON is UTF-8"));
        room.clear();
        room.shrink_to(ROOM_BYTES_MAX);
        text.into()
    })
}
