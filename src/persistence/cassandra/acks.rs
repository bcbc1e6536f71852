//! What users have acknowledged, and whose a conversation is.
//!
//! `joined` and `mine` are set once, by create-if-absent. `up_to` is written with itself as its timestamp: the highest wins without
//! a condition. Ranges are compared and set. All of it belongs to the life of the store in which it was said: what an
//! earlier life acknowledged is cut to where that life ended.

use scylla::DeserializeRow;

use super::codec::{bigint, number};
use super::failure::unreadable;
use super::layout::Layout;
use super::link::{CallError, Compared, Link};
use super::tail::Tail;
use crate::model::{AckError, AckSet, ConvId, LIMITS, Place, Seq, UserName};
use crate::persistence::EngineError;

/// What is stored of one user in one conversation.
#[derive(Debug, Default)]
pub struct Acks {
    /// Where the first open or message began, and in which life.
    pub joined: Option<(Seq, u64)>,
    /// It was said that the conversation became theirs.
    pub mine: bool,
    said: Vec<Said>,
}

/// What was acknowledged in one life.
#[derive(Debug)]
struct Said {
    generation: u64,
    up_to: Seq,
    ranges: Vec<(Seq, Seq)>,
    version: Option<u64>,
}

#[derive(Debug, DeserializeRow)]
#[cfg_attr(any(test, feature = "fuzzing"), derive(serde::Deserialize))]
pub(super) struct AckRow {
    joined: Option<i64>,
    joined_generation: Option<i64>,
    mine: Option<bool>,
    generation: Option<i64>,
    up_to: Option<i64>,
    ranges: Option<Vec<u8>>,
    version: Option<i64>,
}

/// Reads it.
pub async fn read(link: &Link, conv: ConvId, user: &UserName) -> Result<Acks, CallError> {
    let values = (&conv.as_bytes()[..], user.as_str());
    Ok(Acks::of(link.rows::<AckRow>(&link.statements.acks, values).await?)?)
}

impl Acks {
    /// From the rows of a user in a conversation.
    pub(super) fn of(rows: Vec<AckRow>) -> Result<Self, EngineError> {
        let mut acks = Self::default();
        for row in rows {
            acks.mine |= row.mine == Some(true);
            acks.joined = row
                .joined
                .zip(row.joined_generation)
                .map(|(seq, generation)| (Seq(number(seq)), number(generation)));
            if let Some(generation) = row.generation {
                acks.said.push(Said {
                    generation: number(generation),
                    up_to: Seq(row.up_to.map_or(0, number)),
                    ranges: ranges_of(&row.ranges.unwrap_or_default())?,
                    version: row.version.map(number),
                });
            }
        }
        Ok(acks)
    }

    /// The union, of what is left after the store's lives; `None` before the first open.
    pub fn set(&self, tail: &Tail, layout: Layout) -> Option<AckSet> {
        if self.joined.is_none() && self.said.is_empty() {
            return None;
        }
        let mut all = AckSet::default();
        let mut add = |set: &AckSet, generation| {
            let left = tail.cut(set, generation).cut_to(tail.head(layout));
            // A union of parts that end at the head fails in no way.
            if let Ok(merged) = all.merged(left.up_to, &left.ranges, Seq(u64::MAX), usize::MAX) {
                all = merged;
            }
        };
        if let Some((seq, generation)) = self.joined {
            add(&AckSet::up_to(seq), generation);
        }
        for said in &self.said {
            let set = AckSet { up_to: said.up_to, ranges: said.ranges.clone() };
            add(&set, said.generation);
        }
        Some(all)
    }

    /// The highest number that is acknowledged, before any cut.
    pub fn top(&self) -> Seq {
        let joined = self.joined.map_or(Seq::ZERO, |(seq, _)| seq);
        let ends = self.said.iter().map(|said| {
            let last = said.ranges.last().map_or(Seq::ZERO, |&(_, hi)| Seq(hi.0 - 1));
            said.up_to.max(last)
        });
        ends.fold(joined, Seq::max)
    }
}

/// Makes it known where a user began, unless it is. Answers whether it was done by this.
pub async fn join(link: &Link, conv: ConvId, user: &UserName, seq: Seq) -> Result<bool, CallError> {
    let values = (bigint(seq.0), bigint(link.life.generation), &conv.as_bytes()[..], user.as_str());
    Ok(matches!(link.compare(&link.statements.join, values).await?, Compared::Applied))
}

/// The conversation becomes a user's, unless it is. Answers whether it did by this.
pub async fn become_mine(link: &Link, conv: ConvId, user: &UserName) -> Result<bool, CallError> {
    let values = (&conv.as_bytes()[..], user.as_str());
    Ok(matches!(link.compare(&link.statements.set_mine, values).await?, Compared::Applied))
}

/// An entry in the list of a user: before the conversation becomes theirs.
pub async fn add_mine(
    link: &Link,
    user: &UserName,
    conv: ConvId,
    place: &Place,
    stamp: u64,
) -> Result<(), CallError> {
    let place = serde_json::to_string(place)
        .unwrap_or_else(|_| unreachable!("a place has only string keys"));
    let values = (user.as_str(), bigint(stamp), &conv.as_bytes()[..], place);
    link.run(&link.statements.add_mine, values).await
}

/// What became of an acknowledgement.
#[derive(Debug)]
pub enum Merged {
    /// The union; it is stored.
    Set(AckSet),
    /// Nothing was changed.
    Refused(AckError),
    /// Somebody else acknowledged in between: once more, from the beginning.
    Again,
}

