//! Judges the pushes that one session receives in one conversation. Pure: no I/O, no clock.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use super::correctness::Correctness;
use crate::harness::content::{ContentFault, check_content};
use crate::model::{Cid, ConvId, Message, Seq, UserName};
use crate::protocol::{MsgPush, SendReply};

/// Where a message was put, as the sender's reply and the delivery each say.
type Placement = (Seq, u64, bool);

/// A message of the peer that this session must receive.
#[derive(Debug)]
struct Expected {
    sent: SentAt,
    acknowledged: Option<Placement>,
    delivered: Option<Placement>,
    /// Counted in `undelivered`.
    awaited: bool,
    /// Certainly not stored: a delivery of it is a lie.
    refused: bool,
}

/// When a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentAt {
    /// When it should have been.
    pub intended: Instant,
    /// When the sender handed it to its connection.
    pub really: Instant,
}

/// When a delivery was complete, and what it began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryTime {
    /// When it was on the receiver's socket.
    pub received_at: Instant,
    /// When it was sent.
    pub sent: SentAt,
}

/// Judges the pushes that one session, opened with `echo:false`, receives in one conversation.
///
/// The peer's messages must come exactly once, ascending in `seq`, with no number missing but those
/// of the session's own messages.
#[derive(Debug)]
pub struct DeliveryChecker {
    conv: ConvId,
    peer: UserName,
    expected: HashMap<Cid, Expected>,
    undelivered: usize,
    /// Highest number seen.
    seq_last: Seq,
    /// Numbers below `seq_last` that nobody accounts for yet.
    missing: BTreeSet<Seq>,
    /// Numbers above `seq_last` that will not come: own messages, and lost ones that were counted.
    accounted: BTreeSet<Seq>,
    /// Own messages that may have taken a number nobody told us.
    own_uncertain: usize,
    times: Vec<DeliveryTime>,
    counts: Correctness,
}

impl DeliveryChecker {
    /// A checker for the pushes after an `open` that answered `head`.
    pub fn new(conv: ConvId, head: Seq, peer: UserName) -> Self {
        Self {
            conv,
            peer,
            expected: HashMap::new(),
            undelivered: 0,
            seq_last: head,
            missing: BTreeSet::new(),
            accounted: BTreeSet::new(),
            own_uncertain: 0,
            times: Vec::new(),
            counts: Correctness::default(),
        }
    }

    /// The conversation.
    pub fn conv(&self) -> ConvId {
        self.conv
    }

    /// The highest number that was delivered.
    pub fn seq_last(&self) -> Seq {
        self.seq_last
    }

    /// The peer is about to send `cid`.
    pub fn expect(&mut self, cid: Cid, sent: SentAt) {
        let (acknowledged, delivered, awaited, refused) = (None, None, true, false);
        let expected = Expected { sent, acknowledged, delivered, awaited, refused };
        if self.expected.insert(cid, expected).is_none() {
            self.undelivered += 1;
        }
    }

    /// The peer's send of `cid` was answered `ok`.
    pub fn acknowledged(&mut self, cid: &Cid, reply: &SendReply) {
        let Some(expected) = self.expected.get_mut(cid) else { return };
        let placement = (reply.seq, reply.ts, reply.late);
        expected.acknowledged = Some(placement);
        if let Some(delivered) = expected.delivered {
            self.counts.contradicted += u64::from(delivered != placement);
            self.expected.remove(cid);
        }
    }

    /// The peer gave `cid` up; `definite`: the server said that it did not and will not happen.
    pub fn given_up(&mut self, cid: &Cid, definite: bool) {
        let Some(expected) = self.expected.get_mut(cid) else { return };
        if expected.delivered.is_some() {
            self.counts.contradicted += u64::from(definite);
            self.expected.remove(cid);
        } else if expected.awaited {
            self.undelivered -= 1;
            expected.awaited = false;
            expected.refused = definite;
        }
    }

    /// A message of this session itself was answered `ok`; its number will not be pushed here.
    pub fn own_stored(&mut self, seq: Seq) {
        self.account(seq);
    }

    fn account(&mut self, seq: Seq) {
        if !self.missing.remove(&seq) && seq > self.seq_last {
            self.accounted.insert(seq);
        }
    }

    /// A message of this session itself may have been stored, under a number nobody told us.
    pub fn own_uncertain(&mut self) {
        self.own_uncertain += 1;
    }

