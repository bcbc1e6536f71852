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
    use proptest::test_runner::TestRunner;
    use rstest::rstest;
    use serde_json::json;

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

    /// A frame as clients write it, its fields in any order, and at most one of them changed, left out, or put beside another.
    fn nearly() -> impl Strategy<Value = String> {
        let content = "[a-z\\\\\"é🙂]{1,6}".prop_map(|text| json!(text).to_string());
        let ts = prop_oneof![Just(None), (0..=INTEGER_MAX + 1).prop_map(Some)];
        let other = prop_oneof![
            Just(r#""ts":-1"#),
            Just(r#""ts":null"#),
            Just(r#""ts":1.0"#),
            Just(r#""x":[1]"#),
            Just(r#""cid":"other""#),
            Just(r#""content":7"#),
            Just(r#""\u0063id":"c""#),
        ];
        let fields = (content, ts).prop_map(|(content, ts)| {
            let mut fields = vec![
                format!(r#""conv":"{CONV}""#),
                r#""cid":"c""#.to_owned(),
                r#""type" : "text""#.to_owned(),
                format!(r#""content":{content}"#),
            ];
            fields.extend(ts.map(|ts| format!(r#""ts":{ts}"#)));
            fields
        });
        let changed = (fields, 0_u8..4, any::<prop::sample::Index>(), other);
        let changed = changed.prop_map(|(mut fields, how, at, other)| {
            let at = at.index(fields.len());
            match how {
                0 => drop(fields.remove(at)),
                1 => other.clone_into(&mut fields[at]),
                2 => fields.push(other.to_owned()),
                _ => {}
            }
            fields
        });
        let shuffled = changed.prop_shuffle();
        (shuffled, 0_u64..4, any::<bool>()).prop_map(|(fields, id, first)| {
            let body = format!(r#""send":{{{}}}"#, fields.join(","));
            if first {
                format!(r#"{{"id":{id},{body}}}"#)
            } else {
                format!(r#"{{{body},"id":{id}}}"#)
            }
        })
    }

    #[test]
    fn both_ways_read_the_same() {
        const CASES: u32 = 2_000;
        let compared = std::cell::Cell::new(0);
        let mut runner = TestRunner::new(ProptestConfig::with_cases(CASES));
        let all = runner.run(&nearly(), |text| {
            if let Some(parsed) = parse_send(&text) {
                compared.set(compared.get() + 1);
                prop_assert_eq!(Some(parsed), parse_any(&text).ok());
            }
            Ok(())
        });
        all.unwrap();
        assert!(compared.get() > CASES / 20, "{} of {CASES} were usual", compared.get());
    }
}
