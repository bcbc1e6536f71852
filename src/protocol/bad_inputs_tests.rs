//! The table of bad inputs: for each field of each method every wrong type, its absence, and its limits at one less, exactly and
//! one more; each with the exact answer.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::json;

use super::*;
use crate::protocol::as_on_the_wire;
use crate::schema_violation::violation;

/// What a field may be.
enum Is {
    /// A text of so many of this character at most, at least one.
    Text(usize, char),
    /// A text of exactly so many of this character.
    Exactly(usize, char),
    /// A text of at most so many, or none; any text.
    Free(usize),
    /// An integer.
    Integer(u64, u64),
    Flag,
    Object,
    /// Pairs of integers, so many at most.
    Pairs(usize),
}

/// Method, a body that is right, the field (a path), whether it must be there, and what it may be.
type Row = (&'static str, Value, &'static str, bool, Is);

fn conv() -> String {
    "A".repeat(24)
}

fn rows() -> Vec<Row> {
    let open = || json!({"to": {"user": "bob"}});
    let resume = || json!({"to": {"user": "bob"}, "resume": {"epoch": "e", "seq": 1}});
    let send = || json!({"conv": conv(), "cid": "c", "type": "text", "content": "x"});
    let read = || json!({"conv": conv()});
    let ack = || json!({"conv": conv(), "up_to": 1});
    let page = LIMITS.read_limit_max as u64;
    let other = || json!({"conv": conv(), "user": "bob"});
    use Is::{Exactly, Flag, Free, Integer, Object, Pairs, Text};
    vec![
        // Which of the two is asked for is known to the one who lets in.
        ("hello", json!({"user": "ann"}), "user", false, Text(64, 'a')),
        ("hello", json!({"token": "t"}), "token", false, Free(100_000)),
        ("hello", json!({"user": "ann"}), "client", false, Free(128)),
        ("open", open(), "to", true, Object),
        ("open", open(), "to.user", false, Text(64, 'a')),
        ("open", json!({"to": {"channel": "c"}}), "to.channel", false, Text(64, 'a')),
        ("open", json!({"to": {"group": "g".repeat(22)}}), "to.group", false, Exactly(22, 'g')),
        ("open", open(), "limit", false, Integer(0, page)),
        ("open", open(), "echo", false, Flag),
        ("open", open(), "push", false, Flag),
        ("open", open(), "resume", false, Object),
        ("open", resume(), "resume.epoch", true, Text(32, 'e')),
        ("open", resume(), "resume.seq", true, Integer(0, INTEGER_MAX)),
        ("send", send(), "conv", true, Text(32, 'A')),
        ("send", send(), "cid", true, Text(64, '~')),
        ("send", send(), "type", true, Text(32, 't')),
        ("send", send(), "content", true, Text(LIMITS.content_bytes_max, '\u{1}')),
        ("send", send(), "ts", false, Integer(0, INTEGER_MAX)),
        ("read", read(), "conv", true, Text(32, 'A')),
        ("read", read(), "limit", false, Integer(1, page)),
        ("read", read(), "from", false, Integer(0, INTEGER_MAX)),
        ("read", read(), "to", false, Integer(0, INTEGER_MAX)),
        ("read", read(), "after_seq", false, Integer(0, INTEGER_MAX)),
        ("read", read(), "late", false, Flag),
        // A cursor is judged by the one who made it.
        ("read", read(), "cursor", false, Free(100_000)),
        ("ack", ack(), "conv", true, Text(32, 'A')),
        // One of the two.
        ("ack", ack(), "up_to", true, Integer(0, INTEGER_MAX)),
        ("ack", ack(), "ranges", false, Pairs(LIMITS.ack_ranges_max)),
        ("leave", read(), "conv", true, Text(32, 'A')),
        ("invite", other(), "conv", true, Text(32, 'A')),
        ("invite", other(), "user", true, Text(64, 'a')),
        ("remove", other(), "conv", true, Text(32, 'A')),
        ("remove", other(), "user", true, Text(64, 'a')),
        ("quit", read(), "conv", true, Text(32, 'A')),
        ("roster", read(), "conv", true, Text(32, 'A')),
        // A token is judged by the one who knows the keys.
        ("refresh", json!({"token": "t"}), "token", true, Free(100_000)),
        ("list", json!({}), "limit", false, Integer(1, page)),
        ("list", json!({}), "cursor", false, Free(100_000)),
    ]
}

