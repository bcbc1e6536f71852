//! Judges newest pages against what was acknowledged in the conversation. Pure.

use std::collections::BTreeMap;

use super::correctness::Correctness;
use crate::harness::content::{ContentFault, check_content};
use crate::model::{Cid, ConvId, Seq};
use crate::protocol::{ReadReply, SendReply};

/// Remembers the newest acknowledged messages of one conversation, by `(ts, seq)`, as many as a
/// page holds, and judges pages of `read{order:"desc"}` by them.
#[derive(Debug)]
pub struct PageChecker {
    conv: ConvId,
    limit: usize,
    /// With how many were acknowledged before it.
    acknowledged: BTreeMap<(u64, Seq), (Cid, u64)>,
    total: u64,
    counts: Correctness,
}

impl PageChecker {
    /// A checker of pages of `limit` messages in `conv`.
    pub fn new(conv: ConvId, limit: usize) -> Self {
        Self {
            conv,
            limit,
            acknowledged: BTreeMap::new(),
            total: 0,
            counts: Correctness::default(),
        }
    }

    /// A send was answered `ok`: from now on every page that starts must show it.
    pub fn acknowledged(&mut self, cid: Cid, reply: &SendReply) {
        self.acknowledged.insert((reply.ts, reply.seq), (cid, self.total));
        self.total += 1;
        if self.acknowledged.len() > self.limit {
            self.acknowledged.pop_first();
        }
    }

    /// How many are acknowledged: a page that is asked for now must show what belongs on it of those.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Judges the newest page, asked for when so many were [acknowledged](Self::total). It may show more.
    pub fn judge(&mut self, page: &ReadReply, total: u64) {
        self.counts.pages_checked += 1;
        for message in &page.items {
            match check_content(self.conv, message) {
                Ok(()) => {}
                Err(ContentFault::Corrupt) => self.counts.corrupt += 1,
                Err(ContentFault::Misrouted) => self.counts.misrouted += 1,
            }
        }
        let unsorted = page.items.windows(2).any(|two| two[0].position() <= two[1].position());
        self.counts.page_unsorted += u64::from(unsorted || page.items.len() > self.limit);
        // A page that goes on may have been cut short; what is below its end stands on the next.
        let end = match (&page.next, page.items.last()) {
            (Some(_), Some(last)) => last.position(),
            _ => (0, Seq::ZERO),
        };
        let due = self.acknowledged.range(end..).filter(|(_, (_, before))| *before < total);
        for (position, (cid, _)) in due {
            let shown = page
                .items
                .iter()
                .any(|message| message.position() == *position && message.cid == *cid);
            self.counts.page_missing += u64::from(!shown);
        }
    }

    /// The counts so far.
    pub fn finish(&self) -> Correctness {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::harness::content::tests::{conv, message};

    fn judge(shown: &[u64], next: bool) -> Correctness {
        let conv = conv("ann", "bob");
        let mut checker = PageChecker::new(conv, 3);
        for seq in 1..=5 {
            let message = message(conv, "ann", seq);
            let reply = SendReply { seq: Seq(seq), ts: message.ts, late: false, dup: false, at: 0 };
            checker.acknowledged(message.cid, &reply);
        }
        let items = shown.iter().map(|&seq| Arc::new(message(conv, "ann", seq))).collect();
        checker.judge(&ReadReply { items, next: next.then(|| "cursor".to_owned()) }, 5);
        checker.finish()
    }

    #[test]
    fn the_newest_page_holds_what_was_acknowledged_in_order() {
        let good = Correctness { pages_checked: 1, ..Default::default() };
        assert_eq!(judge(&[5, 4, 3], true), good);
        assert_eq!(judge(&[5, 4], true), good, "a page may be cut short where it goes on");
        assert_eq!(judge(&[5, 4], false), Correctness { page_missing: 1, ..good });
        assert_eq!(judge(&[5, 3, 2], true), Correctness { page_missing: 1, ..good });
        assert_eq!(judge(&[4, 3, 2], true), Correctness { page_missing: 1, ..good });
        assert_eq!(judge(&[4, 5, 3], true), Correctness { page_unsorted: 1, ..good });
        assert_eq!(judge(&[5, 4, 4, 3], true), Correctness { page_unsorted: 1, ..good });
        assert_eq!(judge(&[], false), Correctness { page_missing: 3, ..good });
        assert_eq!(judge(&[], true), Correctness { page_missing: 3, ..good });
    }

    #[test]
    fn what_was_acknowledged_after_a_page_was_asked_for_need_not_be_on_it() {
        let conv = conv("ann", "bob");
        let mut checker = PageChecker::new(conv, 3);
        let acknowledge = |checker: &mut PageChecker, seq| {
            let message = message(conv, "ann", seq);
            let reply = SendReply { seq: Seq(seq), ts: message.ts, late: false, dup: false, at: 0 };
            checker.acknowledged(message.cid, &reply);
        };
        (1..=2).for_each(|seq| acknowledge(&mut checker, seq));
        let asked = checker.total();
        acknowledge(&mut checker, 3);
        let page = |seqs: &[u64]| {
            let items = seqs.iter().map(|&seq| Arc::new(message(conv, "ann", seq))).collect();
            ReadReply { items, next: None }
        };
        checker.judge(&page(&[2, 1]), asked);
        checker.judge(&page(&[3, 2, 1]), asked);
        assert_eq!(checker.finish().page_missing, 0);
        checker.judge(&page(&[2, 1]), checker.total());
        assert_eq!(checker.finish().page_missing, 1);
    }
}