    /// A push arrived. Returns `true` when nothing is waited for any more.
    pub fn delivered(&mut self, push: &MsgPush, received_at: Instant) -> bool {
        let message = &push.message;
        if push.conv != self.conv {
            self.counts.misrouted += 1;
            return self.is_settled();
        }
        match check_content(self.conv, message) {
            Ok(()) if message.from == self.peer => {}
            Ok(()) | Err(ContentFault::Corrupt) => self.counts.corrupt += 1,
            Err(ContentFault::Misrouted) => {
                self.counts.misrouted += 1;
                return self.is_settled();
            }
        }
        if self.advance(message.seq) {
            self.settle(message, received_at);
        } else {
            self.counts.duplicated += 1;
        }
        self.is_settled()
    }

    /// Takes the number of a delivery into account; `false` when it was delivered before.
    fn advance(&mut self, seq: Seq) -> bool {
        if seq <= self.seq_last {
            let filled = self.missing.remove(&seq);
            self.counts.out_of_order += u64::from(filled);
            return filled;
        }
        let mut number = self.seq_last.next();
        while number < seq {
            if !self.accounted.remove(&number) {
                self.missing.insert(number);
            }
            number = number.next();
        }
        self.seq_last = seq;
        true
    }

    fn settle(&mut self, message: &Message, received_at: Instant) {
        let Some(expected) = self.expected.get_mut(&message.cid) else {
            // Its digest proves that it was sent, and it is not waited for: a second copy.
            self.counts.duplicated += 1;
            return;
        };
        if expected.delivered.is_some() {
            self.counts.duplicated += 1;
            return;
        }
        let placement = (message.seq, message.ts, message.late);
        self.counts.contradicted += u64::from(expected.refused);
        self.counts.delivered += 1;
        self.times.push(DeliveryTime { received_at, sent: expected.sent });
        self.undelivered -= usize::from(expected.awaited);
        expected.delivered = Some(placement);
        if let Some(acknowledged) = expected.acknowledged {
            self.counts.contradicted += u64::from(acknowledged != placement);
            self.expected.remove(&message.cid);
        }
    }

    /// Whether every message that is waited for was delivered.
    pub fn is_settled(&self) -> bool {
        self.undelivered == 0
    }

    /// The bound is over: what was acknowledged and not delivered is lost. Forgets what was waited for,
    /// so that one that comes even later counts as a second copy of it.
    pub fn expire(&mut self) {
        let mut lost = Vec::new();
        for (_, expected) in self.expected.drain() {
            if let (Some((seq, ..)), None) = (expected.acknowledged, expected.delivered) {
                lost.push(seq);
            }
        }
        self.counts.lost += lost.len() as u64;
        lost.into_iter().for_each(|seq| self.account(seq));
        self.undelivered = 0;
    }

    /// The delivery times since the last call.
    pub fn take_times(&mut self) -> Vec<DeliveryTime> {
        std::mem::take(&mut self.times)
    }

