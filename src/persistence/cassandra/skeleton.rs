//! What reads must know of a full bucket but its contents.
//!
//! A full bucket never changes, so what is derived from it is written once, by whoever begins the next one, and kept in
//! memory as long as there is room. Times, senders and sizes decide which messages make a page; only those are fetched.

use std::collections::HashMap;
use std::sync::Arc;

use super::layout::Layout;
use crate::model::{Message, Seq, UserName};

/// What the bytes of a skeleton begin with.
const VERSION: u8 = 1;

/// A message without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Its number.
    pub seq: Seq,
    /// Its time, ms.
    pub ts: u64,
    /// Whether it is late.
    pub late: bool,
    /// Who sent it.
    pub from: UserName,
    /// What it counts for in a page.
    pub wire_bytes: usize,
}

/// The outlines of a full bucket, by number, and their order by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skeleton {
    /// By number, without gaps.
    pub rows: Vec<Outline>,
    /// Places in `rows`, by `(ts, seq)`.
    pub by_time: Vec<u32>,
    floor: u64,
}

/// The times in a full bucket: enough to tell whether a read needs its skeleton.
///
/// `far` are times below the highest one before the bucket; all others are at or above it, so the main ranges of
/// buckets follow each other, and only a bucket with far messages overlaps what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Which bucket.
    pub bucket: u64,
    /// Lowest and highest time that is not far; `None` where all are.
    pub main: Option<(u64, u64)>,
    /// Lowest and highest far time; `None` where there is none.
    pub far: Option<(u64, u64)>,
    /// How many messages are late.
    pub late: u32,
}

impl Skeleton {
    /// Of the messages of a bucket, in their order; `floor` is the highest time before them.
    pub fn new(messages: &[Arc<Message>], floor: u64) -> Self {
        let outline = |message: &Arc<Message>| Outline {
            seq: message.seq,
            ts: message.ts,
            late: message.late,
            from: message.from.clone(),
            wire_bytes: message.wire_bytes(),
        };
        Self::of(messages.iter().map(outline).collect(), floor)
    }

    fn of(rows: Vec<Outline>, floor: u64) -> Self {
        let mut by_time: Vec<u32> = (0..rows.len() as u32).collect();
        by_time.sort_by_key(|&at| (rows[at as usize].ts, rows[at as usize].seq));
        Self { rows, by_time, floor }
    }

    /// What it is remembered by where the skeleton is not.
    pub fn summary(&self, bucket: u64) -> Summary {
        let range = |is_far: bool| {
            let times =
                self.rows.iter().map(|row| row.ts).filter(|&ts| (ts < self.floor) == is_far);
            let (low, high) = (times.clone().min()?, times.max()?);
            Some((low, high))
        };
        let late = self.rows.iter().filter(|row| row.late).count();
        Summary { bucket, main: range(false), far: range(true), late: late as u32 }
    }