/// The body with another value of a field; `None`: without it.
fn with(body: &Value, path: &str, value: Option<Value>) -> Value {
    let mut changed = body.clone();
    let (mut at, mut rest) = (&mut changed, path);
    while let Some((key, tail)) = rest.split_once('.') {
        at = &mut at[key];
        rest = tail;
    }
    match (value, at.as_object_mut()) {
        (Some(value), _) => at[rest] = value,
        (None, Some(map)) => drop(map.remove(rest)),
        (None, None) => unreachable!("{path}"),
    }
    changed
}

/// The schema of commands, as clients get it.
fn command_schema() -> Value {
    let wire = RecursiveTransform(as_on_the_wire);
    let settings = SchemaSettings::draft2020_12().with_transform(wire).for_deserialize();
    settings.into_generator().into_root_schema_for::<Command>().to_value()
}

/// Whether the schema takes it.
fn is_as_told(method: &str, body: &Value) -> bool {
    static SCHEMA: LazyLock<Value> = LazyLock::new(command_schema);
    violation(&SCHEMA, &SCHEMA, &json!({method: body}), "").is_none()
}

/// What no schema can say: bytes of UTF-8, `1.0` for an integer, `lo < hi`, `from ≤ to`.
fn only_the_parser_tells(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.as_f64().is_some_and(|float| number.is_f64() && float.fract() == 0.0)
        }
        Value::String(text) => !text.is_ascii(),
        Value::Array(values) => {
            let pair = values.iter().map(Value::as_u64).collect::<Option<Vec<_>>>();
            pair.is_some_and(|pair| pair.len() == 2 && pair[0] >= pair[1])
                || values.iter().any(only_the_parser_tells)
        }
        Value::Object(map) => {
            let ends =
                map.get("from").and_then(Value::as_u64).zip(map.get("to").and_then(Value::as_u64));
            ends.is_some_and(|(from, to)| from > to) || map.values().any(only_the_parser_tells)
        }
        _ => false,
    }
}

/// The field that is found wrong; none: the body is right. A conversation that cannot be is right here, and `not_found`. The schema
/// must find the same.
fn field(method: &str, body: &Value) -> Option<String> {
    let named = field_by_parser(method, body);
    match (&named, is_as_told(method, body)) {
        (None, true) | (Some(_), false) => {}
        // Whoever lets in says which of the two.
        (None, false) => {
            let is_there = |key| body.get(key).is_some();
            assert!(
                method == "hello" && !is_there("token") && !is_there("user"),
                "{method} {body}"
            );
        }
        (Some(_), true) => {
            assert!(only_the_parser_tells(body), "{method} {body} is as the schema says")
        }
    }
    named
}

fn field_by_parser(method: &str, body: &Value) -> Option<String> {
    let error = parse_command(&json!({"id": 7, method: body}).to_string()).err()?;
    assert_eq!(error.id, Some(7));
    assert_eq!(error.is_hello, method == "hello");
    let error = error.error;
    if error.code == ErrorCode::NotFound {
        return None;
    }
    assert_eq!(error.code, ErrorCode::InvalidField, "{method} {body}: {error}");
    assert!(error.definite && !error.temporary && error.retry_after_ms.is_none(), "{error}");
    let named = error.field.unwrap();
    assert_eq!(error.message.split(" must be ").next(), Some(&*named));
    Some(named)
}

