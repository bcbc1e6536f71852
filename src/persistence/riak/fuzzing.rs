//! Objects of a Riak that something else has written to, and answers of what is no Riak.

use bytes::Bytes;

use super::acks::Acks;
use super::conversation::{Conversation, Snapshot};
use super::entry::Written;
use super::list::List;
use super::shared::Mergeable;
use crate::fuzzing::split_first;
use crate::model::{LIMITS, Seq, UserName};
use crate::persistence::log;
use crate::riak_link::siblings;

/// A byte for the kind of objects, then the objects, a line each. They are read, or an error.
pub fn objects(input: &[u8]) {
    let (kind, bytes) = split_first(input);
    match kind % 4 {
        0 => {
            let (kind, body) = split_line(bytes);
            let Ok(kind) = std::str::from_utf8(kind) else { return };
            let Some(values) = siblings::split(kind, &Bytes::copy_from_slice(body)) else { return };
            comes_back(&values);
        }
        1 => log_is_good(bytes),
        2 => {
            let Some(acks) = unites::<Acks>(bytes) else { return };
            let mut conversation = Conversation::default();
            for _ in 0..2 {
                let set = acks.set(&conversation).unwrap_or_default();
                assert!(set.is_normal() && set.up_to <= conversation.head(), "{set:?}");
                let _ = acks.top(conversation.generation());
                // Another life, in which something was written.
                conversation = written_in(2);
            }
        }
        _ => drop(unites::<List>(bytes)),
    }
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

/// The values of siblings, as a node would tell them.
fn comes_back(values: &[Bytes]) {
    // No shorter than what could stand by chance in any of them.
    let longest = values.iter().map(Bytes::len).max().unwrap_or(0);
    let boundary = "b".repeat(longest + 1);
    let mut body = Vec::new();
    for value in values {
        body.extend(format!("\r\n--{boundary}\r\nEtag: x\r\n\r\n").into_bytes());
        body.extend_from_slice(value);
    }
    body.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    let again = siblings::split(&format!("multipart/mixed; boundary={boundary}"), &body.into());
    assert_eq!(again.as_deref(), Some(values), "they come back as they were");
}

/// What is asked of a log that was read can be answered, and what was read comes back.
fn log_is_good(bytes: &[u8]) {
    let mut conversation = Conversation::default();
    for line in bytes.split(|&byte| byte == b'\n') {
        let Ok(read) = Written::read(Bytes::copy_from_slice(line)) else { return };
        let written = Written::new(read.entry.clone());
        let again = Written::read(written.bytes.clone()).map(|again| again.digest);
        assert_eq!(again.ok(), Some(written.digest), "it comes back as it was");
        let before = conversation.head();
        if conversation.apply(&read).is_err() {
            assert_eq!(conversation.head(), before, "nothing was taken of it");
            return;
        }
        assert_eq!(conversation.head(), Seq(before.0 + read.entry.messages.len() as u64));
    }
    let Ok(ann) = UserName::new("ann") else { return };
    let of_ann = [(ann.clone(), Acks::default())].into();
    let snapshot = Snapshot::new(&conversation, &of_ann);
    let Ok(following) = log::after(&snapshot, Seq::ZERO, LIMITS.read_limit_max);
    assert!(following.items.is_sorted_by_key(|message| message.seq));
    assert!(following.more || following.items.len() as u64 == conversation.head().0);
    let Ok(late) = log::unread_late(&snapshot, &ann, Seq::ZERO, LIMITS.read_limit_max);
    assert!(late.items.iter().all(|message| message.late));
    if let Some(message) = conversation.newest() {
        assert!(conversation.named(&message.from, &message.cid).is_some());
    }
}

/// Two values of one object, united: in either order, and twice.
fn unites<T: Mergeable + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let (one, other) = split_line(bytes);
    let read = |bytes| serde_json::from_slice::<T>(bytes).ok().filter(T::is_sound);
    let (one, other) = (read(one)?, read(other)?);
    let merged = |mut one: T, other: &T| {
        one.merge(other.clone());
        one
    };
    let united = merged(one.clone(), &other);
    assert_eq!(united, merged(other.clone(), &one), "in either order");
    assert_eq!(united, merged(united.clone(), &one), "twice");
    assert_eq!(united, merged(united.clone(), &other), "twice");
    assert!(united.is_sound(), "{united:?}");
    Some(united)
}

/// A conversation with an entry of a life.
fn written_in(generation: u64) -> Conversation {
    let mut conversation = Conversation::default();
    let life =
        crate::persistence::lineage::Life { generation, epoch: crate::model::Epoch::generate() };
    let _ = conversation.apply(&Written::new(conversation.next_entry(&life)));
    conversation
}

/// Objects of each kind.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    use std::sync::Arc;

    use crate::model::{ChannelName, Place};

    let message = |seq: u64, late: bool| {
        format!(
            r#"{{"seq":{seq},"from":"ann","cid":"c{seq}","type":"text","content":"x","ts":{},"at":9,"late":{late}}}"#,
            if late { 1 } else { 10 * seq }
        )
    };
    let entry = |after: u64, messages: &[String]| {
        format!(r#"{{"after":{after},"generation":1,"tag":7,"messages":[{}]}}"#, messages.join(","))
    };
    let log = [entry(0, &[message(1, false), message(2, false)]), entry(5, &[message(3, true)])];
    assert!(log.iter().all(|line| Written::read(Bytes::from(line.clone())).is_ok()), "{log:?}");
    let place = Arc::new(Place::Channel(ChannelName::new("news").unwrap()));
    let mut lists = [List::default(), List::default()];
    lists[0].add(&place, 7);
    lists[1].add(&place, 5);
    let lists = lists.map(|list| serde_json::to_string(&list).unwrap());
    let acks = [
        r#"{"joined":[2,1],"mine":7,"said":{"1":{"up_to":4,"ranges":[[6,8]]}}}"#,
        r#"{"joined":[1,1],"mine":5,"said":{"1":{"up_to":5,"ranges":[]},"2":{"up_to":1,"ranges":[]}}}"#,
    ];
    assert!(unites::<Acks>(acks.join("\n").as_bytes()).is_some());
    assert!(unites::<List>(lists.join("\n").as_bytes()).is_some());
    let siblings = "multipart/mixed; boundary=b1\n\r\n--b1\r\nContent-Type: application/json\r\nEtag: x\r\n\r\n{\"a\":1}\r\n--b1\r\nEtag: y\r\n\r\n\r\n--b1--\r\n";
    let texts = [
        (0, siblings.to_owned()),
        (1, log.join("\n")),
        (2, acks.join("\n")),
        (3, lists.join("\n")),
    ];
    texts.into_iter().map(|(kind, text)| [&[kind][..], text.as_bytes()].concat()).collect()
}
