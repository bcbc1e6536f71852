//! What is written of appends, and on which condition.

use std::collections::HashMap;
use std::sync::Arc;

use super::codec::{Row, Values, bigint, cuts_text, insert_values};
use super::layout::Layout;
use super::rosters::RosterId;
use super::tail::Tail;
use crate::model::{Cid, ConvId, Message, Roster, Seq, UserName};
use crate::persistence::decision::{self, End, Fate};
use crate::persistence::writer::Queued;
use scylla::value::CqlValue;

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

/// The end of a conversation, with what the rules need to know beside it.
struct Known<'a> {
    tail: &'a Tail,
    with: &'a Circumstances<'a>,
}

impl End for Known<'_> {
    fn head(&self) -> Seq {
        self.tail.head(self.with.layout)
    }

    fn high(&self) -> u64 {
        self.tail.high
    }

    fn last(&self) -> Seq {
        self.with.layout.last(self.tail.bucket)
    }

    fn named(&self, sender: &UserName, cid: &Cid) -> Option<&Arc<Message>> {
        let here = self.tail.named(sender, cid, self.with.layout).map(|row| &row.message);
        here.or_else(|| self.with.older.get(&(sender.clone(), cid.clone())))
    }

    fn is_member(&self, user: &UserName) -> bool {
        self.with.roster.is_some_and(|roster| roster.membership(user).is_some())
    }
}

/// Decides what becomes of appends, in their order; those that do not fit into the bucket are for the next batch.
pub fn decide(base: &Arc<Tail>, queued: &[Queued], with: &Circumstances<'_>) -> Decision {
    let appends = queued.iter().map(|queued| &queued.append);
    let fates = decision::decide(&Known { tail: base, with }, appends, with.now);
    let row = |message: &Arc<Message>| Row { message: Arc::clone(message), tag: with.tag };
    let rows: Vec<_> = fates.iter().filter_map(Fate::new_message).map(row).collect();
    let high = rows.iter().map(|row| row.message.ts).fold(base.high, u64::max);
    Decision { fates, rows, high, ..Decision::nothing(base, with.generation, with.layout) }
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
