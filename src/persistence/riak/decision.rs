//! What becomes of appends, before anything is written: the rules of the atomic step, over a conversation read to its end.

use std::collections::HashMap;
use std::sync::Arc;

use super::conversation::Conversation;
use crate::model::{Cid, Message, Place, UserName};
use crate::persistence::writer::Queued;
use crate::persistence::{Append, Restored};

/// What becomes of one append.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It is this message, and the first of its name in the entry.
    New(Arc<Message>),
    /// The message is stored already, or another append of the same entry brings it.
    Known(Arc<Message>, Source),
    /// The same `cid` has another type or content.
    Conflict(Source),
    /// Its `ts` is too far ahead.
    TsInFuture,
    /// Its sender is no member of the group.
    NotMember,
    /// It comes from elsewhere, and its number is not the next.
    NotNext,
}

/// Where a known message is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The store.
    Stored,
    /// The same entry: it is stored only with it.
    Entry,
}

/// Decides what becomes of appends, in their order, at this time, ms.
pub fn decide(conversation: &Conversation, queued: &[Queued], now: u64) -> Vec<Fate> {
    let mut named: HashMap<(&UserName, &Cid), Arc<Message>> = HashMap::new();
    let (mut head, mut high) = (conversation.head(), conversation.high);
    let mut fates = Vec::with_capacity(queued.len());
    for Queued { append, .. } in queued {
        let Append { sender, cid, .. } = append;
        let (seq, mut at) = (head.next(), now);
        let refusal = if let Some(restored) = append.restored {
            at = restored.at;
            (Restored { seq, at } != restored).then_some(Fate::NotNext)
        } else if matches!(*append.place, Place::Group(_))
            && conversation.roster.membership(sender).is_none()
        {
            Some(Fate::NotMember)
        } else if let Some(message) = conversation.named(sender, cid) {
            Some(known(message, append, Source::Stored))
        } else if let Some(message) = named.get(&(sender, cid)) {
            Some(known(message, append, Source::Entry))
        } else {
            let latest = now.saturating_add(append.future_skew_ms_max);
            append.ts.is_some_and(|ts| ts > latest).then_some(Fate::TsInFuture)
        };
        if let Some(refusal) = refusal {
            fates.push(refusal);
            continue;
        }
        let ts = append.ts.unwrap_or(at.max(high));
        let message = Arc::new(Message {
            seq,
            from: sender.clone(),
            cid: cid.clone(),
            kind: append.kind.clone(),
            content: append.content.clone(),
            ts,
            at,
            late: ts < high,
        });
        (head, high) = (message.seq, high.max(ts));
        named.insert((sender, cid), Arc::clone(&message));
        fates.push(Fate::New(message));
    }
    fates
}

fn known(message: &Arc<Message>, append: &Append, source: Source) -> Fate {
    if message.kind == append.kind && message.content == append.content {
        Fate::Known(Arc::clone(message), source)
    } else {
        Fate::Conflict(source)
    }
}
