//! Full buckets: what is remembered of them, and how the rest is fetched. They never change, so whatever was seen stays true.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::future::try_join_all;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::codec::{BucketRow, MessageRow, bigint, number};
use super::failure::unreadable;
use super::layout::{buckets_of, part_of, shelf_of};
use super::link::{CallError, Link};
use super::skeleton::{Skeleton, Summary};
use super::statements::serial;
use super::tail::Tail;
use crate::model::{ConvId, Message, Seq};

/// Memory for what is remembered of full buckets, about.
const BYTES_MAX: u64 = 64 << 20;
/// Full buckets, and parts of summaries, that are expected to fit.
const COUNT_MAX: usize = 10_000;
/// The messages themselves are remembered only of buckets that are not larger: the newest ones are read most.
const MESSAGES_BYTES_MAX: usize = 1 << 20;

/// A full bucket.
#[derive(Debug)]
pub struct Full {
    /// What is known of all its messages.
    pub skeleton: Skeleton,
    /// The messages, where they are remembered as well.
    pub messages: Option<Vec<Arc<Message>>>,
}

/// The summaries of a part, by bucket.
pub type Part = Arc<Vec<Summary>>;

#[derive(Clone)]
struct Bytes;

impl Weighter<(ConvId, u64), Arc<Full>> for Bytes {
    fn weight(&self, _: &(ConvId, u64), full: &Arc<Full>) -> u64 {
        let messages = full.messages.iter().flatten().map(|message| message.wire_bytes()).sum();
        (full.skeleton.weight() + usize::min(messages, 2 * MESSAGES_BYTES_MAX)) as u64
    }
}

impl Weighter<(ConvId, u64), Part> for Bytes {
    fn weight(&self, _: &(ConvId, u64), part: &Part) -> u64 {
        (size_of::<Part>() + part.len() * size_of::<Summary>()) as u64
    }
}

/// What is remembered of full buckets.
pub struct Buckets {
    full: Cache<(ConvId, u64), Arc<Full>, Bytes>,
    parts: Cache<(ConvId, u64), Part, Bytes>,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            full: Cache::with_weighter(COUNT_MAX, BYTES_MAX, Bytes),
            parts: Cache::with_weighter(COUNT_MAX, BYTES_MAX / 8, Bytes),
        }
    }
}

impl Buckets {
    /// What is remembered of a full bucket.
    pub fn known(&self, conv: ConvId, bucket: u64) -> Option<Arc<Full>> {
        self.full.get(&(conv, bucket))
    }

    /// Remembers a tail that has become full. Answers what is remembered.
    pub fn keep(&self, conv: ConvId, tail: &Tail) -> Arc<Full> {
        let messages: Vec<_> = tail.rows.iter().map(|row| Arc::clone(&row.message)).collect();
        let bytes: usize = messages.iter().map(|message| message.wire_bytes()).sum();
        let messages = (bytes <= MESSAGES_BYTES_MAX).then_some(messages);
        let full = Arc::new(Full { skeleton: tail.skeleton(), messages });
        self.full.insert((conv, tail.bucket), Arc::clone(&full));
        full
    }

    /// Nothing of before is true any more: the store is in another life.
    pub fn forget(&self) {
        self.full.clear();
        self.parts.clear();
    }

    /// Full buckets: from memory, from their skeletons, or, where those were never written, from their messages.
    pub async fn full(
        &self,
        link: &Link,
        conv: ConvId,
        buckets: &[u64],
    ) -> Result<HashMap<u64, Arc<Full>>, CallError> {
        let known = |&bucket: &u64| Some((bucket, self.known(conv, bucket)?));
        let mut found: HashMap<_, _> = buckets.iter().filter_map(known).collect();
        let missing = buckets.iter().filter(|bucket| !found.contains_key(bucket));
        let shelves: BTreeSet<u64> = missing.map(|&bucket| shelf_of(bucket)).collect();
        let fetch = shelves.into_iter().map(|shelf| self.shelf(link, conv, shelf));
        found.extend(try_join_all(fetch).await?.into_iter().flatten());
        for &bucket in buckets {
            if let Entry::Vacant(missing) = found.entry(bucket) {
                let skeleton = reread(link, conv, bucket).await?.skeleton();
                missing.insert(self.remember(conv, bucket, skeleton));
            }
        }
        Ok(found)
    }

    /// What stands on a shelf.
    async fn shelf(
        &self,
        link: &Link,
        conv: ConvId,
        shelf: u64,
    ) -> Result<Vec<(u64, Arc<Full>)>, CallError> {
        let values = (&conv.as_bytes()[..], bigint(shelf));
        let rows = link.rows::<(i64, Vec<u8>)>(&link.statements.skeletons, values).await?;
        let full = |(bucket, bytes): (i64, Vec<u8>)| {
            let bucket = number(bucket);
            let skeleton = Skeleton::decode(&bytes, bucket, link.layout)
                .ok_or_else(|| unreadable("a skeleton"))?;
            Ok((bucket, self.remember(conv, bucket, skeleton)))
        };
        rows.into_iter().map(full).collect()
    }

    /// Remembers a skeleton, unless more is known.
    fn remember(&self, conv: ConvId, bucket: u64, skeleton: Skeleton) -> Arc<Full> {
        self.known(conv, bucket).unwrap_or_else(|| {
            let full = Arc::new(Full { skeleton, messages: None });
            self.full.insert((conv, bucket), Arc::clone(&full));
            full
        })
    }

