//! Counting what a user has not read yet.

use super::{AckSet, Limits, Seq, UserName};

/// A count that is exact up to a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// The number, at most the cap.
    pub count: usize,
    /// There may be more than `count`.
    pub more: bool,
}

/// The three counts of an `open` reply; each capped at `unread_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnreadCounts {
    /// Messages of others that the user has not acknowledged.
    pub unread: Count,
    /// The late ones among them. A scan that was cut may have missed some: an engine counts them in
    /// its index of late messages instead, and says at least 1 where it cannot tell.
    pub late: usize,
    /// On-time ones older than the page; at least 1 whenever there may be one.
    pub before: usize,
}

/// Counts unread messages from a scan upward in `seq` that begins at `acked.up_to + 1`. Every
/// engine uses it, so that the caps and the bound of the scan are the same everywhere.
///
/// On-time messages are in `(ts, seq)` order when they are in `seq` order, so those older than
/// the page are a prefix of the scan: a bounded scan finds the first of them, if there is one.
#[derive(Debug)]
pub struct UnreadScan<'a> {
    user: &'a UserName,
    acked: &'a AckSet,
    page_start: Option<(u64, Seq)>,
    unread_max: usize,
    looked_at: usize,
    unread: usize,
    late: usize,
    before: usize,
    cut: bool,
}

impl<'a> UnreadScan<'a> {
    /// A scan for `user`; `page_start` is the `(ts, seq)` of the oldest item on the page (`None`
    /// when the page is empty: then everything is older than it).
    pub fn new(
        user: &'a UserName,
        acked: &'a AckSet,
        page_start: Option<(u64, Seq)>,
        unread_max: usize,
    ) -> Self {
        let (looked_at, unread, late, before, cut) = (0, 0, 0, 0, false);
        Self { user, acked, page_start, unread_max, looked_at, unread, late, before, cut }
    }

    /// Takes the next message above `acked.up_to`; `false` when the scan has seen enough and must stop.
    pub fn see(&mut self, seq: Seq, ts: u64, from: &str, late: bool) -> bool {
        if self.looked_at == Limits::SCAN_MAX {
            self.cut = true;
            return false;
        }
        self.looked_at += 1;
        if from == self.user.as_str() || self.acked.contains(seq) {
            return true;
        }
        self.unread += 1;
        if late {
            self.late += 1;
        } else if self.page_start.is_none_or(|start| (ts, seq) < start) {
            self.before += 1;
        }
        true
    }

    /// The counts, capped.
    pub fn finish(self) -> UnreadCounts {
        let cap = self.unread_max;
        let before = if self.cut { self.before.max(1) } else { self.before };
        UnreadCounts {
            unread: Count { count: self.unread.min(cap), more: self.cut || self.unread > cap },
            late: self.late.min(cap),
            before: before.min(cap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_scan_says_that_there_may_be_more() {
        let (user, acked) = (UserName::new("ann").unwrap(), AckSet::default());
        let mut scan = UnreadScan::new(&user, &acked, Some((0, Seq::ZERO)), 99);
        let mut seq = 0;
        while scan.see(Seq(seq + 1), seq, "ann", false) {
            seq += 1;
        }
        assert_eq!(seq as usize, Limits::SCAN_MAX);
        let counts = scan.finish();
        assert_eq!(counts.unread, Count { count: 0, more: true });
        assert_eq!(counts.before, 1);
    }
}