/// Stores the union of what is there and what is asked. `tail` is as fresh as `acks`, or fresher.
pub async fn merge(
    link: &Link,
    conv: ConvId,
    user: &UserName,
    acks: &Acks,
    tail: &Tail,
    asked: (Seq, &[(Seq, Seq)]),
) -> Result<Merged, CallError> {
    let (head, generation) = (tail.head(link.layout), link.life.generation);
    let before = acks.set(tail, link.layout).unwrap_or_default();
    let merged = match before.merged(asked.0, asked.1, head, LIMITS.acked_ranges_max) {
        Ok(merged) => merged,
        Err(refusal) => return Ok(Merged::Refused(refusal)),
    };
    let key = (&conv.as_bytes()[..], user.as_str());
    let said = acks.said.iter().find(|said| said.generation == generation);
    let with_ranges = !asked.1.is_empty() && !merged.ranges.is_empty();
    if with_ranges && merged.ranges != before.ranges {
        let version = said.and_then(|said| said.version);
        // Nothing that is not covered by a stored `up_to` leaves the ranges: what is read in between never shrinks.
        let covered = said.map_or(Seq::ZERO, |said| said.up_to);
        let earlier = said.map_or(&[][..], |said| said.ranges.as_slice());
        let stored = union(earlier.iter().chain(&before.ranges).chain(asked.1), covered);
        let values = (
            ranges_bytes(&stored),
            bigint(version.unwrap_or(0) + 1),
            key.0,
            key.1,
            bigint(generation),
            version.map(bigint),
        );
        if let Compared::Found(_) = link.compare(&link.statements.set_ranges, values).await? {
            return Ok(Merged::Again);
        }
    }
    if merged.up_to > before.up_to {
        let up_to = bigint(merged.up_to.0);
        let values = (up_to, up_to, key.0, key.1, bigint(generation));
        link.run(&link.statements.set_up_to, values).await?;
    }
    Ok(Merged::Set(merged))
}

/// Ranges in their order, without those that end at or below `covered`; ones that touch are one.
fn union<'a>(ranges: impl Iterator<Item = &'a (Seq, Seq)>, covered: Seq) -> Vec<(Seq, Seq)> {
    let mut all: Vec<_> = ranges.copied().filter(|(_, hi)| hi.0 > covered.0 + 1).collect();
    all.sort_unstable();
    let mut union: Vec<(Seq, Seq)> = Vec::with_capacity(all.len());
    for (lo, hi) in all {
        match union.last_mut() {
            Some(last) if lo <= last.1 => last.1 = last.1.max(hi),
            _ => union.push((lo, hi)),
        }
    }
    union
}

/// Two numbers of eight bytes each.
fn ranges_bytes(ranges: &[(Seq, Seq)]) -> Vec<u8> {
    ranges.iter().flat_map(|(lo, hi)| [lo.0.to_be_bytes(), hi.0.to_be_bytes()]).flatten().collect()
}

pub(super) fn ranges_of(bytes: &[u8]) -> Result<Vec<(Seq, Seq)>, EngineError> {
    let (pairs, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(unreadable("acknowledged ranges"));
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let ranges: Vec<_> =
        pairs.iter().map(|pair| (Seq(number(&pair[..8])), Seq(number(&pair[8..])))).collect();
    match ranges.iter().all(|(lo, hi)| Seq::ZERO < *lo && lo < hi) {
        true => Ok(ranges),
        false => Err(unreadable("acknowledged ranges")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_shrink_only_by_what_is_covered() {
        let seqs = |ranges: &[(u64, u64)]| -> Vec<(Seq, Seq)> {
            ranges.iter().map(|&(lo, hi)| (Seq(lo), Seq(hi))).collect()
        };
        let ranges = seqs(&[(7, 9), (4, 5), (5, 6), (1, 4), (2, 3)]);
        assert_eq!(union(ranges.iter(), Seq(3)), seqs(&[(4, 6), (7, 9)]));
        assert_eq!(union(ranges.iter(), Seq(0)), seqs(&[(1, 6), (7, 9)]));
        assert_eq!(
            union(ranges.iter(), Seq(4)),
            seqs(&[(5, 6), (7, 9)]),
            "what is covered is gone"
        );
    }

    #[test]
    fn ranges_come_back_as_they_were() {
        let ranges = vec![(Seq(3), Seq(5)), (Seq(9), Seq(1 << 40))];
        assert_eq!(ranges_of(&ranges_bytes(&ranges)).unwrap(), ranges);
        assert!(ranges_of(&[0; 15]).is_err());
        assert!(ranges_of(&[0; 16]).is_err(), "a range that ends where it begins");
    }

    #[test]
    fn what_an_earlier_life_acknowledged_ends_where_it_did() {
        let layout = Layout::new(1000);
        let mut tail = Tail::default();
        tail.generation = 2;
        tail.cuts = vec![(2, Seq(5))];
        tail.bucket = 1;
        let said = |generation, up_to, ranges: &[(u64, u64)]| Said {
            generation,
            up_to: Seq(up_to),
            ranges: ranges.iter().map(|&(lo, hi)| (Seq(lo), Seq(hi))).collect(),
            version: None,
        };
        let acks = Acks {
            joined: Some((Seq(2), 1)),
            mine: true,
            said: vec![said(1, 4, &[(8, 9)]), said(2, 0, &[(7, 8)])],
        };
        assert_eq!(acks.top(), Seq(8));
        let set = acks.set(&tail, layout).unwrap();
        assert_eq!((set.up_to, set.ranges), (Seq(4), vec![(Seq(7), Seq(8))]));
        assert!(Acks::default().set(&tail, layout).is_none());
    }
}