#[test]
fn every_field_of_every_method() {
    let samples = [
        ("null", Value::Null),
        ("a flag", json!(true)),
        ("a text", json!("?\0")),
        ("an integer", json!(7)),
        ("less than nothing", json!(-1)),
        ("a fraction", json!(1.5)),
        ("a fraction that is whole", json!(1.0)),
        ("an array", json!([])),
        ("an object", json!({})),
    ];
    for (method, body, path, is_required, is) in rows() {
        assert_eq!(field(method, &body), None, "{method} {body}");
        let check = |name: &str, value: Option<Value>, is_right: bool| {
            let changed = with(&body, path, value);
            let expected = (!is_right).then(|| path.to_owned());
            let got = field(method, &changed);
            // Without the only name in it, `to` is what is wrong.
            let got = got.filter(|got| !(is_right && path.starts_with("to.") && got == "to"));
            assert_eq!(got, expected, "{method}: {path} is {name}");
        };
        check("absent", None, !is_required);
        for (name, value) in &samples {
            let is_right = match (&is, *name) {
                (Is::Free(_), "a text") | (Is::Flag, "a flag") => true,
                (Is::Integer(..), "an integer") | (Is::Pairs(_), "an array") => true,
                // What is wrong with these stands deeper.
                (Is::Object, "an object") => continue,
                _ => false,
            };
            check(name, Some(value.clone()), is_right);
        }
        let text = |character: char, count: usize| Some(json!(character.to_string().repeat(count)));
        match is {
            Is::Text(most, character) => {
                check("empty", text(character, 0), false);
                check("limit − 1", text(character, most - 1), true);
                check("limit", text(character, most), true);
                check("limit + 1", text(character, most + 1), false);
                check("far beyond", text(character, 100_000), false);
            }
            Is::Exactly(length, character) => {
                check("empty", text(character, 0), false);
                check("one less", text(character, length - 1), false);
                check("right", text(character, length), true);
                check("one more", text(character, length + 1), false);
            }
            Is::Free(most) => {
                check("empty", text('x', 0), true);
                check("limit − 1", text('x', most - 1), true);
                check("limit", text('x', most), true);
                if most < 100_000 {
                    check("limit + 1", text('x', most + 1), false);
                    check("limit + 1 in bytes", text('ü', most / 2 + 1), false);
                }
            }
            Is::Integer(least, most) => {
                if let Some(below) = least.checked_sub(1) {
                    check("least − 1", Some(json!(below)), false);
                }
                check("least", Some(json!(least)), true);
                check("limit − 1", Some(json!(most - 1)), true);
                check("limit", Some(json!(most)), true);
                check("limit + 1", Some(json!(most + 1)), false);
                check("the largest of 64 bits", Some(json!(u64::MAX)), false);
            }
            Is::Pairs(most) => {
                for (count, is_right) in [(most - 1, true), (most, true), (most + 1, false)] {
                    check("many", Some(json!(vec![[1, 2]; count])), is_right);
                }
                for pair in [
                    json!([0, 2]),
                    json!([2, 2]),
                    json!([3, 2]),
                    json!([1]),
                    json!([1, 2, 3]),
                    json!(["1", 2]),
                    json!([1.5, 2]),
                    json!([-1, 2]),
                    json!({"lo": 1, "hi": 2}),
                    json!(1),
                    json!(null),
                    json!([1, INTEGER_MAX + 1]),
                ] {
                    check("a pair that is none", Some(json!([[1, 2], pair])), false);
                }
                check("the widest", Some(json!([[1, INTEGER_MAX]])), true);
            }
            Is::Flag | Is::Object => {}
        }
    }
}

#[test]
fn every_method_takes_an_object_with_whatever_else_in_it() {
    for method in [
        "hello", "open", "send", "read", "ack", "leave", "list", "create", "invite", "remove",
        "quit", "roster", "refresh", "ping",
    ] {
        for body in [json!(null), json!(7), json!("x"), json!(true), json!([]), json!([{}])] {
            assert_eq!(field(method, &body).as_deref(), Some(method), "{body}");
        }
    }
    for (method, body, ..) in rows() {
        let mut more = body.clone();
        more["nobody_knows_this"] = json!({"null": null, "deep": [[[[]]]]});
        assert_eq!(field(method, &more), None, "{more}");
        let commands = [&body, &more].map(|body| {
            parse_command(&json!({"id": 7, method: body}).to_string()).map_err(|error| error.error)
        });
        assert_eq!(commands[0], commands[1], "it makes no difference");
    }
    assert_eq!(field("ping", &json!({"x": null})), None);
}

