//! History by time over buckets that are filled by number.
//!
//! Late messages stand in the bucket of their number, so the times of buckets overlap. A lazy merge: whatever may hold the next
//! message stands in a heap by the best it may hold, and only what comes to its top is opened.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::skeleton::Summary;
use super::snapshot::{Known, Need, Snapshot};
use crate::model::{Order, Seq};
use crate::persistence::RangeQuery;

/// Buckets before the tail that are opened one by one before summaries are asked: usually the newest page needs no more.
const STEPS_MAX: u8 = 2;

/// A place in history, the better the earlier it comes in the asked order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u128);

/// Where messages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The message at this place of the times of a bucket.
    At { bucket: u64, place: usize },
    /// A full bucket that was not opened.
    Bucket(u64),
    /// All buckets before this one, which were not looked at; so many steps were made.
    Before { bucket: u64, steps: u8 },
}

#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    rank: Rank,
    source: Source,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        // At the same rank what must be opened comes before a message: it may hold one of that rank.
        self.rank.cmp(&other.rank).then_with(|| self.source.weight().cmp(&other.source.weight()))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Source {
    fn weight(self) -> u8 {
        match self {
            Self::At { .. } => 0,
            Self::Bucket(_) => 1,
            Self::Before { .. } => 2,
        }
    }
}

/// Messages of a range in the asked order.
pub struct Merge<'a> {
    snapshot: &'a Snapshot,
    order: Order,
    /// The best and the worst rank that is asked for; none where the range is empty.
    wanted: Option<(Rank, Rank)>,
    heap: BinaryHeap<Candidate>,
}

fn key(ts: u64, seq: Seq) -> u128 {
    u128::from(ts) << 64 | u128::from(seq.0)
}

impl<'a> Merge<'a> {
    /// Opens nothing yet.
    pub fn new(snapshot: &'a Snapshot, query: &RangeQuery) -> Self {
        let (mut low, mut high) = (key(query.from, Seq::ZERO), key(query.to, Seq(u64::MAX)));
        match (query.start, query.order) {
            (Some((ts, seq)), Order::Asc) => low = low.max(key(ts, seq).saturating_add(1)),
            // Below position 0 there is nothing.
            (Some((0, Seq(0))), Order::Desc) => (low, high) = (1, 0),
            (Some((ts, seq)), Order::Desc) => high = high.min(key(ts, seq) - 1),
            (None, _) => {}
        }
        let order = query.order;
        let mut merge = Self { snapshot, order, wanted: None, heap: BinaryHeap::new() };
        if low <= high {
            let (one, other) = (merge.rank(low), merge.rank(high));
            merge.wanted = Some((one.max(other), one.min(other)));
            merge.open(snapshot.tail.bucket);
            let bucket = snapshot.tail.bucket;
            merge.add_before(bucket, snapshot.tail.floor, 0);
        }
        merge
    }

    fn rank(&self, key: u128) -> Rank {
        match self.order {
            Order::Asc => Rank(!key),
            Order::Desc => Rank(key),
        }
    }

    /// The next message, or what to fetch first.
    pub fn next(&mut self) -> Result<Option<Known>, Need> {
        while let Some(Candidate { rank, source }) = self.heap.pop() {
            if self.wanted.is_none_or(|(_, worst)| rank < worst) {
                return Ok(None);
            }
            match source {
                Source::At { bucket, place } => {
                    let entry = self.entry(bucket, place);
                    self.add_at(bucket, place, 1);
                    return Ok(Some(entry));
                }
                Source::Bucket(bucket) => {
                    self.snapshot.full(bucket)?;
                    self.open(bucket);
                }
                Source::Before { bucket, steps } => self.look_before(bucket, steps)?,
            }
        }
        Ok(None)
    }

