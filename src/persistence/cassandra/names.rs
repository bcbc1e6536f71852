//! The names of messages in full buckets, for the decision whether an append is a repetition.
//!
//! A bucket's names are one row: a hash of 64 bits for each message, by its place. They are remembered as far back as a
//! repetition must be known: at least [`MESSAGES_MIN`] messages and at least [`TIME_MIN`]. A hash that is there leads to the
//! message, which says whether it is of that name.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use scylla::DeserializeRow;
use sha2::{Digest as _, Sha256};

use super::buckets::reread;
use super::codec::{Row, bigint, number};
use super::failure::unreadable;
use super::layout::{Layout, PART_BUCKETS, part_of};
use super::link::{CallError, Link};
use super::tail::Tail;
use crate::model::{Cid, ConvId, Seq, UserName};

/// Messages of a conversation whose names are known at least.
const MESSAGES_MIN: u64 = 16_384;
/// Names are known at least this long.
const TIME_MIN: Duration = Duration::from_secs(25 * 3_600);
/// Buckets whose names are read at once.
const READ_BUCKETS: u64 = 64;

/// The names of one full bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketNames {
    bucket: u64,
    /// By place in the bucket.
    hashes: Vec<u64>,
    /// Commit time of its last message, ms.
    until: u64,
}

impl BucketNames {
    /// Of a full tail.
    pub fn new(tail: &Tail) -> Self {
        let hash = |row: &Row| hash(&row.message.from, &row.message.cid);
        let until = tail.rows.last().map_or(0, |row| row.message.at);
        Self { bucket: tail.bucket, hashes: tail.rows.iter().map(hash).collect(), until }
    }

    /// Each hash, and the number of its message.
    fn places(&self, layout: Layout) -> impl Iterator<Item = (u64, Seq)> + '_ {
        self.hashes.iter().copied().zip(layout.seqs(self.bucket).map(Seq))
    }

    fn bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect()
    }

    pub(super) fn of(row: NamesRow, layout: Layout) -> Result<Self, CallError> {
        let (hashes, rest) = row.hashes.as_chunks::<8>();
        if !rest.is_empty() || hashes.len() as u64 != layout.rows() {
            return Err(unreadable("names of a bucket").into());
        }
        let hashes = hashes.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
        Ok(Self { bucket: number(row.bucket), hashes, until: number(row.until) })
    }
}

#[derive(Debug, DeserializeRow)]
#[cfg_attr(any(test, feature = "fuzzing"), derive(serde::Deserialize))]
pub(super) struct NamesRow {
    bucket: i64,
    hashes: Vec<u8>,
    until: i64,
}

/// The same on every node and in every version.
fn hash(sender: &UserName, cid: &Cid) -> u64 {
    let mut hash = Sha256::new();
    hash.update([sender.as_str().len() as u8]);
    hash.update(sender.as_str().as_bytes());
    hash.update(cid.as_str().as_bytes());
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}

/// Those of the last full buckets of a conversation, without a gap.
#[derive(Debug, Default)]
pub struct Names {
    buckets: VecDeque<BucketNames>,
    /// Where the name of a hash is.
    by_hash: HashMap<u64, Seq>,
    /// The bucket after the last of them.
    end: u64,
}

impl Names {
    /// Whether they reach up to this bucket.
    pub fn reach(&self, bucket: u64) -> bool {
        self.end == bucket
    }

    /// Takes those of the bucket that follows; of another one they are of no use.
    pub fn add(&mut self, names: BucketNames, now: u64, layout: Layout) {
        if names.bucket != self.end {
            return;
        }
        self.end += 1;
        self.note(&names, layout);
        self.buckets.push_back(names);
        while is_enough(self.buckets.iter().skip(1), now, layout) {
            let Some(names) = self.buckets.pop_front() else { break };
            for (hash, seq) in names.places(layout) {
                // A name of long ago may have been given again since.
                if self.by_hash.get(&hash) == Some(&seq) {
                    self.by_hash.remove(&hash);
                }
            }
        }
    }

    /// The newest wins: what is older than the window may have been given again.
    fn note(&mut self, names: &BucketNames, layout: Layout) {
        for (hash, seq) in names.places(layout) {
            let known = self.by_hash.entry(hash).or_insert(seq);
            *known = seq.max(*known);
        }
    }

