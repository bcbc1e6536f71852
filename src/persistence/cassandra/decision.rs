//! What becomes of appends, before anything is written: the rules of the atomic step, over the end of the conversation as known.

use std::collections::HashMap;
use std::sync::Arc;

use super::codec::{Row, Values, bigint, cuts_text, insert_values};
use super::layout::Layout;
use super::rosters::RosterId;
use super::tail::Tail;
use crate::model::{Cid, ConvId, Message, Roster, Seq, UserName};
use crate::persistence::writer::Queued;
use crate::persistence::{Append, Restored};
use scylla::value::CqlValue;

/// What becomes of one append.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It is the row at this place of the batch, and the first of its name where `dup` is false.
    Row {
        /// Among the new rows.
        place: usize,
        /// Another append of the same batch brought it.
        dup: bool,
    },
    /// It is stored already.
    Known(Arc<Message>),
    /// The same `cid` has another type or content.
    Conflict,
    /// Its `ts` is too far ahead.
    TsInFuture,
    /// Its sender is no member of the group.
    NotMember,
    /// It comes from elsewhere, and its number is not the next.
    NotNext,
}

/// A batch that may be written.
#[derive(Debug)]
pub struct Decision {
    /// The end that it is decided on; in an empty bucket where it begins one.
    pub base: Arc<Tail>,
    /// What becomes of the first appends, in their order; those after them do not fit.
    pub fates: Vec<Fate>,
    /// The new rows.
    pub rows: Vec<Row>,
    /// The highest `ts` after it.
    pub high: u64,
    /// Where each life found the end, after it.
    pub cuts: Vec<(u64, Seq)>,
    /// The life that it is written in.
    pub generation: u64,
    /// Who is in the group, after it; `None` outside groups.
    pub roster: Option<RosterId>,
}

/// What the rules need to know beside the end.
pub struct Circumstances<'a> {
    /// How the store is laid out.
    pub layout: Layout,
    /// The life of the store.
    pub generation: u64,
    /// The engine's clock, ms.
    pub now: u64,
    /// Stored messages of full buckets that have the name of one of the appends.
    pub older: &'a HashMap<(UserName, Cid), Arc<Message>>,
    /// Who may write, in a group.
    pub roster: Option<&'a Roster>,
    /// What all rows of the batch are marked with.
    pub tag: i64,
}

/// Decides what becomes of appends, in their order.
pub fn decide(base: &Arc<Tail>, queued: &[Queued], with: &Circumstances<'_>) -> Decision {
    let layout = with.layout;
    let mut decision = Decision::nothing(base, with.generation, layout);
    let mut named: HashMap<(&UserName, &Cid), usize> = HashMap::new();
    let mut head = base.head(layout);
    let last = layout.last(base.bucket);
    for Queued { append, .. } in queued {
        let Append { sender, cid, ts, future_skew_ms_max, restored, .. } = append;
        if let Some(Restored { seq, at }) = *restored {
            let fate = if seq != head.next() {
                Fate::NotNext
            } else if head == last {
                break;
            } else {
                head = seq;
                named.insert((sender, cid), decision.rows.len());
                decision.push(append, seq, at, with.tag)
            };
            decision.fates.push(fate);
            continue;
        }
        let stored = base.named(sender, cid, layout).map(|row| &row.message);
        let stored = stored.or_else(|| with.older.get(&(sender.clone(), cid.clone())));
        let fate = if with.roster.is_some_and(|roster| roster.membership(sender).is_none()) {
            Fate::NotMember
        } else if let Some(message) = stored {
            if is_same(message, append) { Fate::Known(Arc::clone(message)) } else { Fate::Conflict }
        } else if let Some(&place) = named.get(&(sender, cid)) {
            if is_same(&decision.rows[place].message, append) {
                Fate::Row { place, dup: true }
            } else {
                Fate::Conflict
            }
        } else if ts.is_some_and(|ts| ts > with.now.saturating_add(*future_skew_ms_max)) {
            Fate::TsInFuture
        } else if head == last {
            break;
        } else {
            head = head.next();
            named.insert((sender, cid), decision.rows.len());
            decision.push(append, head, with.now, with.tag)
        };
        decision.fates.push(fate);
    }
    decision
}

fn is_same(message: &Message, append: &Append) -> bool {
    message.kind == append.kind && message.content == append.content
}

impl Decision {
    fn nothing(base: &Arc<Tail>, generation: u64, layout: Layout) -> Self {
        Self {
            base: Arc::clone(base),
            fates: Vec::new(),
            rows: Vec::new(),
            high: base.high,
            cuts: base.cuts_in(generation, layout),
            generation,
            roster: base.roster,
        }
    }

    /// One more row.
    fn push(&mut self, append: &Append, seq: Seq, at: u64, tag: i64) -> Fate {
        let ts = append.ts.unwrap_or(at.max(self.high));
        let message = Message {
            seq,
            from: append.sender.clone(),
            cid: append.cid.clone(),
            kind: append.kind.clone(),
            content: append.content.clone(),
            ts,
            at,
            late: ts < self.high,
        };
        self.high = self.high.max(ts);
        let place = self.rows.len();
        self.rows.push(Row { message: Arc::new(message), tag });
        Fate::Row { place, dup: false }
    }

    /// Another roster, and nothing else.
    pub fn change(base: &Arc<Tail>, generation: u64, layout: Layout, roster: RosterId) -> Self {
        Self { roster: Some(roster), ..Self::nothing(base, generation, layout) }
    }

    /// The values of the conditional batch: `advance.cql`, in a group `advance_group.cql`, then `insert.cql` for each row.
    pub fn values(&self, conv: ConvId, layout: Layout) -> Vec<Values> {
        let number = |number: u64| Some(CqlValue::BigInt(bigint(number)));
        let id = |id: RosterId| CqlValue::Blob(id.bytes());
        let Tail { bucket, floor, generation, is_begun, roster, .. } = &*self.base;
        let head = self.base.head(layout);
        // Where nothing is stored yet there is nothing to compare with.
        let expected = |value: u64| if *is_begun { number(value) } else { None };
        let mut advance = vec![
            number(head.0 + self.rows.len() as u64),
            number(self.high),
            number(*floor),
            number(self.generation),
            Some(CqlValue::Text(cuts_text(&self.cuts))),
        ];
        advance.extend(self.roster.map(|roster| Some(id(roster))));
        advance.extend([
            Some(CqlValue::Blob(conv.as_bytes().to_vec())),
            number(*bucket),
            expected(head.0),
            expected(*generation),
        ]);
        advance.extend(self.roster.map(|_| roster.filter(|_| *is_begun).map(id)));
        let mut values = Vec::with_capacity(self.rows.len() + 1);
        values.push(advance);
        values.extend(self.rows.iter().map(|row| insert_values(conv, *bucket, row)));
        values
    }

    /// The end after it was written.
    pub fn applied(&self, layout: Layout) -> Tail {
        let mut tail = (*self.base).clone();
        for row in &self.rows {
            // Numbered from its head on, and no more than fit.
            let pushed = tail.push(row.clone(), layout);
            debug_assert!(pushed.is_ok());
        }
        tail.high = self.high;
        tail.generation = self.generation;
        tail.cuts.clone_from(&self.cuts);
        (tail.roster, tail.is_begun) = (self.roster, true);
        tail
    }
}