    /// The highest time before the bucket.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Memory that it takes, about.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.rows.len() * (size_of::<Outline>() + size_of::<u32>())
    }

    /// As bytes: the floor, the senders, then each row as differences.
    pub fn encode(&self) -> Vec<u8> {
        let mut senders: Vec<&UserName> = Vec::new();
        let mut places: HashMap<&UserName, u64> = HashMap::new();
        for row in &self.rows {
            places.entry(&row.from).or_insert_with(|| {
                senders.push(&row.from);
                senders.len() as u64 - 1
            });
        }
        let mut bytes = vec![VERSION];
        put(&mut bytes, self.floor);
        put(&mut bytes, senders.len() as u64);
        for sender in senders {
            bytes.push(sender.as_str().len() as u8);
            bytes.extend_from_slice(sender.as_str().as_bytes());
        }
        put(&mut bytes, self.rows.len() as u64);
        let mut before = self.floor;
        for row in &self.rows {
            let step = row.ts.cast_signed().wrapping_sub(before.cast_signed());
            put(&mut bytes, ((step << 1) ^ (step >> 63)).cast_unsigned());
            put(&mut bytes, places[&row.from]);
            put(&mut bytes, row.wire_bytes as u64);
            before = row.ts;
        }
        bytes
    }

    /// The inverse, of the bucket that it belongs to; `None` when it is not one.
    pub fn decode(bytes: &[u8], bucket: u64, layout: Layout) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[VERSION])?;
        let floor = take(&mut rest)?;
        let mut senders = Vec::new();
        for _ in 0..take(&mut rest)? {
            let (&length, tail) = rest.split_first()?;
            let (name, tail) = tail.split_at_checked(usize::from(length))?;
            senders.push(UserName::new(std::str::from_utf8(name).ok()?).ok()?);
            rest = tail;
        }
        let count = take(&mut rest)?;
        if count != layout.rows() {
            return None;
        }
        let (mut rows, mut before, mut high) = (Vec::with_capacity(count as usize), floor, floor);
        for seq in layout.seqs(bucket) {
            let step = take(&mut rest)?;
            let step = (step >> 1).cast_signed() ^ -(step & 1).cast_signed();
            let ts = before.cast_signed().wrapping_add(step).cast_unsigned();
            let from = senders.get(usize::try_from(take(&mut rest)?).ok()?)?.clone();
            let wire_bytes = take(&mut rest)? as usize;
            rows.push(Outline { seq: Seq(seq), ts, late: ts < high, from, wire_bytes });
            (before, high) = (ts, high.max(ts));
        }
        rest.is_empty().then(|| Self::of(rows, floor))
    }
}

/// Seven bits a byte, the lowest first.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Cid, INTEGER_MAX, MessageType};

    fn messages(times: &[(u64, u8)], bucket: u64, floor: u64) -> Vec<Arc<Message>> {
        let layout = Layout::new(times.len() as u64);
        let mut high = floor;
        let message = |(seq, &(ts, sender)): (u64, &(u64, u8))| {
            let late = ts < high;
            high = high.max(ts);
            Arc::new(Message {
                seq: Seq(seq),
                from: UserName::new(&format!("user-{sender}")).unwrap(),
                cid: Cid::new("c").unwrap(),
                kind: MessageType::new("text").unwrap(),
                content: "x".repeat(usize::from(sender)),
                ts,
                at: 0,
                late,
            })
        };
        layout.seqs(bucket).zip(times).map(message).collect()
    }

    proptest! {
        #[test]
        fn a_skeleton_comes_back_as_it_was(
            times in prop::collection::vec((0..=INTEGER_MAX, 0..5u8), 1..40),
            bucket in 0..1000u64,
            floor in 0..=INTEGER_MAX,
        ) {
            let skeleton = Skeleton::new(&messages(&times, bucket, floor), floor);
            let bytes = skeleton.encode();
            let layout = Layout::new(times.len() as u64);
            prop_assert_eq!(Skeleton::decode(&bytes, bucket, layout), Some(skeleton.clone()));
            prop_assert_eq!(Skeleton::decode(&bytes[..bytes.len() - 1], bucket, layout), None);
            prop_assert_eq!(Skeleton::decode(&bytes, bucket, Layout::new(99)), None);
            let summary = skeleton.summary(bucket);
            for row in &skeleton.rows {
                let range = if row.ts < floor { summary.far } else { summary.main };
                prop_assert!(range.is_some_and(|(low, high)| (low..=high).contains(&row.ts)));
            }
        }
    }

    #[test]
    fn a_usual_row_takes_few_bytes() {
        let times: Vec<_> = (0..512).map(|at| (1_700_000_000_000 + at * 700, 1)).collect();
        let bytes = Skeleton::new(&messages(&times, 0, 0), 0).encode().len();
        assert!(bytes < 512 * 6, "{bytes} bytes");
    }
}
