//! Socket.IO packets and the frames of protocol v1: one is spliced into the other, nothing is encoded again.

use engineioxide::Str;
use serde::Deserialize as _;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::json;
use socketioxide_core::Value;
use socketioxide_core::packet::PacketData;
use socketioxide_core::parser::{Parse as _, ParseConfig, ParseError, ParserState};
use socketioxide_parser_common::CommonParser;

use crate::model::INTEGER_MAX;
use crate::protocol::{CloseCode, ErrorBody, ErrorCode};

/// The `id` of what came without an acknowledgement callback: nobody waits for its answer.
const NO_ACK: u64 = INTEGER_MAX;
/// The `id` of the `hello` that a CONNECT packet stands for.
const CONNECT: u64 = INTEGER_MAX - 1;
/// Ends a session's use of the namespace.
pub(super) const DISCONNECT: &str = "1";

/// What a packet of a client is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A command, as its frame.
    Frame(String),
    /// Wants another namespace than `/`.
    Foreign(String),
    /// Has no effect here.
    Ignored,
    /// Leaves.
    Leave,
    /// Has attachments.
    Binary,
    /// Is no packet.
    Bad,
}

/// Reads one packet. Total: every text is something.
pub(super) fn decode(text: Str) -> Incoming {
    // No attachment is ever waited for, so that the state stays empty.
    let config = ParseConfig { max_incoming_binaries: 0, ..ParseConfig::default() };
    let packet = match CommonParser.decode_str(&config, &ParserState::default(), text) {
        Ok(packet) => packet,
        Err(ParseError::TooManyAttachments { .. }) => return Incoming::Binary,
        Err(_) => return Incoming::Bad,
    };
    if &*packet.ns != "/" {
        return match packet.inner {
            PacketData::Connect(_) => Incoming::Foreign(packet.ns.as_str().to_owned()),
            _ => Incoming::Ignored,
        };
    }
    match packet.inner {
        PacketData::Connect(auth) => {
            let auth = auth.as_ref().and_then(Value::as_str).map_or("{}", |auth| auth.as_str());
            // What is no single value makes this no frame, or one with two methods: both are refused as such.
            Incoming::Frame(frame(CONNECT, r#""hello""#, auth))
        }
        PacketData::Event(Value::Str(arguments, None), ack) => {
            event(&arguments, ack).map_or(Incoming::Bad, Incoming::Frame)
        }
        PacketData::Disconnect => Incoming::Leave,
        PacketData::BinaryEvent(..) | PacketData::BinaryAck(..) => Incoming::Binary,
        PacketData::EventAck(..) => Incoming::Ignored,
        PacketData::Event(..) | PacketData::ConnectError(_) => Incoming::Bad,
    }
}

fn frame(id: u64, method: &str, body: &str) -> String {
    format!(r#"{{"id":{id},{method}:{body}}}"#)
}

/// `["send",{…}]` with the number of its callback as the frame of the command. A missing body is an empty one.
fn event(arguments: &str, ack: Option<i64>) -> Option<String> {
    let id = match ack {
        None => NO_ACK,
        Some(ack) => u64::try_from(ack).ok()?.checked_add(1).filter(|&id| id < CONNECT)?,
    };
    let inner = arguments.trim().strip_prefix('[')?.strip_suffix(']')?;
    let (method, rest) = first::<String>(inner)?;
    let body = match rest.trim_start() {
        "" => "{}",
        rest => {
            let (body, rest) = first::<IgnoredAny>(rest.strip_prefix(',')?)?;
            if !rest.trim().is_empty() {
                return None;
            }
            body
        }
    };
    Some(frame(id, method, body))
}

/// The JSON value at the beginning, as its text, and what follows it.
fn first<T: DeserializeOwned>(text: &str) -> Option<(&str, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<T>();
    values.next()?.ok()?;
    text.split_at_checked(values.byte_offset())
}

/// What the session says, as packets, at the end of `packets`.
pub(super) fn encode(frame: &str, packets: &mut Vec<String>) {
    let Some((id, name, body)) = split(frame) else { return };
    match (id, name) {
        (Some(CONNECT), "error") => packets.push(connect_error("", body)),
        (Some(CONNECT), _) => {
            packets.push(format!("0{}", json!({ "sid": session(body) })));
            packets.push(event_packet(name, body));
        }
        // Without a callback only what went wrong is told.
        (Some(NO_ACK), "error") | (None, _) => packets.push(event_packet(name, body)),
        (Some(NO_ACK), _) => {}
        (Some(id), name) => {
            let outcome = if name == "error" { "error" } else { "ok" };
            packets.push(format!(r#"3{}[{{"{outcome}":{body}}}]"#, id - 1));
        }
    }
}

/// `id`, name and body of a frame of ours: `{"id":7,"send":{…}}` or `{"msg":{…}}`.
fn split(frame: &str) -> Option<(Option<u64>, &str, &str)> {
    let inner = frame.strip_prefix('{')?.strip_suffix('}')?;
    let (id, inner) = match inner.strip_prefix(r#""id":"#) {
        Some(rest) => {
            let (id, rest) = rest.split_once(',')?;
            (Some(id.parse().ok()?), rest)
        }
        None => (None, inner),
    };
    let (name, body) = inner.strip_prefix('"')?.split_once("\":")?;
    Some((id, name, body))
}

/// The number of the callback that waits for the answer to a frame that [`decode`] made.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn callback(frame: &str) -> Option<u64> {
    let (id, ..) = split(frame)?;
    id.filter(|&id| id < CONNECT).map(|id| id - 1)
}

fn event_packet(name: &str, body: &str) -> String {
    format!(r#"2["{name}",{body}]"#)
}

/// `namespace` with its comma; none for `/`.
fn connect_error(namespace: &str, error: &str) -> String {
    format!("4{namespace}{}", json!({ "message": error }))
}

/// The session of a `hello`'s answer: what `socket.id` is.
fn session(hello: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Hello {
        session: String,
    }
    let mut text = serde_json::Deserializer::from_str(hello);
    Hello::deserialize(&mut text).map_or_else(|_| String::new(), |hello| hello.session)
}

/// The answer to who wants another namespace.
pub(super) fn no_namespace(namespace: &str) -> String {
    let error = ErrorBody::new(ErrorCode::NotFound, "there is no namespace but /");
    connect_error(&format!("{namespace},"), &json!(error).to_string())
}

/// The answer to who finds no place.
pub(super) fn no_place() -> String {
    let error = ErrorBody::new(ErrorCode::Limit, "this server has as many connections as it takes");
    connect_error("", &json!(error).to_string())
}

/// Tells that the connection ends, and why: what a close frame says elsewhere.
pub(super) fn closing(code: CloseCode) -> String {
    let body = json!({
        "code": code.code,
        "reconnect": CloseCode::reconnect(code.code),
        "reason": code.reason,
    });
    event_packet("closing", &body.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::protocol::{Command, parse_command};

    fn frame_of(text: &str) -> Incoming {
        Incoming::Frame(text.to_owned())
    }

    #[rstest]
    #[case::with_callback(
        r#"27["send",{"a":[1,"]"]}]"#,
        frame_of(r#"{"id":8,"send":{"a":[1,"]"]}}"#)
    )]
    #[case::first_callback(r#"20["ping"]"#, frame_of(r#"{"id":1,"ping":{}}"#))]
    #[case::spaces(r#"21[ "open" , {} ] "#, frame_of(r#"{"id":2, "open": {}}"#))]
    #[case::no_object(r#"21["open",5]"#, frame_of(r#"{"id":2,"open":5}"#))]
    #[case::any_name(r#"21["a\"b",{}]"#, frame_of(r#"{"id":2,"a\"b":{}}"#))]
    #[case::two_bodies(r#"21["open",{},{}]"#, Incoming::Bad)]
    #[case::no_name("21[]", Incoming::Bad)]
    #[case::name_is_no_text("21[5,{}]", Incoming::Bad)]
    #[case::injected(r#"21["open",{}},"send":{}]"#, Incoming::Bad)]
    #[case::cut_off(r#"21["open",{]"#, Incoming::Bad)]
    #[case::no_array(r#"2{"open":{}}"#, Incoming::Bad)]
    #[case::callback_too_large(r#"29007199254740991["ping"]"#, Incoming::Bad)]
    #[case::empty("", Incoming::Bad)]
    #[case::unknown_kind("9", Incoming::Bad)]
    #[case::error_of_a_client("4{}", Incoming::Bad)]
    #[case::attachments(r#"51-["send",{"_placeholder":true,"num":0}]"#, Incoming::Binary)]
    #[case::no_attachments(r#"50-["send",{}]"#, Incoming::Binary)]
    #[case::other_namespace("0/admin,{}", Incoming::Foreign("/admin".to_owned()))]
    #[case::event_of_it(r#"2/admin,["send"]"#, Incoming::Ignored)]
    #[case::acknowledges("31[]", Incoming::Ignored)]
    #[case::leaves("1", Incoming::Leave)]
    fn packets_are_read(#[case] text: &str, #[case] expected: Incoming) {
        assert_eq!(decode(text.to_owned().into()), expected);
    }

    #[test]
    fn a_connect_is_a_hello_and_an_event_needs_no_callback() {
        let hello = format!(r#"{{"id":{CONNECT},"hello":{{"user":"ann"}}}}"#);
        assert_eq!(decode(r#"0{"user":"ann"}"#.to_owned().into()), Incoming::Frame(hello));
        let hello = format!(r#"{{"id":{CONNECT},"hello":{{}}}}"#);
        assert_eq!(decode("0".to_owned().into()), Incoming::Frame(hello));
        let ping = format!(r#"{{"id":{NO_ACK},"ping":{{}}}}"#);
        assert_eq!(decode(r#"2["ping",{}]"#.to_owned().into()), Incoming::Frame(ping));
    }

    proptest! {
        /// Whatever comes is something, and as a frame it is what was said: no other id, no other method.
        #[test]
        fn any_text_is_something(
            text in r#"[0-9]?(/[a-zé]{0,3},?)?([0-9]{1,20})?(.{0,30}|\[("[a-z"\\ ]{0,6}"?)?,?[{}\[\]",:a-z0-9 ]{0,20}\]?)"#,
        ) {
            if let Incoming::Frame(frame) = decode(text.clone().into())
                && let Ok((id, command)) = parse_command(&frame)
            {
                let is_hello = matches!(command, Command::Hello(_));
                prop_assert_eq!(id == CONNECT, text.starts_with('0'), "{}", frame);
                prop_assert!(id != CONNECT || is_hello, "{}", frame);
            }
        }

        /// Nothing that a body may hold gets out of it.
        #[test]
        fn an_event_is_the_command_that_it_says(content in "\\PC{0,20}", ack in 0..1_000i64) {
            let arguments = json!(["send", { "conv": "c", "content": content }]);
            let Incoming::Frame(frame) = decode(format!("2{ack}{arguments}").into()) else {
                panic!("{arguments} is a command");
            };
            let frame: serde_json::Value = serde_json::from_str(&frame).unwrap();
            prop_assert_eq!(&frame, &json!({ "id": ack + 1, "send": arguments[1] }));
            let mut packets = Vec::new();
            encode(&frame.to_string(), &mut packets);
            let expected = json!([{ "ok": arguments[1] }]);
            let said: serde_json::Value =
                serde_json::from_str(packets[0].strip_prefix(&format!("3{ack}")).unwrap()).unwrap();
            prop_assert_eq!(said, expected);
        }
    }

    fn encoded(frame: &str) -> Vec<String> {
        let mut packets = Vec::new();
        encode(frame, &mut packets);
        packets
    }

    #[test]
    fn frames_become_packets() {
        assert_eq!(encoded(r#"{"id":8,"send":{"seq":1}}"#), [r#"37[{"ok":{"seq":1}}]"#]);
        assert_eq!(encoded(r#"{"id":1,"error":{"code":"x"}}"#), [r#"30[{"error":{"code":"x"}}]"#]);
        assert_eq!(encoded(r#"{"msg":{"content":"\":{"}}"#), [r#"2["msg",{"content":"\":{"}]"#]);
        assert_eq!(encoded(r#"{"error":{}}"#), [r#"2["error",{}]"#]);
        let nobody = |name: &str| encoded(&format!(r#"{{"id":{NO_ACK},"{name}":{{}}}}"#));
        assert_eq!(nobody("error"), [r#"2["error",{}]"#]);
        assert!(nobody("send").is_empty());
        let hello = encoded(&format!(r#"{{"id":{CONNECT},"hello":{{"session":"s","user":"a"}}}}"#));
        assert_eq!(hello, [r#"0{"sid":"s"}"#, r#"2["hello",{"session":"s","user":"a"}]"#]);
        let refused = encoded(&format!(r#"{{"id":{CONNECT},"error":{{"code":"x"}}}}"#));
        assert_eq!(refused, [r#"4{"message":"{\"code\":\"x\"}"}"#]);
    }

    #[test]
    fn a_close_says_whether_to_come_back() {
        assert_eq!(
            closing(CloseCode::SHUTDOWN),
            r#"2["closing",{"code":4001,"reason":"shutdown","reconnect":true}]"#
        );
        assert!(closing(CloseCode::REVOKED).contains(r#""reconnect":false"#));
    }
}
