//! What becomes of appends that are written together, before anything is: the rules of the atomic step, over the end of a conversation.
//!
//! For stores behind a network, which decide in the process and then write on a condition: that the end is still what it was.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Append, AppendOutcome, Restored};
use crate::model::{Cid, Message, Place, Seq, UserName};

/// The end of a conversation as an engine knows it.
pub trait End {
    /// Number of the newest message.
    fn head(&self) -> Seq;

    /// The highest `ts`.
    fn high(&self) -> u64;

    /// Number of the last message that may be written with the others.
    fn last(&self) -> Seq {
        Seq(u64::MAX)
    }

    /// The stored message of a name.
    fn named(&self, sender: &UserName, cid: &Cid) -> Option<&Arc<Message>>;

    /// Whether it is a member; asked of groups only.
    fn is_member(&self, user: &UserName) -> bool;
}

/// What becomes of one append.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It is this message, and the first of its name among those that are written.
    New(Arc<Message>),
    /// The message is stored already, or another append brings it.
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
    /// Those that are written together: it is stored only with them.
    Batch,
}

impl Fate {
    /// The message that is to be written.
    pub fn new_message(&self) -> Option<&Arc<Message>> {
        if let Self::New(message) = self { Some(message) } else { None }
    }

    /// Whether there is a message of this name after it.
    pub fn is_stored(&self) -> bool {
        matches!(self, Self::New(_) | Self::Known(..))
    }

    /// Whether it holds only if what is written together is stored.
    pub fn depends_on_the_batch(&self) -> bool {
        matches!(
            self,
            Self::New(_)
                | Self::NotNext
                | Self::Known(_, Source::Batch)
                | Self::Conflict(Source::Batch)
        )
    }

    /// The message, and whether it was there before; or what else the caller is told.
    pub fn stored(self) -> Result<(Arc<Message>, bool), AppendOutcome> {
        match self {
            Self::New(message) => Ok((message, false)),
            Self::Known(message, _) => Ok((message, true)),
            Self::Conflict(_) => Err(AppendOutcome::Conflict),
            Self::TsInFuture => Err(AppendOutcome::TsInFuture),
            Self::NotMember => Err(AppendOutcome::NotMember),
            Self::NotNext => Err(AppendOutcome::NotNext),
        }
    }
}

