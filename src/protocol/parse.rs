//! How a text frame becomes a command.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::command::{
    Ack, CLIENT_BYTES_MAX, Command, Hello, Leave, List, Open, Other, Quit, Read, ReadKind, Refresh,
    Rejected, Resume, RosterOf, Send, To, newest_first, open_limit, page_limit, yes,
};
use super::fields::Fields;
use super::{ErrorBody, ErrorCode};
use crate::model::{
    ChannelName, Cid, Epoch, GroupId, INTEGER_MAX, LIMITS, MessageType, Order, Seq, Token, UserName,
};

/// Reads one text frame. Total: every input is a command or an error to answer with.
pub fn parse_command(text: &str) -> Result<(u64, Command), Box<Rejected>> {
    match super::parse_send::parse_send(text) {
        Some(parsed) => Ok(parsed),
        None => parse_any(text),
    }
}

/// The same without the short way of what is usual.
pub(super) fn parse_any(text: &str) -> Result<(u64, Command), Box<Rejected>> {
    let bad_frame = |id, message: String| {
        let error = ErrorBody::new(ErrorCode::BadFrame, message);
        Box::new(Rejected { id, error, is_hello: false })
    };
    let frame: TopLevel = serde_json::from_str(text)
        .map_err(|error| bad_frame(None, format!("not a frame: {error}")))?;
    let id = match frame.id.as_ref().and_then(Value::as_u64) {
        Some(id) if (1..=INTEGER_MAX).contains(&id) && !frame.two_ids => id,
        _ => return Err(bad_frame(None, "id must be an integer of at least 1, once".into())),
    };
    let (method, body) = match (frame.method, frame.two_methods) {
        (Some(method), false) => method,
        _ => return Err(bad_frame(Some(id), "a frame has exactly one method beside id".into())),
    };
    if nesting(&body) >= LIMITS.nesting_max {
        return Err(bad_frame(Some(id), format!("nested deeper than {}", LIMITS.nesting_max)));
    }
    parse_method(&method, body)
        .map(|command| (id, command))
        .map_err(|error| Box::new(Rejected { id: Some(id), error, is_hello: method == "hello" }))
}

/// The top level of a frame: read by hand because every key but `id` is a method, also a repeated one.
#[derive(Default)]
struct TopLevel {
    id: Option<Value>,
    two_ids: bool,
    method: Option<(String, Value)>,
    two_methods: bool,
}

impl<'de> Deserialize<'de> for TopLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TopLevelVisitor;
        impl<'de> Visitor<'de> for TopLevelVisitor {
            type Value = TopLevel;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TopLevel, A::Error> {
                let mut frame = TopLevel::default();
                while let Some(key) = map.next_key::<String>()? {
                    let value: Value = map.next_value()?;
                    if key == "id" {
                        frame.two_ids |= frame.id.replace(value).is_some();
                    } else {
                        frame.two_methods |= frame.method.replace((key, value)).is_some();
                    }
                }
                Ok(frame)
            }
        }
        deserializer.deserialize_map(TopLevelVisitor)
    }
}

fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(nesting).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(nesting).max().unwrap_or(0),
        _ => 0,
    }
}

fn parse_method(method: &str, body: Value) -> Result<Command, ErrorBody> {
    let parse: fn(Fields) -> Result<Command, ErrorBody> = match method {
        "hello" => parse_hello,
        "open" => parse_open,
        "send" => parse_send,
        "read" => parse_read,
        "ack" => parse_ack,
        "leave" => |mut fields| {
            let conv = fields.conv()?;
            fields.finish(Command::Leave(Leave { conv }))
        },
        "list" => parse_list,
        "create" => |fields| fields.finish(Command::Create {}),
        "invite" => |fields| parse_other(fields, Command::Invite),
        "remove" => |fields| parse_other(fields, Command::Remove),
        "quit" => |mut fields| {
            let conv = fields.conv()?;
            fields.finish(Command::Quit(Quit { conv }))
        },
        "roster" => |mut fields| {
            let conv = fields.conv()?;
            fields.finish(Command::Roster(RosterOf { conv }))
        },
        "refresh" => parse_refresh,
        "ping" => |fields| fields.finish(Command::Ping {}),
        _ => {
            let shown: String = method.chars().take(64).collect();
            let message = format!("there is no method {shown:?}");
            return Err(ErrorBody::new(ErrorCode::UnknownMethod, message));
        }
    };
    match body {
        Value::Object(map) => parse(Fields::new("", map)),
        _ => Err(ErrorBody::invalid_field(method, "an object")),
    }
}

fn parse_hello(mut fields: Fields) -> Result<Command, ErrorBody> {
    let token = fields.string("token")?.map(Token::new);
    let user = fields.name("user", UserName::new)?;
    if token.is_some() && user.is_some() {
        return Err(fields.invalid("user", "absent beside token"));
    }
    let client = fields.string("client")?;
    if client.as_ref().is_some_and(|client| client.len() > CLIENT_BYTES_MAX) {
        return Err(fields.invalid("client", &format!("at most {CLIENT_BYTES_MAX} bytes")));
    }
    fields.finish(Command::Hello(Hello { token, user, client }))
}