    /// Where messages of these names may be.
    pub fn find_all<'a>(
        &self,
        names: impl IntoIterator<Item = (&'a UserName, &'a Cid)>,
    ) -> Vec<Seq> {
        let find = |(sender, cid)| self.by_hash.get(&hash(sender, cid)).copied();
        names.into_iter().filter_map(find).collect()
    }
}

/// Whether these reach back far enough; the oldest first.
fn is_enough<'a>(
    mut buckets: impl ExactSizeIterator<Item = &'a BucketNames>,
    now: u64,
    layout: Layout,
) -> bool {
    let messages = buckets.len() as u64 * layout.rows();
    let since = now.saturating_sub(TIME_MIN.as_millis() as u64);
    messages >= MESSAGES_MIN && buckets.next().is_some_and(|names| names.until < since)
}

/// Reads those before a bucket, as far back as must be known.
pub async fn load(link: &Link, conv: ConvId, end: u64, now: u64) -> Result<Names, CallError> {
    let layout = link.layout;
    let mut names = Names { end, ..Names::default() };
    let mut before = end;
    while before > 0 && !is_enough(names.buckets.iter(), now, layout) {
        let part = part_of(before - 1);
        let first = before.saturating_sub(READ_BUCKETS).max(part * PART_BUCKETS);
        let values = (&conv.as_bytes()[..], bigint(part), bigint(first), bigint(before));
        let mut rows =
            link.rows::<NamesRow>(&link.statements.names, values).await?.into_iter().peekable();
        // The newest first.
        for bucket in (first..before).rev() {
            let found = match rows.next_if(|row| number(row.bucket) == bucket) {
                Some(row) => BucketNames::of(row, layout)?,
                None => BucketNames::new(&reread(link, conv, bucket).await?),
            };
            names.note(&found, layout);
            names.buckets.push_front(found);
        }
        before = first;
    }
    Ok(names)
}

/// Notes those of a full bucket.
pub async fn write(link: &Link, conv: ConvId, tail: &Tail) -> Result<(), CallError> {
    let names = BucketNames::new(tail);
    let part = bigint(part_of(tail.bucket));
    let key = (&conv.as_bytes()[..], part, bigint(tail.bucket));
    let values = (key.0, key.1, key.2, names.bytes(), bigint(names.until));
    link.run(&link.statements.set_names, values).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(bucket: u64, layout: Layout) -> Tail {
        let mut tail = Tail::default();
        tail.bucket = bucket;
        while !tail.is_full(layout) {
            let seq = tail.head(layout).next();
            tail.push(Row::sample(seq, seq.0), layout).unwrap();
        }
        tail
    }

    #[test]
    fn names_are_found_where_they_are_and_come_back_as_they_were() {
        let layout = Layout::new(4);
        let mut names = Names::default();
        assert!(names.reach(0));
        for bucket in [0, 1, 3] {
            names.add(BucketNames::new(&full(bucket, layout)), 0, layout);
        }
        assert!(names.reach(2), "the one after a gap is not taken");
        let ann = UserName::new("ann").unwrap();
        let find = |cid: &str| names.find_all([(&ann, &Cid::new(cid).unwrap())]);
        assert_eq!((find("c1"), find("c8")), (vec![Seq(1)], vec![Seq(8)]));
        assert!(find("c9").is_empty());
        let written = BucketNames::new(&full(1, layout));
        let row = NamesRow { bucket: 1, hashes: written.bytes(), until: 0 };
        assert_eq!(BucketNames::of(row, layout).unwrap(), written);
    }

    #[test]
    fn what_is_old_and_far_back_is_forgotten() {
        let layout = Layout::new(4);
        let day = 2 * TIME_MIN.as_millis() as u64;
        for (now, is_kept) in [(0, true), (day, false)] {
            let mut names = Names::default();
            for bucket in 0..=MESSAGES_MIN / 4 {
                names.add(BucketNames::new(&full(bucket, layout)), now, layout);
            }
            let ann = UserName::new("ann").unwrap();
            let first = names.find_all([(&ann, &Cid::new("c1").unwrap())]);
            assert_eq!(first.len(), usize::from(is_kept), "by count alone nothing is forgotten");
            let kept = names.buckets.len() as u64 * 4;
            assert!(kept >= MESSAGES_MIN);
        }
    }
}
