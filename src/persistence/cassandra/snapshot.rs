//! One conversation at one moment, for the rules of reading: the tail, and as much of the full buckets as is at hand.
//!
//! Where something is not at hand the answer is what to fetch; it is fetched, and the same question is asked again. What
//! makes a page is decided by times, senders and sizes alone; contents are fetched at the end, only of what is on it.

use std::collections::HashMap;
use std::sync::Arc;

use super::buckets::{Full, Part};
use super::layout::{Layout, buckets_of, part_of, parts_below};
use super::skeleton::{Outline, Summary};
use super::tail::Tail;
use crate::model::{AckSet, Message, Seq, UserName};
use crate::persistence::log::{Each, Entry, Log, PageBuilder};
use crate::persistence::{Page, RangeQuery};

/// A message, or what is known of it.
#[derive(Debug, Clone)]
pub enum Known {
    /// All of it.
    Whole(Arc<Message>),
    /// All but its content.
    Outline(Outline),
}

impl Entry for Known {
    fn seq(&self) -> Seq {
        match self {
            Self::Whole(message) => message.seq,
            Self::Outline(outline) => outline.seq,
        }
    }

    fn ts(&self) -> u64 {
        match self {
            Self::Whole(message) => message.ts,
            Self::Outline(outline) => outline.ts,
        }
    }

    fn late(&self) -> bool {
        match self {
            Self::Whole(message) => message.late,
            Self::Outline(outline) => outline.late,
        }
    }

    fn from(&self) -> &UserName {
        match self {
            Self::Whole(message) => &message.from,
            Self::Outline(outline) => &outline.from,
        }
    }

    fn wire_bytes(&self) -> usize {
        match self {
            Self::Whole(message) => message.wire_bytes(),
            Self::Outline(outline) => outline.wire_bytes,
        }
    }
}

/// What must be fetched before the question is asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// These full buckets.
    Full(Vec<u64>),
    /// The summaries of these parts.
    Parts(Vec<u64>),
}

/// Full buckets that are fetched at once.
const AHEAD_MAX: usize = 8;

/// The conversation.
pub struct Snapshot {
    /// How the store is laid out.
    pub layout: Layout,
    /// The last bucket.
    pub tail: Arc<Tail>,
    /// Full buckets before it, as far as they were needed.
    pub full: HashMap<u64, Arc<Full>>,
    /// Summaries of those, as far as they were needed.
    pub parts: HashMap<u64, Part>,
    /// What users have acknowledged; `None`: they have not opened it.
    pub acked: HashMap<UserName, Option<AckSet>>,
}

impl Snapshot {
    /// A full bucket before the tail.
    pub fn full(&self, bucket: u64) -> Result<&Arc<Full>, Need> {
        self.full.get(&bucket).ok_or_else(|| Need::Full(vec![bucket]))
    }

    /// The summaries of all full buckets before the tail.
    pub fn summaries(&self) -> Result<impl Iterator<Item = &Summary>, Need> {
        let parts = parts_below(self.tail.bucket);
        let missing: Vec<u64> =
            parts.clone().filter(|part| !self.parts.contains_key(part)).collect();
        if !missing.is_empty() {
            return Err(Need::Parts(missing));
        }
        let end = self.tail.bucket;
        Ok(parts.flat_map(move |part| {
            self.parts[&part].iter().filter(move |summary| summary.bucket < end)
        }))
    }

    /// The message at a place of a full bucket.
    pub fn entry(full: &Full, place: usize) -> Known {
        match &full.messages {
            Some(messages) => Known::Whole(Arc::clone(&messages[place])),
            None => Known::Outline(full.skeleton.rows[place].clone()),
        }
    }

    /// The message at a place of the tail.
    pub fn tail_entry(&self, place: usize) -> Known {
        Known::Whole(Arc::clone(&self.tail.rows[place].message))
    }

    /// The full buckets from one on that hold late messages, the nearest few first; by their summaries where the buckets
    /// themselves are not at hand.
    fn late_buckets(&self, first: u64) -> Result<Vec<u64>, Need> {
        let mut wanted = Vec::new();
        for part in part_of(first)..=part_of(self.tail.bucket.max(1) - 1) {
            let buckets = buckets_of(part, self.tail.bucket);
            let buckets = buckets.start.max(first)..buckets.end;
            if buckets.clone().all(|bucket| self.full.contains_key(&bucket)) {
                let is_late =
                    |bucket: &u64| self.full[bucket].skeleton.rows.iter().any(|row| row.late);
                wanted.extend(buckets.filter(is_late));
                continue;
            }
            let part = self.parts.get(&part).ok_or_else(|| Need::Parts(vec![part]))?;
            let is_late =
                |summary: &&Summary| buckets.contains(&summary.bucket) && summary.late > 0;
            wanted.extend(part.iter().filter(is_late).map(|summary| summary.bucket));
        }
        Ok(wanted)
    }
}

impl Log for Snapshot {
    type Entry = Known;
    type Miss = Need;

    fn head(&self) -> Seq {
        self.tail.head(self.layout)
    }

    fn acked(&self, user: &UserName) -> Result<Option<AckSet>, Need> {
        // Whoever asks the rules says of whom before.
        Ok(self.acked.get(user).cloned().flatten())
    }

    fn after(&self, after: Seq, each: Each<'_, Known>) -> Result<(), Need> {
        let first = after.next();
        for bucket in self.layout.bucket_of(first)..self.tail.bucket {
            let full = self.full(bucket)?;
            let skip = first.0.saturating_sub(self.layout.first(bucket).0) as usize;
            for place in skip..full.skeleton.rows.len() {
                if !each(&Self::entry(full, place)) {
                    return Ok(());
                }
            }
        }
        let skip = first.0.saturating_sub(self.layout.first(self.tail.bucket).0) as usize;
        for place in skip..self.tail.rows.len() {
            if !each(&self.tail_entry(place)) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn late_after(&self, after: Seq, each: Each<'_, Known>) -> Result<(), Need> {
        let first = after.next();
        let begin = self.layout.bucket_of(first);
        if begin < self.tail.bucket {
            let buckets = self.late_buckets(begin)?;
            for (at, &bucket) in buckets.iter().enumerate() {
                let Some(full) = self.full.get(&bucket) else {
                    let ahead = buckets[at..].iter().copied();
                    let missing = ahead.filter(|bucket| !self.full.contains_key(bucket));
                    return Err(Need::Full(missing.take(AHEAD_MAX).collect()));
                };
                for (place, row) in full.skeleton.rows.iter().enumerate() {
                    if row.late && row.seq >= first && !each(&Self::entry(full, place)) {
                        return Ok(());
                    }
                }
            }
        }
        for (place, row) in self.tail.rows.iter().enumerate() {
            let message = &row.message;
            if message.late && message.seq >= first && !each(&self.tail_entry(place)) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn range(&self, query: &RangeQuery) -> Result<Page<Known>, Need> {
        let mut page = PageBuilder::new(query.limit, crate::model::LIMITS.page_bytes_max);
        let mut merge = super::merge::Merge::new(self, query);
        while let Some(entry) = merge.next()? {
            if !page.add(&entry) {
                break;
            }
        }
        Ok(page.finish().0)
    }
}