    /// The counts at the end of the run; a number that nobody accounted for is a gap.
    pub fn finish(&self) -> Correctness {
        let gaps = self.missing.len().saturating_sub(self.own_uncertain) as u64;
        Correctness { gaps, ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rstest::rstest;

    use super::*;
    use crate::harness::content::tests::{conv, message, user};

    fn at(now: Instant) -> SentAt {
        SentAt { intended: now, really: now }
    }

    /// Ann sends 1 to 5, all acknowledged; Bob's checker sees `seqs` delivered.
    fn judge(seqs: &[u64], alter: fn(&mut MsgPush)) -> Correctness {
        let conv = conv("ann", "bob");
        let mut checker = DeliveryChecker::new(conv, Seq::ZERO, user("ann"));
        let now = Instant::now();
        for seq in 1..=5 {
            checker.expect(message(conv, "ann", seq).cid, at(now));
        }
        for &seq in seqs {
            let mut push = MsgPush { conv, message: Arc::new(message(conv, "ann", seq)) };
            alter(&mut push);
            checker.delivered(&push, now + Duration::from_millis(3));
        }
        for seq in 1..=5 {
            let Message { cid, seq, ts, late, at, .. } = message(conv, "ann", seq);
            checker.acknowledged(&cid, &SendReply { seq, ts, late, dup: false, at });
        }
        let took = |time: &DeliveryTime| time.received_at - time.sent.really;
        assert!(checker.take_times().iter().all(|time| took(time).as_millis() == 3));
        checker.expire();
        checker.finish()
    }

    #[rstest]
    #[case::all_in_order(&[1, 2, 3, 4, 5], Correctness { delivered: 5, ..Default::default() })]
    #[case::one_lost(&[1, 2, 4, 5], Correctness { delivered: 4, lost: 1, ..Default::default() })]
    #[case::last_lost(&[1, 2, 3, 4], Correctness { delivered: 4, lost: 1, ..Default::default() })]
    #[case::one_twice(&[1, 2, 2, 3, 4, 5], Correctness { delivered: 5, duplicated: 1, ..Default::default() })]
    #[case::two_swapped(&[1, 3, 2, 4, 5], Correctness { delivered: 5, out_of_order: 1, ..Default::default() })]
    fn deliveries_are_judged(#[case] seqs: &[u64], #[case] expected: Correctness) {
        assert_eq!(judge(seqs, |_| {}), expected);
    }

    #[test]
    fn altered_content_is_corrupt() {
        let counts = judge(&[1, 2, 3, 4, 5], |push| {
            if push.message.seq == Seq(3) {
                let mut altered = (*push.message).clone();
                altered.content.push('x');
                push.message = Arc::new(altered);
            }
        });
        assert_eq!(counts, Correctness { delivered: 5, corrupt: 1, ..Default::default() });
    }

    #[test]
    fn a_message_of_another_conversation_is_misrouted() {
        let under_its_own_name = judge(&[1, 2, 3, 4, 5, 6], |push| {
            if push.message.seq == Seq(6) {
                push.conv = conv("ann", "eve");
            }
        });
        let under_ours = judge(&[1, 2, 3, 4, 5, 6], |push| {
            if push.message.seq == Seq(6) {
                push.message = Arc::new(message(conv("ann", "eve"), "ann", 6));
            }
        });
        let expected = Correctness { delivered: 5, misrouted: 1, ..Default::default() };
        assert_eq!((under_its_own_name, under_ours), (expected, expected));
    }

    #[test]
    fn a_second_copy_under_a_new_number_is_a_duplicate() {
        let counts = judge(&[1, 2, 3, 4, 5, 6], |push| {
            if push.message.seq == Seq(6) {
                let mut copy = message(push.conv, "ann", 2);
                copy.seq = Seq(6);
                push.message = Arc::new(copy);
            }
        });
        assert_eq!(counts, Correctness { delivered: 5, duplicated: 1, ..Default::default() });
    }

    #[test]
    fn another_time_than_the_sender_was_told_is_a_contradiction() {
        let counts = judge(&[1, 2, 3, 4, 5], |push| {
            let mut altered = (*push.message).clone();
            altered.late = altered.seq == Seq(2);
            push.message = Arc::new(altered);
        });
        assert_eq!(counts, Correctness { delivered: 5, contradicted: 1, ..Default::default() });
    }

    #[test]
    fn own_numbers_are_skipped_and_others_are_gaps() {
        let conv = conv("ann", "bob");
        let mut checker = DeliveryChecker::new(conv, Seq(4), user("ann"));
        let now = Instant::now();
        checker.own_stored(Seq(5));
        checker.expect(message(conv, "ann", 7).cid, at(now));
        let push = MsgPush { conv, message: Arc::new(message(conv, "ann", 7)) };
        assert!(checker.delivered(&push, now), "nothing else is waited for");
        assert_eq!(checker.finish().gaps, 1, "nobody has 6");
        checker.own_uncertain();
        assert_eq!(checker.finish().gaps, 0, "6 may be the own message that timed out");
    }

    #[test]
    fn a_refused_message_must_not_appear() {
        let conv = conv("ann", "bob");
        let mut checker = DeliveryChecker::new(conv, Seq::ZERO, user("ann"));
        let (now, refused) = (Instant::now(), message(conv, "ann", 1));
        checker.expect(refused.cid.clone(), at(now));
        checker.given_up(&refused.cid, true);
        assert!(checker.is_settled());
        checker.delivered(&MsgPush { conv, message: Arc::new(refused) }, now);
        assert_eq!(checker.finish().contradicted, 1);
    }
}
