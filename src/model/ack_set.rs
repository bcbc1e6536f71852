//! What one user has acknowledged in one conversation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LIMITS, Seq, SeqRange};

/// Everything up to a number, and ranges above it. Always normal: ranges are half-open `[lo, hi)`,
/// ascending, disjoint, not touching, and all begin above `up_to + 1`. Merging is a set union, so it
/// is monotone, commutative and idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AckSet {
    /// Everything at or below is acknowledged.
    pub up_to: Seq,
    /// What is acknowledged above `up_to`.
    #[schemars(with = "Vec<SeqRange>", length(max = LIMITS.acked_ranges_max))]
    pub ranges: Vec<(Seq, Seq)>,
}

/// Why an acknowledgement changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// It reaches above the newest message.
    #[error("acknowledges above the head")]
    AboveHead,
    /// The merged state would hold too many ranges.
    #[error("the merged state would hold too many ranges")]
    TooManyRanges,
}

impl AckSet {
    /// Everything at or below `up_to`, nothing above.
    pub fn up_to(up_to: Seq) -> Self {
        Self { up_to, ranges: Vec::new() }
    }

    /// Whether it is as all are that were made here: what was read from elsewhere may be anything.
    pub fn is_normal(&self) -> bool {
        let mut end = self.up_to.0.saturating_add(1);
        self.ranges.iter().all(|&(lo, hi)| {
            let is_apart = lo.0 > end && hi > lo;
            end = hi.0;
            is_apart
        })
    }

    /// Whether `seq` is acknowledged.
    pub fn contains(&self, seq: Seq) -> bool {
        if seq <= self.up_to {
            return true;
        }
        let after = self.ranges.partition_point(|&(lo, _)| lo <= seq);
        after > 0 && seq < self.ranges[after - 1].1
    }

    /// The union with `up_to` and `ranges` (half-open, `lo < hi`), or why not. On an error `self`
    /// is what it was: the union is returned, never made in place.
    pub fn merged(
        &self,
        up_to: Seq,
        ranges: &[(Seq, Seq)],
        head: Seq,
        ranges_max: usize,
    ) -> Result<Self, AckError> {
        let last = ranges.iter().map(|&(_, hi)| hi.0.saturating_sub(1)).max().unwrap_or(0);
        if up_to.0.max(last) > head.0 {
            return Err(AckError::AboveHead);
        }
        let mut all = self.ranges.clone();
        all.extend_from_slice(ranges);
        all.sort_unstable();
        let mut merged = Self::up_to(self.up_to.max(up_to));
        for (lo, hi) in all {
            merged.push_range(lo, hi);
        }
        if merged.ranges.len() > ranges_max {
            return Err(AckError::TooManyRanges);
        }
        Ok(merged)
    }

    /// Adds a range that begins at or after every range already there.
    fn push_range(&mut self, lo: Seq, hi: Seq) {
        if lo.0 <= self.up_to.0.saturating_add(1) {
            self.up_to = self.up_to.max(Seq(hi.0 - 1));
            return;
        }
        match self.ranges.last_mut() {
            Some(last) if lo <= last.1 => last.1 = last.1.max(hi),
            _ => self.ranges.push((lo, hi)),
        }
    }

    /// What remains of it in a store that ends at `head` (a new epoch that kept less).
    #[must_use]
    pub fn cut_to(&self, head: Seq) -> Self {
        let mut cut = Self::up_to(self.up_to.min(head));
        for &(lo, hi) in &self.ranges {
            let hi = hi.min(head.next());
            if lo < hi {
                cut.push_range(lo, hi);
            }
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const HEAD: u64 = 40;

    fn members(set: &AckSet) -> BTreeSet<u64> {
        (1..=HEAD).filter(|&seq| set.contains(Seq(seq))).collect()
    }

    fn request() -> impl Strategy<Value = (u64, Vec<(u64, u64)>)> {
        (0..=HEAD, prop::collection::vec((1..=HEAD, 1..8u64), 0..6)).prop_map(|(up_to, ranges)| {
            let ranges = ranges.into_iter().map(|(lo, n)| (lo, (lo + n).min(HEAD + 1))).collect();
            (up_to, ranges)
        })
    }

    fn merge(set: &AckSet, (up_to, ranges): &(u64, Vec<(u64, u64)>)) -> AckSet {
        let ranges: Vec<_> = ranges.iter().map(|&(lo, hi)| (Seq(lo), Seq(hi))).collect();
        set.merged(Seq(*up_to), &ranges, Seq(HEAD), usize::MAX).unwrap()
    }

    proptest! {
        #[test]
        fn merging_is_set_union_and_stays_normal(one in request(), other in request()) {
            let first = merge(&AckSet::default(), &one);
            let both = merge(&first, &other);
            let mut expected: BTreeSet<u64> = (1..=one.0.max(other.0)).collect();
            for &(lo, hi) in one.1.iter().chain(&other.1) {
                expected.extend(lo..hi);
            }
            prop_assert_eq!(members(&both), expected);
            prop_assert!(both.is_normal());
            prop_assert_eq!(&merge(&both, &one), &both);
            prop_assert_eq!(&merge(&merge(&AckSet::default(), &other), &one), &both);
        }

        #[test]
        fn a_cut_keeps_what_is_below(one in request(), head in 0..=HEAD) {
            let set = merge(&AckSet::default(), &one);
            let cut = set.cut_to(Seq(head));
            let expected: BTreeSet<u64> = members(&set).into_iter().filter(|&seq| seq <= head).collect();
            prop_assert_eq!(members(&cut), expected);
            prop_assert!(cut.is_normal());
        }
    }

    #[test]
    fn above_the_head_changes_nothing() {
        let set = AckSet::up_to(Seq(2));
        let merged = |up_to, ranges: &[(Seq, Seq)]| set.merged(Seq(up_to), ranges, Seq(5), 1_000);
        assert_eq!(merged(6, &[]), Err(AckError::AboveHead));
        assert_eq!(merged(0, &[(Seq(5), Seq(7))]), Err(AckError::AboveHead));
        assert_eq!(merged(0, &[(Seq(5), Seq(6))]).unwrap().ranges, vec![(Seq(5), Seq(6))]);
        assert_eq!(merged(0, &[]).unwrap(), set);
    }

    #[test]
    fn the_number_of_ranges_is_bounded() {
        let ranges: Vec<_> = (1..4).map(|n| (Seq(n * 10), Seq(n * 10 + 1))).collect();
        let merged = AckSet::default().merged(Seq::ZERO, &ranges, Seq(100), 2);
        assert_eq!(merged, Err(AckError::TooManyRanges));
    }
}