    /// The summaries of a part, complete for all buckets below `end`.
    pub async fn part(
        &self,
        link: &Link,
        conv: ConvId,
        part: u64,
        end: u64,
    ) -> Result<Part, CallError> {
        let wanted = buckets_of(part, end);
        let count = (wanted.end - wanted.start) as usize;
        if let Some(known) = self.parts.get(&(conv, part)).filter(|known| known.len() >= count) {
            return Ok(known);
        }
        let values = (&conv.as_bytes()[..], bigint(part));
        let rows =
            link.rows::<(i64, i64, i64, i64, i64, i32)>(&link.statements.summaries, values).await?;
        let mut found: HashMap<u64, Summary> = rows
            .into_iter()
            .map(|(bucket, low, high, far_low, far_high, late)| {
                let range = |low: i64, high| (low >= 0).then(|| (number(low), number(high)));
                let bucket = number(bucket);
                let (main, far) = (range(low, high), range(far_low, far_high));
                (bucket, Summary { bucket, main, far, late: late.cast_unsigned() })
            })
            .collect();
        let missing: Vec<u64> =
            wanted.clone().filter(|bucket| !found.contains_key(bucket)).collect();
        if !missing.is_empty() {
            let full = Box::pin(self.full(link, conv, &missing)).await?;
            let summary =
                |(&bucket, full): (&u64, &Arc<Full>)| (bucket, full.skeleton.summary(bucket));
            found.extend(full.iter().map(summary));
        }
        let summaries: Part = Arc::new(wanted.filter_map(|bucket| found.remove(&bucket)).collect());
        self.parts.insert((conv, part), Arc::clone(&summaries));
        Ok(summaries)
    }

    /// The messages of some numbers, in the order of the numbers.
    pub async fn messages(
        &self,
        link: &Link,
        conv: ConvId,
        seqs: &[Seq],
    ) -> Result<HashMap<Seq, Arc<Message>>, CallError> {
        let mut by_bucket: HashMap<u64, Vec<Seq>> = HashMap::new();
        for &seq in seqs {
            by_bucket.entry(link.layout.bucket_of(seq)).or_default().push(seq);
        }
        let reads = by_bucket.into_iter().map(|(bucket, mut seqs)| async move {
            seqs.sort_unstable();
            seqs.dedup();
            fetch(link, conv, bucket, &seqs).await
        });
        let all = try_join_all(reads).await?;
        Ok(all.into_iter().flatten().map(|message| (message.seq, message)).collect())
    }
}

/// Some messages of one bucket; `seqs` ascend. All of them are there: a full bucket never changes.
async fn fetch(
    link: &Link,
    conv: ConvId,
    bucket: u64,
    seqs: &[Seq],
) -> Result<Vec<Arc<Message>>, CallError> {
    /// Where at least every so many-th message of a stretch is wanted, the stretch is read.
    const DENSE: u64 = 3;
    let (Some(first), Some(last)) = (seqs.first(), seqs.last()) else { return Ok(Vec::new()) };
    let key = &conv.as_bytes()[..];
    let rows: Vec<MessageRow> = if last.0 - first.0 < seqs.len() as u64 * DENSE {
        let values = (key, bigint(bucket), bigint(first.0), bigint(last.0));
        link.rows(&link.statements.messages_between, values).await?
    } else {
        let wanted: Vec<i64> = seqs.iter().map(|seq| bigint(seq.0)).collect();
        link.rows(&link.statements.messages_in, (key, bigint(bucket), wanted)).await?
    };
    let mut messages = Vec::with_capacity(seqs.len());
    for row in rows {
        let message = row.message()?;
        if seqs.binary_search(&message.seq).is_ok() {
            messages.push(message);
        }
    }
    if messages.len() != seqs.len() {
        return Err(unreadable("a bucket without some of its messages").into());
    }
    Ok(messages)
}

/// A full bucket from its messages, where what is derived from them is missing: the store came back with less.
pub async fn reread(link: &Link, conv: ConvId, bucket: u64) -> Result<Tail, CallError> {
    let values = (&conv.as_bytes()[..], bigint(bucket));
    let rows: Vec<BucketRow> = link.rows(&serial(&link.statements.bucket), values).await?;
    match Tail::new(rows, bucket, link.layout) {
        Ok(Some(tail)) if tail.is_full(link.layout) => Ok(tail),
        Ok(_) => Err(unreadable("a bucket with a hole").into()),
        Err(incomplete) => Err(CallError::Answer(incomplete.into())),
    }
}

/// Notes what reads must know of a full bucket.
pub async fn write(
    link: &Link,
    conv: ConvId,
    bucket: u64,
    skeleton: &Skeleton,
) -> Result<(), CallError> {
    let key = &conv.as_bytes()[..];
    let summary = skeleton.summary(bucket);
    let bounds = |range: Option<(u64, u64)>| {
        range.map_or((-1, -1), |(low, high)| (bigint(low), bigint(high)))
    };
    let ((low, high), (far_low, far_high)) = (bounds(summary.main), bounds(summary.far));
    let part = bigint(part_of(bucket));
    let late = summary.late.cast_signed();
    let values = (key, part, bigint(bucket), low, high, far_low, far_high, late);
    let shelved = (key, bigint(shelf_of(bucket)), bigint(bucket), skeleton.encode());
    let (skeleton, summary) = tokio::join!(
        link.run(&link.statements.set_skeleton, shelved),
        link.run(&link.statements.set_summary, values),
    );
    skeleton.and(summary)
}
