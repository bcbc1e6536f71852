//! The commonest frame, read in one pass: a `send` as clients write it.
//!
//! It takes nothing that the way of all frames ([`super::parse`]) would not take as the same command, and refuses nothing: whatever is unusual
//! or wrong goes there, where every error is named.

use std::borrow::Cow;

use super::{Command, Send};
use crate::model::{Cid, ConvId, INTEGER_MAX, LIMITS, MessageType};

/// The command and its number; `None`: read it the other way.
pub(super) fn parse_send(text: &str) -> Option<(u64, Command)> {
    let mut scanner = Scanner { text, at: 0 };
    let (mut id, mut send) = (None, None);
    scanner.object(|scanner, key| match key {
        b"id" => once(&mut id, scanner.integer()?),
        b"send" => once(&mut send, body(scanner)?),
        _ => None,
    })?;
    scanner.skip_blanks();
    let id = id.filter(|id| (1..=INTEGER_MAX).contains(id) && scanner.peek().is_none())?;
    Some((id, Command::Send(send?)))
}

fn body(scanner: &mut Scanner<'_>) -> Option<Send> {
    let (mut conv, mut cid, mut kind, mut content, mut ts) = (None, None, None, None, None);
    scanner.object(|scanner, key| match key {
        b"conv" => once(&mut conv, scanner.string()?),
        b"cid" => once(&mut cid, scanner.string()?),
        b"type" => once(&mut kind, scanner.string()?),
        b"content" => once(&mut content, scanner.string()?),
        b"ts" => once(&mut ts, scanner.integer()?),
        _ => None,
    })?;
    let (conv, content): (_, Cow<'_, str>) = (conv?, content?);
    let is_content = match &content {
        // U+0000 cannot stand in JSON as it is.
        Cow::Borrowed(_) => true,
        Cow::Owned(content) => !content.contains('\0'),
    } && (1..=LIMITS.content_bytes_max).contains(&content.len());
    let is_right = is_content && ts.is_none_or(|ts| ts <= INTEGER_MAX);
    Some(Send {
        conv: ConvId::parse(&conv).filter(|_| is_right)?,
        cid: Cid::new(&cid?).ok()?,
        kind: MessageType::new(&kind?).ok()?,
        content: content.into_owned(),
        ts,
    })
}

/// A field that stands there a second time is not taken.
fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

/// Digits of [`INTEGER_MAX`]: so many never overflow.
const DIGITS_MAX: usize = 16;

/// A place in a JSON text; `None` of each function: it is not what was asked for, or not as clients write it.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// One byte, with blanks before it.
    fn byte(&mut self) -> Option<u8> {
        self.skip_blanks();
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// An object; `field` reads the value of a key. What comes of one with escapes still has a backslash, and is no name of a field.
    fn object(&mut self, mut field: impl FnMut(&mut Self, &[u8]) -> Option<()>) -> Option<()> {
        if self.byte()? != b'{' {
            return None;
        }
        loop {
            if self.byte()? != b'"' {
                return None;
            }
            let rest = self.text.as_bytes().get(self.at..)?;
            let key = rest.get(..rest.iter().position(|byte| *byte == b'"')?)?;
            self.at += key.len() + 1;
            if self.byte()? != b':' {
                return None;
            }
            field(self, key)?;
            match self.byte()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A string: borrowed where it has no escapes.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        if self.byte()? != b'"' {
            return None;
        }
        let begin = self.at;
        let (end, has_escapes) = self.end_of_string(begin)?;
        self.at = end + 1;
        if has_escapes {
            let quoted = self.text.get(begin - 1..=end)?;
            return serde_json::from_str(quoted).ok().map(Cow::Owned);
        }
        let plain = self.text.get(begin..end)?;
        // Without a way out of the loop sixteen bytes are looked at at a time.
        let has_control = plain.bytes().fold(false, |control, byte| control | (byte < 0x20));
        (!has_control).then_some(Cow::Borrowed(plain))
    }

    /// Where its last quote stands, and whether there is a backslash before it.
    fn end_of_string(&self, begin: usize) -> Option<(usize, bool)> {
        let (mut from, mut has_escapes) = (begin, false);
        loop {
            let rest = self.text.as_bytes().get(from..)?;
            let at = from + memchr::memchr2(b'"', b'\\', rest)?;
            if self.text.as_bytes().get(at) == Some(&b'"') {
                return Some((at, has_escapes));
            }
            // Whatever stands behind a backslash ends nothing.
            (from, has_escapes) = (at + 2, true);
        }
    }

    /// A number without sign, fraction and exponent: what else stands behind it is not taken by who reads on.
    fn integer(&mut self) -> Option<u64> {
        self.skip_blanks();
        let digits = self.text.as_bytes().get(self.at..)?;
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = digits.get(..length)?;
        if !(1..=DIGITS_MAX).contains(&length) || (length > 1 && digits.first() == Some(&b'0')) {
            return None;
        }
        self.at += length;
        Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
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
    #[case::leading_zero(usual("").replace(":7,", ":07,"))]
    #[case::negative(usual("").replace(":7,", ":-7,"))]
    #[case::comma_at_the_end(usual(","))]
    #[case::control(usual("").replace("hé", "h\u{1f}"))]
    #[case::escape_of_nothing(usual("").replace("hé", "\\é"))]
    #[case::half_a_surrogate(usual("").replace("hé", "\\ud800"))]
    #[case::without_end(usual("").replace("\"}}", "\\"))]
    #[case::empty_body(r#"{"id":7,"send":{}}"#.to_owned())]
    #[case::empty(String::new())]
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