fn parse_open(mut fields: Fields) -> Result<Command, ErrorBody> {
    let to = fields.object("to")?;
    let to = parse_to(fields.required("to", to)?)?;
    let limit = fields
        .integer("limit", 0..=LIMITS.read_limit_max as u64)?
        .map_or_else(open_limit, |limit| limit as usize);
    let resume = match fields.object("resume")? {
        None => None,
        Some(map) => Some(parse_resume(map)?),
    };
    let echo = fields.boolean("echo")?.unwrap_or_else(yes);
    let push = fields.boolean("push")?.unwrap_or_else(yes);
    fields.finish(Command::Open(Open { to, limit, resume, echo, push }))
}

fn parse_to(map: Map<String, Value>) -> Result<To, ErrorBody> {
    let mut fields = Fields::new("to", map);
    let user = fields.name("user", UserName::new)?.map(To::User);
    let channel = fields.name("channel", ChannelName::new)?.map(To::Channel);
    let group = fields.name("group", GroupId::new)?.map(To::Group);
    let mut named = [user, channel, group].into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(to), None) => fields.finish(to),
        _ => Err(ErrorBody::invalid_field(
            "to",
            "an object with exactly one of user, channel, group",
        )),
    }
}

fn parse_resume(map: Map<String, Value>) -> Result<Resume, ErrorBody> {
    let mut fields = Fields::new("resume", map);
    let epoch = fields.name("epoch", Epoch::new)?;
    let epoch = fields.required("epoch", epoch)?;
    let seq = fields.number("seq")?;
    let seq = Seq(fields.required("seq", seq)?);
    fields.finish(Resume { epoch, seq })
}

fn parse_send(mut fields: Fields) -> Result<Command, ErrorBody> {
    let conv = fields.conv()?;
    let cid = fields.name("cid", Cid::new)?;
    let cid = fields.required("cid", cid)?;
    let kind = fields.name("type", MessageType::new)?;
    let kind = fields.required("type", kind)?;
    let content = fields.string("content")?;
    let content = fields.required("content", content)?;
    if !(1..=LIMITS.content_bytes_max).contains(&content.len()) || content.contains('\0') {
        let expected = format!("1 to {} bytes of text without U+0000", LIMITS.content_bytes_max);
        return Err(fields.invalid("content", &expected));
    }
    let ts = fields.number("ts")?;
    fields.finish(Command::Send(Send { conv, cid, kind, content, ts }))
}

fn parse_read(mut fields: Fields) -> Result<Command, ErrorBody> {
    let conv = fields.conv()?;
    let limit = fields
        .integer("limit", 1..=LIMITS.read_limit_max as u64)?
        .map_or_else(page_limit, |limit| limit as usize);
    let cursor = fields.string("cursor")?;
    let order = fields.name("order", |text| match text {
        "asc" => Ok(Order::Asc),
        "desc" => Ok(Order::Desc),
        _ => Err(crate::model::InvalidName { expected: "\"asc\" or \"desc\"" }),
    })?;
    let (from, to) = (fields.number("from")?, fields.number("to")?);
    let after_seq = fields.number("after_seq")?;
    let late = fields.boolean("late")?.unwrap_or(false);
    let range_key = [("from", from.is_some()), ("to", to.is_some()), ("order", order.is_some())]
        .into_iter()
        .find_map(|(key, present)| present.then_some(key));
    let kind = match (range_key, after_seq, late) {
        (None, Some(_), true) => {
            return Err(fields.invalid("late", "absent beside after_seq"));
        }
        (Some(key), Some(_), _) => return Err(fields.invalid(key, "absent beside after_seq")),
        (Some(key), None, true) => return Err(fields.invalid(key, "absent beside late")),
        (None, Some(after_seq), false) => ReadKind::After { after_seq: Seq(after_seq) },
        (None, None, true) => ReadKind::Late { late },
        (_, None, false) => {
            if from.zip(to).is_some_and(|(from, to)| from > to) {
                return Err(fields.invalid("from", "at most to"));
            }
            ReadKind::Range { from, to, order: order.unwrap_or_else(newest_first) }
        }
    };
    fields.finish(Command::Read(Read { conv, kind, limit, cursor }))
}

fn parse_ack(mut fields: Fields) -> Result<Command, ErrorBody> {
    let conv = fields.conv()?;
    if !fields.has("up_to") && !fields.has("ranges") {
        return Err(fields.invalid("up_to", "present, or ranges"));
    }
    let up_to = fields.number("up_to")?.map(Seq);
    let ranges = fields
        .pairs("ranges", LIMITS.ack_ranges_max)?
        .map(|pairs| pairs.into_iter().map(|(lo, hi)| (Seq(lo), Seq(hi))).collect());
    fields.finish(Command::Ack(Ack { conv, up_to, ranges }))
}

fn parse_other(mut fields: Fields, command: fn(Other) -> Command) -> Result<Command, ErrorBody> {
    let conv = fields.conv()?;
    let user = fields.name("user", UserName::new)?;
    let user = fields.required("user", user)?;
    fields.finish(command(Other { conv, user }))
}

fn parse_list(mut fields: Fields) -> Result<Command, ErrorBody> {
    let limit = fields
        .integer("limit", 1..=LIMITS.read_limit_max as u64)?
        .map_or_else(page_limit, |limit| limit as usize);
    let cursor = fields.string("cursor")?;
    fields.finish(Command::List(List { limit, cursor }))
}

fn parse_refresh(mut fields: Fields) -> Result<Command, ErrorBody> {
    let token = fields.string("token")?;
    let token = Token::new(fields.required("token", token)?);
    fields.finish(Command::Refresh(Refresh { token }))
}

#[cfg(test)]
#[path = "bad_inputs_tests.rs"]
mod bad_inputs_tests;
#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
