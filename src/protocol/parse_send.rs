//! The commonest frame, read in one pass: a `send` as clients write it.
//!
//! It takes nothing that the way of all frames ([`super::parse`]) would not take as the same command, and refuses nothing: whatever is unusual
//! or wrong goes there, where every error is named.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Command, Send};
use crate::model::{Cid, ConvId, INTEGER_MAX, LIMITS, MessageType};

/// How far into a frame the method stands at most, as clients write it.
const METHOD_WITHIN: usize = 48;

/// The command and its number; `None`: read it the other way.
pub(super) fn parse_send(text: &str) -> Option<(u64, Command)> {
    let head = text.as_bytes().get(..METHOD_WITHIN).unwrap_or(text.as_bytes());
    if !head.windows(6).any(|bytes| bytes == b"\"send\"") {
        return None;
    }
    let Object(Frame { id, send: Object(body) }) = serde_json::from_str(text).ok()?;
    let Body { conv, cid, kind, content, ts } = body;
    let is_content =
        (1..=LIMITS.content_bytes_max).contains(&content.len()) && !content.contains('\0');
    let is_right = (1..=INTEGER_MAX).contains(&id)
        && is_content
        && ts.is_none_or(|ts| ts <= INTEGER_MAX)
        && ConvId::is_opaque_form(&conv);
    let send = Send {
        conv: ConvId::parse(&conv).filter(|_| is_right)?,
        cid: Cid::new(&cid).ok()?,
        kind: MessageType::new(&kind).ok()?,
        content: content.into_owned(),
        ts,
    };
    Some((id, Command::Send(send)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame<'a> {
    id: u64,
    #[serde(borrow)]
    send: Object<Body<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    conv: Cow<'a, str>,
    #[serde(borrow)]
    cid: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    content: Cow<'a, str>,
    /// Absent or a number: `null` is wrong.
    #[serde(default, deserialize_with = "present")]
    ts: Option<u64>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    u64::deserialize(deserializer).map(Some)
}

/// A JSON object: a struct by itself would be read from an array as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::super::parse::parse_any;
    use super::*;

    const CONV: &str = "AAAAAAAAAAAAAAAAAAAAAAAA";

    fn usual(more: &str) -> String {
        format!(
            r#"{{"id":7,"send":{{"conv":"{CONV}","cid":"c1","type":"text","content":"hé\n\"x\u0041"{more}}}}}"#
        )
    }

    #[rstest]
    #[case::without_ts("")]
    #[case::with_ts(r#","ts":1700000000000"#)]
    fn what_clients_write_is_read_in_one_pass(#[case] more: &str) {
        let text = usual(more);
        let parsed = parse_send(&text);
        assert!(parsed.is_some());
        assert_eq!(parsed, parse_any(&text).ok());
    }

    #[rstest]
    #[case::unknown_field(usual(r#","x":1"#))]
    #[case::null(usual(r#","ts":null"#))]
    #[case::fraction(usual(r#","ts":1.0"#))]
    #[case::too_large(usual(r#","ts":9007199254740992"#))]
    #[case::twice(usual(r#","cid":"c2""#))]
    #[case::body_array(format!(r#"{{"id":7,"send":["{CONV}","c1","text","x"]}}"#))]
    #[case::frame_array(format!(r#"[7,{{"send":1,"conv":"{CONV}"}}]"#))]
    #[case::no_id(usual("").replace(r#""id":7,"#, ""))]
    #[case::id_0(usual("").replace(":7,", ":0,"))]
    #[case::two_methods(usual("").replace("{\"id\":7", "{\"ping\":{},\"id\":7"))]
    #[case::other_conv(usual("").replace(CONV, "room"))]
    #[case::no_content(usual("").replace(r#"hé\n\"x\u0041"#, ""))]
    #[case::zero_byte(usual("").replace(r"\u0041", r"\u0000"))]
    #[case::rest(usual("") + "x")]
    fn whatever_is_unusual_is_read_the_other_way(#[case] text: String) {
        assert!(parse_send(&text).is_none(), "{text}");
    }

    /// A frame that is nearly one.
    fn nearly() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just(r#""conv":"AAAAAAAAAAAAAAAAAAAAAAAA""#.to_owned()),
            Just(r#""cid":"c""#.to_owned()),
            Just(r#""type":"text""#.to_owned()),
            "[a-z\\\\\"é🙂]{0,6}".prop_map(|text| {
                format!(r#""content":{}"#, serde_json::to_string(&text).unwrap_or_default())
            }),
            any::<u64>().prop_map(|ts| format!(r#""ts":{ts}"#)),
            Just(r#""ts":-1"#.to_owned()),
            Just(r#""x":[1]"#.to_owned()),
        ];
        let parts = prop::collection::vec(part, 0..8);
        (parts, 0_u64..3, any::<bool>()).prop_map(|(parts, id, first)| {
            let body = format!(r#""send":{{{}}}"#, parts.join(","));
            if first {
                format!(r#"{{"id":{id},{body}}}"#)
            } else {
                format!(r#"{{{body},"id":{id}}}"#)
            }
        })
    }

    proptest! {
        #[test]
        fn both_ways_read_the_same(text in nearly()) {
            if let Some(parsed) = parse_send(&text) {
                prop_assert_eq!(Some(parsed), parse_any(&text).ok());
            }
        }
    }
}
