//! The two frames that every message costs, written in one pass: what it is told as, and what its sender is answered.
//!
//! The bytes are those that `serde_json` would write; only faster, since nothing is asked twice.

use super::SendReply;
use crate::model::{ConvId, Message, is_escaped};

/// Appends `{"msg":{…}}`, the push of a [`super::MsgPush`].
pub fn write_msg(conv: ConvId, message: &Message, text: &mut String) {
    text.push_str(r#"{"msg":{"conv":""#);
    conv.write_to(text);
    text.push_str(r#"","seq":"#);
    write_number(message.seq.0, text);
    // Names of users and types have nothing that is escaped.
    text.push_str(r#","from":""#);
    text.push_str(message.from.as_str());
    text.push_str(r#"","cid":"#);
    write_string(message.cid.as_str(), text);
    text.push_str(r#","type":""#);
    text.push_str(message.kind.as_str());
    text.push_str(r#"","content":"#);
    write_string(&message.content, text);
    text.push_str(r#","ts":"#);
    write_number(message.ts, text);
    text.push_str(r#","at":"#);
    write_number(message.at, text);
    text.push_str(r#","late":"#);
    text.push_str(word(message.late));
    text.push_str("}}");
}

/// Appends `{"id":…,"send":{…}}`, the answer to a `send`.
pub fn write_send_reply(id: u64, reply: &SendReply, text: &mut String) {
    text.push_str(r#"{"id":"#);
    write_number(id, text);
    text.push_str(r#","send":{"seq":"#);
    write_number(reply.seq.0, text);
    text.push_str(r#","ts":"#);
    write_number(reply.ts, text);
    text.push_str(r#","late":"#);
    text.push_str(word(reply.late));
    text.push_str(r#","dup":"#);
    text.push_str(word(reply.dup));
    text.push_str(r#","at":"#);
    write_number(reply.at, text);
    text.push_str("}}");
}

fn write_number(number: u64, text: &mut String) {
    text.push_str(itoa::Buffer::new().format(number));
}

const fn word(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}

/// With its quotes.
fn write_string(string: &str, text: &mut String) {
    text.push('"');
    // Without a way out of the loop sixteen bytes are looked at at a time; nearly all texts are plain.
    if string.bytes().fold(false, |escaped, byte| escaped | is_escaped(byte)) {
        write_escaped(string, text);
    } else {
        text.push_str(string);
    }
    text.push('"');
}

fn write_escaped(string: &str, text: &mut String) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut rest = string;
    // What is special is one byte of ASCII, so it can be cut before and behind it.
    while let Some(at) = rest.bytes().position(is_escaped) {
        let (plain, special) = rest.split_at(at);
        text.push_str(plain);
        let (byte, behind) = special.split_at(1);
        match byte {
            "\"" => text.push_str("\\\""),
            "\\" => text.push_str("\\\\"),
            "\n" => text.push_str("\\n"),
            "\r" => text.push_str("\\r"),
            "\t" => text.push_str("\\t"),
            "\u{8}" => text.push_str("\\b"),
            "\u{c}" => text.push_str("\\f"),
            other => {
                text.push_str("\\u00");
                for byte in other.bytes() {
                    text.push(HEX[usize::from(byte >> 4)]);
                    text.push(HEX[usize::from(byte & 15)]);
                }
            }
        }
        rest = behind;
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::{MsgPush, Push, Reply, ReplyFrame};
    use super::*;
    use crate::model::{ChannelName, Cid, INTEGER_MAX, LIMITS, MessageType, Place, Seq, UserName};

    fn conv(name: &str) -> ConvId {
        Place::Channel(ChannelName::new(name).unwrap()).conv_id()
    }

    fn is_as_serde_writes(conv: ConvId, message: Message) {
        let mut written = String::new();
        write_msg(conv, &message, &mut written);
        let push = Push::Msg(MsgPush { conv, message: Arc::new(message) });
        assert_eq!(written, serde_json::to_string(&push).unwrap());
    }

    fn message(content: &str) -> Message {
        Message {
            seq: Seq(1),
            from: UserName::new("ann").unwrap(),
            cid: Cid::new("c\"\\1").unwrap(),
            kind: MessageType::new("text").unwrap(),
            content: content.to_owned(),
            ts: 0,
            at: INTEGER_MAX,
            late: true,
        }
    }

    /// Each byte of ASCII at each place of a block of sixteen, and beside what takes more than one byte.
    #[test]
    fn every_character_is_written_as_serde_writes_it() {
        for byte in 1..128_u8 {
            let character = char::from(byte);
            is_as_serde_writes(
                conv("news"),
                message(&format!("{character}é{character}🙂{character}")),
            );
            for before in 0..17 {
                let content = format!("{}{character}", "x".repeat(before));
                is_as_serde_writes(conv("news"), message(&content));
            }
        }
    }

    proptest! {
        #[test]
        fn a_message_is_written_as_serde_writes_it(
            (name, from, cid, kind) in ("[a-z0-9]{1,20}", "[a-z0-9]{1,20}", "[!-~]{1,64}", "[a-z]{1,9}"),
            content in prop_oneof![any::<String>(), "[ -~]{1,300}", "[\u{1}-\u{1f}\"\\\\a]{1,40}"],
            (seq, ts, at, late) in (0..=INTEGER_MAX, 0..=INTEGER_MAX, any::<u64>(), any::<bool>()),
        ) {
            is_as_serde_writes(conv(&name), Message {
                seq: Seq(seq),
                from: UserName::new(&from).unwrap(),
                cid: Cid::new(&cid).unwrap(),
                kind: MessageType::new(&kind).unwrap(),
                content: content.chars().take(LIMITS.content_bytes_max / 4).collect(),
                ts,
                at,
                late,
            });
        }

        #[test]
        fn an_answer_is_written_as_serde_writes_it(
            (id, seq, ts, at) in (1..=INTEGER_MAX, any::<u64>(), 0..=INTEGER_MAX, any::<u64>()),
            (late, dup) in any::<(bool, bool)>(),
        ) {
            let reply = SendReply { seq: Seq(seq), ts, late, dup, at };
            let mut written = String::new();
            write_send_reply(id, &reply, &mut written);
            let frame = ReplyFrame { id: Some(id), reply: Reply::Send(reply) };
            prop_assert_eq!(written, serde_json::to_string(&frame).unwrap());
        }
    }
}
