//! What a server of Redis, or something in its place, answers.

use std::collections::HashMap;

use super::codec::Reply;
use super::facts::Facts;
use super::{answers, index};
use crate::fuzzing::split_first;
use crate::model::{AckSet, Message};
use crate::persistence::OpenView;
use crate::registry;

/// A byte for the operation, then the answer as it comes over the wire (RESP). It is read, or an error.
pub fn replies(input: &[u8]) {
    let (kind, bytes) = split_first(input);
    if kind % 11 == 9 {
        let text = String::from_utf8_lossy(bytes);
        if let Some((conv, place)) = index::entry(&text) {
            let _ = (conv.to_string(), place.conv_id());
        }
        return;
    }
    if kind % 11 == 10 {
        let text = String::from_utf8_lossy(bytes);
        let (info, config) = text.split_once("\n\n").unwrap_or((&text, ""));
        let config: HashMap<_, _> = config
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let _ = Facts::new(info, &config).found();
        return;
    }
    let Ok(value) = redis::parse_redis_value(bytes) else { return };
    if kind % 11 == 8 {
        registry::redis::fuzzing::replies(value);
        return;
    }
    let Ok(mut reply) = Reply::new(value.clone()) else { return };
    match kind % 11 {
        0 => {
            if let Ok(answer) = answers::opened(reply) {
                is_good(&answer.acked);
                if let OpenView::Page { items, late, .. } = &answer.view {
                    items.iter().chain(late).for_each(|message| is_sound(message));
                }
            }
        }
        1 => drop(answers::page(reply)),
        2 => drop(answers::late_page(reply)),
        3 => drop(answers::ack_outcome(reply)),
        4 => drop(answers::summary(reply)),
        5 => {
            if let Ok(acked) = reply.acked() {
                is_good(&acked);
            }
        }
        6 => {
            if let (Ok(_), Ok(_), Ok(roster)) = (reply.text(), reply.count(), reply.roster()) {
                let _ = roster.joined_since(&roster).count();
            }
        }
        _ => {
            if let Ok(messages) = reply.messages() {
                messages.iter().for_each(|message| is_sound(message));
            }
        }
    }
}

/// What is asked of an acknowledgement can be answered.
fn is_good(acked: &AckSet) {
    let _ = acked.contains(acked.up_to);
    let _ = acked.cut_to(acked.up_to);
    assert!(acked.is_normal(), "{acked:?}");
}

fn is_sound(message: &Message) {
    let _ = message.wire_bytes();
}
