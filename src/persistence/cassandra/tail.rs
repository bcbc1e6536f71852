//! The end of a conversation as this node last saw it: the whole bucket that it grows in.

use std::collections::HashMap;

use super::codec::{BucketRow, Row, Statics};
use super::failure::unreadable;
use super::layout::Layout;
use super::rosters::RosterId;
use super::skeleton::Skeleton;
use crate::model::{AckSet, Cid, Seq, UserName};
use crate::persistence::EngineError;

/// The messages of the last bucket that was begun, and what stands beside them. A change of a group may begin one without a message.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    /// Which bucket.
    pub bucket: u64,
    /// Its messages, from its first number on without a gap.
    pub rows: Vec<Row>,
    /// Places in `rows`, by `(ts, seq)`.
    pub by_time: Vec<u32>,
    /// Highest `ts` before the bucket.
    pub floor: u64,
    /// Highest `ts` of all.
    pub high: u64,
    /// The life that wrote last; 0 where nothing was written.
    pub generation: u64,
    /// Where each life after the first found the end.
    pub cuts: Vec<(u64, Seq)>,
    /// Who is in the group; `None` where it is none.
    pub roster: Option<RosterId>,
    /// Something of the bucket is stored; where nothing is, the next write is made on that condition.
    pub is_begun: bool,
    cids: HashMap<(UserName, Cid), Seq>,
}

impl Tail {
    /// From the rows of a bucket; `None` when there are none. An error when they are not all there.
    pub fn new(
        rows: Vec<BucketRow>,
        bucket: u64,
        layout: Layout,
    ) -> Result<Option<Self>, Incomplete> {
        if rows.is_empty() {
            return Ok(None);
        }
        let mut tail = Self { bucket, ..Self::default() };
        tail.extend(rows, layout)?;
        Ok(Some(tail))
    }

    /// Number of the newest message; 0 when there is none.
    pub fn head(&self, layout: Layout) -> Seq {
        Seq(self.bucket * layout.rows() + self.rows.len() as u64)
    }

    /// Whether the next message begins another bucket.
    pub fn is_full(&self, layout: Layout) -> bool {
        self.rows.len() as u64 >= layout.rows()
    }

    /// Takes what was read after the last message.
    pub fn extend(&mut self, mut rows: Vec<BucketRow>, layout: Layout) -> Result<(), Incomplete> {
        let Some(last) = rows.last_mut() else { return Ok(()) };
        let statics = last.statics()?;
        for row in rows {
            if let Some(row) = row.row()? {
                self.push(row, layout)?;
            }
        }
        self.take(statics, layout)
    }

    /// Takes what the bucket says of itself at this head.
    pub fn take(&mut self, statics: Statics, layout: Layout) -> Result<(), Incomplete> {
        let Statics { head, high, floor, generation, cuts, roster } = statics;
        if self.head(layout) != head {
            return Err(Incomplete::Hole);
        }
        (self.high, self.floor, self.generation, self.cuts) = (high, floor, generation, cuts);
        (self.roster, self.is_begun) = (roster, true);
        Ok(())
    }

    /// As [`Statics::position`].
    pub fn position(&self, layout: Layout) -> (u64, Seq, u64) {
        (self.generation, self.head(layout), self.roster.map_or(0, RosterId::version))
    }

    /// Takes the next message.
    pub fn push(&mut self, row: Row, layout: Layout) -> Result<(), Incomplete> {
        let message = &row.message;
        if message.seq != self.head(layout).next() || self.is_full(layout) {
            return Err(Incomplete::Hole);
        }
        let position = message.position();
        let place = self
            .by_time
            .partition_point(|&at| self.rows[at as usize].message.position() < position);
        self.by_time.insert(place, self.rows.len() as u32);
        self.cids.insert((message.from.clone(), message.cid.clone()), message.seq);
        self.rows.push(row);
        Ok(())
    }

    /// The message of a number, where it stands in this bucket.
    pub fn row(&self, seq: Seq, layout: Layout) -> Option<&Row> {
        let place = seq.0.checked_sub(layout.first(self.bucket).0)?;
        self.rows.get(usize::try_from(place).ok()?)
    }