#[test]
fn the_three_kinds_of_read_are_not_mixed() {
    let read = |more: Value| {
        let mut body = json!({"conv": conv()});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        field("read", &body)
    };
    for good in [
        json!({"late": false}),
        json!({"late": false, "order": "asc"}),
        json!({"late": false, "after_seq": 1}),
        json!({"late": true}),
        json!({"from": 1, "to": 1, "order": "desc"}),
    ] {
        assert_eq!(read(good.clone()), None, "{good}");
    }
    for (bad, named) in [
        (json!({"late": true, "after_seq": 1}), "late"),
        (json!({"late": true, "order": "asc"}), "order"),
        (json!({"late": true, "from": 1}), "from"),
        (json!({"late": true, "to": 1}), "to"),
        (json!({"after_seq": 1, "order": "asc"}), "order"),
        (json!({"after_seq": 1, "from": 1}), "from"),
        (json!({"after_seq": 1, "to": 1}), "to"),
        (json!({"from": 2, "to": 1}), "from"),
        (json!({"order": "up"}), "order"),
    ] {
        assert_eq!(read(bad.clone()).as_deref(), Some(named), "{bad}");
    }
    let both = json!({"token": "t", "user": "ann"});
    assert_eq!(field("hello", &both).as_deref(), Some("user"));
    assert_eq!(
        field("open", &json!({"to": {"user": "bob", "channel": "c"}})).as_deref(),
        Some("to")
    );
    assert_eq!(
        field("open", &json!({"to": {"user": "bob", "channel": 7}})).as_deref(),
        Some("to.channel")
    );
    assert_eq!(
        field("send", &json!({"conv": conv(), "cid": "c", "type": "t", "content": "a\0b"}))
            .as_deref(),
        Some("content")
    );
}

#[test]
fn nesting_at_its_limit() {
    let nested = |depth: usize| {
        // The frame and the body are two.
        let arrays = depth - 2;
        format!(r#"{{"id":7,"ping":{{"x":{}{}}}}}"#, "[".repeat(arrays), "]".repeat(arrays))
    };
    for depth in [LIMITS.nesting_max - 1, LIMITS.nesting_max] {
        assert!(parse_command(&nested(depth)).is_ok(), "{depth}");
    }
    // So deep that the parser gives up itself, too.
    for depth in [LIMITS.nesting_max + 1, 100, 127, 128, 129, 60_000] {
        let error = parse_command(&nested(depth)).unwrap_err().error;
        assert_eq!(error.code, ErrorCode::BadFrame, "{depth}");
    }
}

#[test]
fn what_is_no_frame() {
    let cases: [(&str, Option<u64>); 26] = [
        ("", None),
        (" ", None),
        ("{", None),
        ("}", None),
        ("null", None),
        ("7", None),
        ("\"x\"", None),
        ("[]", None),
        ("[{\"id\":7,\"ping\":{}}]", None),
        ("{}", None),
        (r#"{"ping":{}}"#, None),
        (r#"{"id":null,"ping":{}}"#, None),
        (r#"{"id":0,"ping":{}}"#, None),
        (r#"{"id":-1,"ping":{}}"#, None),
        (r#"{"id":1.0,"ping":{}}"#, None),
        (r#"{"id":"7","ping":{}}"#, None),
        (r#"{"id":9007199254740992,"ping":{}}"#, None),
        (r#"{"id":7,"id":8,"ping":{}}"#, None),
        (r#"{"id":7}"#, Some(7)),
        (r#"{"id":7,"ping":{},"list":{}}"#, Some(7)),
        (r#"{"id":7,"ping":{},"ping":{}}"#, Some(7)),
        (r#"{"id":7,"ping":{}} "#, Some(0)),
        (r#"{"id":7,"ping":{}}{}"#, None),
        (r#"{"id":7,"ping":{"x":"\ud800"}}"#, None),
        (r#"{"id":7,"ping":{"x":NaN}}"#, None),
        (r#"{'id':7,'ping':{}}"#, None),
    ];
    for (text, id) in cases {
        match (parse_command(text), id) {
            // White space around a frame is JSON.
            (Ok((7, Command::Ping {})), Some(0)) => {}
            (Err(rejected), id) => {
                assert_eq!((rejected.error.code, rejected.id), (ErrorCode::BadFrame, id), "{text}");
            }
            (got, _) => panic!("{text}: {got:?}"),
        }
    }
    for id in [1, 9_007_199_254_740_990, INTEGER_MAX] {
        assert!(parse_command(&format!(r#"{{"id":{id},"ping":{{}}}}"#)).is_ok());
    }
    let rejected = parse_command(r#"{"id":7,"teleport":{}}"#).unwrap_err();
    assert_eq!((rejected.error.code, rejected.id), (ErrorCode::UnknownMethod, Some(7)));
    let long = format!(r#"{{"id":7,"{}":{{}}}}"#, "m".repeat(100_000));
    assert!(parse_command(&long).unwrap_err().error.message.len() < 200);
}