/// Decides what becomes of appends, in their order, at this time, ms. Those for which there is no room any more have no fate.
pub fn decide<'a>(
    end: &impl End,
    appends: impl IntoIterator<Item = &'a Append>,
    now: u64,
) -> Vec<Fate> {
    let mut named: HashMap<(&UserName, &Cid), Arc<Message>> = HashMap::new();
    let (mut head, mut high) = (end.head(), end.high());
    let mut fates = Vec::new();
    for append in appends {
        let Append { sender, cid, .. } = append;
        let (seq, mut at) = (head.next(), now);
        let refusal = if let Some(restored) = append.restored {
            at = restored.at;
            (Restored { seq, at } != restored).then_some(Fate::NotNext)
        } else if matches!(*append.place, Place::Group(_)) && !end.is_member(sender) {
            Some(Fate::NotMember)
        } else if let Some(message) = end.named(sender, cid) {
            Some(known(message, append, Source::Stored))
        } else if let Some(message) = named.get(&(sender, cid)) {
            Some(known(message, append, Source::Batch))
        } else {
            let latest = now.saturating_add(append.future_skew_ms_max);
            append.ts.is_some_and(|ts| ts > latest).then_some(Fate::TsInFuture)
        };
        if let Some(refusal) = refusal {
            fates.push(refusal);
            continue;
        }
        if head == end.last() {
            break;
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
        (head, high) = (seq, high.max(ts));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelName, GroupId};
    use crate::persistence::conformance::subject::Room;

    const NOW: u64 = 1_000_000;

    /// With one message, of ann.
    struct Stored {
        message: Arc<Message>,
        last: Seq,
    }

    impl End for Stored {
        fn head(&self) -> Seq {
            self.message.seq
        }

        fn high(&self) -> u64 {
            self.message.ts
        }

        fn last(&self) -> Seq {
            self.last
        }

        fn named(&self, sender: &UserName, cid: &Cid) -> Option<&Arc<Message>> {
            let is_it = self.message.from == *sender && self.message.cid == *cid;
            is_it.then_some(&self.message)
        }

        fn is_member(&self, user: &UserName) -> bool {
            self.message.from == *user
        }
    }

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    fn room() -> Room {
        Room::new(Place::Channel(ChannelName::new("news").unwrap()))
    }

    fn stored(last: Seq) -> Stored {
        let Append { sender, cid, kind, content, .. } = room().named(&user("ann"), "c1", "one", 0);
        let (seq, ts, at) = (Seq(1), 500, NOW);
        let message = Message { seq, from: sender, cid, kind, content, ts, at, late: false };
        Stored { message: Arc::new(message), last }
    }

    /// In few words: `2` or `2 late` for a new message.
    fn told(fates: &[Fate]) -> Vec<String> {
        let word = |fate: &Fate| match fate {
            Fate::New(message) if message.late => format!("{} late", message.seq),
            Fate::New(message) => message.seq.to_string(),
            Fate::Known(message, source) => format!("known {} {source:?}", message.seq),
            other => format!("{other:?}"),
        };
        fates.iter().map(word).collect()
    }

    #[test]
    fn each_is_decided_over_what_stands_before_it() {
        let (ann, bob, room) = (user("ann"), user("bob"), room());
        let far = NOW + room.message(&ann, None).future_skew_ms_max + 1;
        let appends = [
            room.named(&ann, "c1", "one", 9),
            room.named(&ann, "c1", "other", 9),
            room.named(&bob, "c1", "one", 400),
            room.named(&bob, "c1", "one", 900),
            room.named(&bob, "c1", "other", 900),
            room.named(&bob, "c2", "far", far),
            room.named(&bob, "c3", "one", None),
        ];
        let fates = decide(&stored(Seq(u64::MAX)), &appends, NOW);
        assert_eq!(
            told(&fates),
            [
                "known 1 Stored",
                "Conflict(Stored)",
                "2 late",
                "known 2 Batch",
                "Conflict(Batch)",
                "TsInFuture",
                "3"
            ]
        );
        // Where nobody knows whether they were written, neither the message nor who conflicts with it may be told so.
        let depend: Vec<_> = fates.iter().map(Fate::depends_on_the_batch).collect();
        assert_eq!(depend, [false, false, true, true, true, false, true]);
        let stored: Vec<_> = fates.into_iter().map(|fate| fate.stored().is_ok()).collect();
        assert_eq!(stored, [true, false, true, true, false, false, true]);
    }

    #[test]
    fn what_does_not_fit_is_for_later_and_so_is_all_behind_it() {
        let (ann, room) = (user("ann"), room());
        let appends =
            [room.message(&ann, 600), room.message(&ann, 600), room.named(&ann, "c1", "one", 0)];
        assert_eq!(told(&decide(&stored(Seq(2)), &appends, NOW)), ["2"]);
    }

    #[test]
    fn in_a_group_members_write_and_what_comes_from_elsewhere_is_the_next() {
        let room = Room::new(Place::Group(GroupId::generate()));
        let restored = |seq| Append {
            restored: Some(Restored { seq: Seq(seq), at: 7 }),
            ..room.message(&user("bob"), 600)
        };
        let appends = [room.message(&user("bob"), 600), restored(3), restored(2)];
        let fates = decide(&stored(Seq(u64::MAX)), &appends, NOW);
        assert_eq!(told(&fates), ["NotMember", "NotNext", "2"]);
        assert_eq!(fates[2].new_message().unwrap().at, 7);
    }
}
