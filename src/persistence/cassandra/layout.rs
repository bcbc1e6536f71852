//! How numbers fall into buckets.

use std::ops::RangeInclusive;

use crate::model::Seq;

/// Messages in a bucket where a store is new: with the largest contents 8 MiB.
pub const BUCKET_ROWS: u64 = 512;

/// Buckets whose summaries share a partition.
pub const PART_BUCKETS: u64 = 256;

/// How many messages a bucket of a store holds. A property of the store for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    rows: u64,
}

impl Layout {
    /// Buckets of so many messages; at least one.
    pub fn new(rows: u64) -> Self {
        Self { rows: rows.max(1) }
    }

    /// Messages in a full bucket.
    pub fn rows(self) -> u64 {
        self.rows
    }

    /// The bucket of a message; numbers begin with 1.
    pub fn bucket_of(self, seq: Seq) -> u64 {
        seq.0.saturating_sub(1) / self.rows
    }

    /// The numbers in a bucket.
    pub fn seqs(self, bucket: u64) -> RangeInclusive<u64> {
        bucket * self.rows + 1..=(bucket + 1) * self.rows
    }

    /// Number of the first message of a bucket.
    pub fn first(self, bucket: u64) -> Seq {
        Seq(bucket * self.rows + 1)
    }

    /// Number of the last message of a full bucket.
    pub fn last(self, bucket: u64) -> Seq {
        Seq((bucket + 1) * self.rows)
    }
}

/// Buckets whose skeletons share a partition: 24 KiB, read as one, because whoever looks at one soon looks beside it.
pub const SHELF_BUCKETS: u64 = 8;

/// Which shelf the skeleton of a bucket is on.
pub fn shelf_of(bucket: u64) -> u64 {
    bucket / SHELF_BUCKETS
}

/// Which part the summary of a bucket is in.
pub fn part_of(bucket: u64) -> u64 {
    bucket / PART_BUCKETS
}

/// The buckets of a part, below `end`.
pub fn buckets_of(part: u64, end: u64) -> std::ops::Range<u64> {
    let first = part * PART_BUCKETS;
    first..end.min(first + PART_BUCKETS).max(first)
}

/// The parts that the buckets below `end` are in.
pub fn parts_below(end: u64) -> std::ops::Range<u64> {
    0..end.div_ceil(PART_BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_the_bucket_that_says_so() {
        let layout = Layout::new(3);
        for seq in 1..=20 {
            let bucket = layout.bucket_of(Seq(seq));
            assert!(layout.seqs(bucket).contains(&seq));
            assert!(layout.first(bucket) <= Seq(seq) && Seq(seq) <= layout.last(bucket));
        }
        assert_eq!((layout.bucket_of(Seq(3)), layout.bucket_of(Seq(4))), (0, 1));
    }
}