    /// The message that a sender named so, where it stands in this bucket.
    pub fn named(&self, sender: &UserName, cid: &Cid, layout: Layout) -> Option<&Row> {
        let seq = self.cids.get(&(sender.clone(), cid.clone()))?;
        self.row(*seq, layout)
    }

    /// The end after the next bucket began with nothing in it yet.
    pub fn next_bucket(&self) -> Self {
        Self {
            bucket: self.bucket + 1,
            floor: self.high,
            high: self.high,
            generation: self.generation,
            cuts: self.cuts.clone(),
            roster: self.roster,
            ..Self::default()
        }
    }

    /// What reads must know of it once it is full.
    pub fn skeleton(&self) -> Skeleton {
        let messages: Vec<_> = self.rows.iter().map(|row| row.message.clone()).collect();
        Skeleton::new(&messages, self.floor)
    }

    /// What is left of an acknowledgement that was made in an earlier life.
    pub fn cut(&self, acked: &AckSet, generation: u64) -> AckSet {
        let ends = self.cuts.iter().filter(|(began, _)| *began > generation);
        match ends.map(|&(_, head)| head).min() {
            Some(head) => acked.cut_to(head),
            None => acked.clone(),
        }
    }

    /// The cuts of a conversation that enters another life at this end.
    pub fn cuts_in(&self, generation: u64, layout: Layout) -> Vec<(u64, Seq)> {
        let head = self.head(layout);
        if self.generation == 0 || self.generation == generation {
            return self.cuts.clone();
        }
        let mut cuts: Vec<_> = self.cuts.iter().copied().filter(|&(_, end)| end < head).collect();
        cuts.push((generation, head));
        cuts
    }
}

/// Why rows make no end of a conversation.
#[derive(Debug)]
pub enum Incomplete {
    /// They were read while they were written: read again, what is agreed.
    Hole,
    /// They cannot be read.
    Unreadable(EngineError),
}

impl From<EngineError> for Incomplete {
    fn from(error: EngineError) -> Self {
        Self::Unreadable(error)
    }
}

impl From<Incomplete> for EngineError {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Hole => unreadable("a hole in a conversation"),
            Incomplete::Unreadable(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: u64, ts: u64) -> Row {
        Row::sample(Seq(seq), ts)
    }

    #[test]
    fn rows_stand_by_number_and_by_time_and_leave_no_hole() {
        let layout = Layout::new(3);
        let mut tail = Tail { bucket: 1, ..Tail::default() };
        assert_eq!(tail.head(layout), Seq(3));
        assert!(matches!(tail.push(row(5, 9), layout), Err(Incomplete::Hole)));
        for (seq, ts) in [(4, 9), (5, 7), (6, 8)] {
            tail.push(row(seq, ts), layout).unwrap();
        }
        assert_eq!((tail.head(layout), tail.is_full(layout)), (Seq(6), true));
        assert_eq!(tail.by_time, [1, 2, 0]);
        assert!(matches!(tail.push(row(7, 9), layout), Err(Incomplete::Hole)), "it is full");
        let (ann, cid) = (UserName::new("ann").unwrap(), Cid::new("c5").unwrap());
        assert_eq!(tail.named(&ann, &cid, layout).unwrap().message.seq, Seq(5));
        assert!(tail.row(Seq(3), layout).is_none() && tail.row(Seq(7), layout).is_none());
    }

    #[test]
    fn an_acknowledgement_ends_where_a_later_life_began() {
        let mut tail = Tail { generation: 2, ..Tail::default() };
        tail.cuts = vec![(2, Seq(10)), (4, Seq(20))];
        let acked = AckSet::up_to(Seq(30));
        assert_eq!(tail.cut(&acked, 1).up_to, Seq(10));
        assert_eq!(tail.cut(&acked, 2).up_to, Seq(20));
        assert_eq!(tail.cut(&acked, 4).up_to, Seq(30));
        let layout = Layout::new(3);
        tail.bucket = 5;
        assert_eq!(
            tail.cuts_in(5, layout),
            [(2, Seq(10)), (5, Seq(15))],
            "what lay beyond is gone"
        );
    }
}