    fn look_before(&mut self, bucket: u64, steps: u8) -> Result<(), Need> {
        let Some(before) = bucket.checked_sub(1) else { return Ok(()) };
        // From the top down the buckets follow each other; from anywhere else their summaries say where to look.
        let top = self.rank(key(self.snapshot.tail.high, Seq::ZERO));
        let from_top =
            self.order == Order::Desc && self.wanted.is_some_and(|(best, _)| best >= top);
        let is_at_hand = self.snapshot.full.contains_key(&before);
        if steps < STEPS_MAX && (from_top || is_at_hand) {
            let floor = self.snapshot.full(before)?.skeleton.floor();
            self.open(before);
            self.add_before(before, floor, steps.saturating_add(1));
            return Ok(());
        }
        let summaries: Vec<Summary> = self.snapshot.summaries()?.copied().collect();
        for summary in summaries.into_iter().take_while(|summary| summary.bucket < bucket) {
            // One candidate for each of its two ranges would open it twice: the better one that is asked for is enough.
            let ranges = [summary.main, summary.far].into_iter().flatten();
            if let Some(rank) = ranges.filter_map(|range| self.best_of(range)).max() {
                self.heap.push(Candidate { rank, source: Source::Bucket(summary.bucket) });
            }
        }
        Ok(())
    }

    /// The best rank within a range of times that is asked for.
    fn best_of(&self, (low, high): (u64, u64)) -> Option<Rank> {
        let (best_wanted, worst_wanted) = self.wanted?;
        let (one, other) = (self.rank(key(low, Seq::ZERO)), self.rank(key(high, Seq(u64::MAX))));
        let (best, worst) = (one.max(other), one.min(other));
        (best >= worst_wanted && worst <= best_wanted).then_some(best.min(best_wanted))
    }

    /// Everything before a bucket, none of which is above `floor`.
    fn add_before(&mut self, bucket: u64, floor: u64, steps: u8) {
        if bucket == 0 {
            return;
        }
        if let Some(rank) = self.best_of((0, floor)) {
            self.heap.push(Candidate { rank, source: Source::Before { bucket, steps } });
        }
    }

    /// Begins with the best message of a bucket that is asked for.
    fn open(&mut self, bucket: u64) {
        let Some((best, _)) = self.wanted else { return };
        let count = self.count(bucket);
        // Places in the asked order: ranks fall.
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.rank_at(bucket, self.place(count, middle)) > best {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.add_at(bucket, low, 0);
    }

    /// The message `step` after the `place`th in the asked order.
    fn add_at(&mut self, bucket: u64, place: usize, step: usize) {
        let (count, place) = (self.count(bucket), place + step);
        if place < count {
            let rank = self.rank_at(bucket, self.place(count, place));
            self.heap.push(Candidate { rank, source: Source::At { bucket, place } });
        }
    }

    fn place(&self, count: usize, place: usize) -> usize {
        match self.order {
            Order::Asc => place,
            Order::Desc => count - 1 - place,
        }
    }

    fn count(&self, bucket: u64) -> usize {
        if bucket == self.snapshot.tail.bucket {
            return self.snapshot.tail.rows.len();
        }
        self.snapshot.full.get(&bucket).map_or(0, |full| full.skeleton.rows.len())
    }

    /// The rank of a place in the order of times.
    fn rank_at(&self, bucket: u64, by_time: usize) -> Rank {
        if bucket == self.snapshot.tail.bucket {
            let tail = &self.snapshot.tail;
            let (ts, seq) = tail.rows[tail.by_time[by_time] as usize].message.position();
            return self.rank(key(ts, seq));
        }
        let skeleton = &self.snapshot.full[&bucket].skeleton;
        let row = &skeleton.rows[skeleton.by_time[by_time] as usize];
        self.rank(key(row.ts, row.seq))
    }

    fn entry(&self, bucket: u64, place: usize) -> Known {
        let by_time = self.place(self.count(bucket), place);
        if bucket == self.snapshot.tail.bucket {
            return self.snapshot.tail_entry(self.snapshot.tail.by_time[by_time] as usize);
        }
        let full = &self.snapshot.full[&bucket];
        Snapshot::entry(full, full.skeleton.by_time[by_time] as usize)
    }
}
