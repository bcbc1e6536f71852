//! Replies in the words of a history.

use std::sync::Arc;

use super::event::{ListSeen, OpenSeen, Seen};
use super::item::Item;
use crate::harness::content::message_digest;
use crate::model::Message;
use crate::protocol::{OpenReply, Reply};

/// A message as it was received. Its digest is of what came, and of nothing else: content that was altered,
/// or that belongs elsewhere, does not have the digest that this conversation, sender and `cid` had.
pub fn item_of(message: &Message) -> Item {
    Item::of(message, message_digest(message.kind.as_str(), &message.content))
}

/// What a reply says. Epochs that are not on the wire are left empty; the
/// recorder fills them in. An answer to another method than the asked one never gets here.
pub fn seen_of(reply: &Reply) -> Seen {
    let epoch = String::new;
    match reply {
        Reply::Open(open) => Seen::Open(Box::new(open_seen(open))),
        Reply::Send(send) => Seen::Send {
            seq: send.seq,
            ts: send.ts,
            late: send.late,
            dup: send.dup,
            epoch: epoch(),
        },
        Reply::Read(read) => {
            Seen::Read { epoch: epoch(), items: items(&read.items), complete: read.next.is_none() }
        }
        Reply::Ack(ack) => Seen::Ack { up_to: ack.acked.up_to, ranges: ack.acked.ranges.clone() },
        Reply::List(list) => {
            let entries = list.items.iter().map(|entry| ListSeen {
                conv: entry.conv.to_string(),
                head: entry.head,
                unread: entry.unread,
                newest: item_of(&entry.newest),
            });
            Seen::List { entries: entries.collect(), complete: list.next.is_none() }
        }
        Reply::Create(create) => Seen::Create { group: create.group.to_string() },
        Reply::Invite(_) => Seen::Invite {},
        Reply::Remove(_) => Seen::Remove {},
        Reply::Quit(_) => Seen::Quit {},
        Reply::Leave(_)
        | Reply::Hello(_)
        | Reply::Refresh(_)
        | Reply::Ping(_)
        | Reply::Roster(_)
        | Reply::Error(_) => Seen::Leave {},
    }
}

fn open_seen(open: &OpenReply) -> OpenSeen {
    OpenSeen {
        epoch: open.epoch.to_string(),
        head: open.head,
        items: items(&open.items),
        late: open.late.as_deref().map(items),
        late_more: open.late_next.is_some(),
        acked_up_to: open.acked.up_to,
        acked_ranges: open.acked.ranges.clone(),
        unread: open.unread,
        unread_more: open.unread_more,
        unread_late: open.unread_late,
        unread_before: open.unread_before,
        gap: open.gap,
        complete: open.next.is_none(),
        recovered: open.recovered,
    }
}

fn items(messages: &[Arc<Message>]) -> Vec<Item> {
    messages.iter().map(|message| item_of(message)).collect()
}
