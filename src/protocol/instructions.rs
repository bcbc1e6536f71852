//! What it costs to read a command.

use std::hint::black_box;

use super::parse_command;
use crate::instructions::{CONTENT, Operation, mark};

/// A `send` as clients write it, a command of the way of all frames, and a `send` that is refused after both ways.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("parse.send", 1_000, |times| {
            let body = format!(r#""cid":"c-1","type":"text","content":"{CONTENT}""#);
            parse(times, &format!(r#"{{"id":7,"send":{{"conv":"{CONV}",{body}}}}}"#), true);
        }),
        Operation::new("parse.ack", 1_000, |times| {
            parse(times, &format!(r#"{{"id":7,"ack":{{"conv":"{CONV}","up_to":1000}}}}"#), true);
        }),
        Operation::new("parse.refused_send", 1_000, |times| {
            let body = format!(r#""type":"text","content":"{CONTENT}""#);
            parse(times, &format!(r#"{{"id":7,"send":{{"conv":"{CONV}",{body}}}}}"#), false);
        }),
    ]
}

const CONV: &str = "AAAAAAAAAAAAAAAAAAAAAAAA";

fn parse(times: usize, text: &str, is_right: bool) {
    assert_eq!(parse_command(text).is_ok(), is_right, "{text}");
    mark();
    for _ in 0..times {
        drop(black_box(parse_command(black_box(text))));
    }
    mark();
}
