//! What was stored, and in which order.

use super::story::{Story, is_fine, late, m, opened, trips};
use crate::checker::Anomaly::*;
use crate::checker::judge;
use crate::checker::verdict::Outcome;
use crate::history::{Act, Asked, Item, Seen};
use crate::protocol::ErrorCode;

fn two(story: &mut Story) -> [Item; 2] {
    let items = story.ann_wrote(2);
    [items[0].clone(), items[1].clone()]
}

#[test]
fn lost() {
    trips(Lost, |s| {
        let [one, _] = two(s);
        s.ends(&[one]);
    });
    trips(Lost, |s| {
        let [_, two] = two(s);
        s.ends(&[two]);
    });
    is_fine(|s| {
        let [one, two] = two(s);
        let third = s.sends("ann", "c3", 30);
        s.unknown(third);
        s.ends(&[one, two]);
    });
}

#[test]
fn phantom() {
    trips(Phantom, |s| {
        let [one, two] = two(s);
        s.ends(&[one, two, m(3, "ghost", "ann")]);
    });
    trips(Phantom, |s| {
        let [one, two] = two(s);
        let three = m(3, "c3", "ann");
        s.read("bob", &[one.clone(), two.clone(), three.clone()]);
        s.wrote(&three);
        s.ends(&[one, two, three]);
    });
    // Bob never wrote it: it is ann's of this conversation, not one of another.
    trips(Phantom, |s| {
        let [one, two] = two(s);
        let third = s.sends("ann", "c3", 30);
        s.unknown(third);
        s.ends(&[one, two, m(3, "c3", "bob")]);
    });
    is_fine(|s| {
        let [one, two] = two(s);
        let third = s.sends("ann", "c3", 30);
        s.unknown(third);
        s.ends(&[one, two, m(3, "c3", "ann")]);
    });
}

#[test]
fn corrupt() {
    trips(Corrupt, |s| {
        let [one, two] = two(s);
        s.ends(&[one, Item { digest: "other".into(), ..two }]);
    });
    trips(Corrupt, |s| {
        let [one, two] = two(s);
        let third = s.sends("ann", "c3", 30);
        s.unknown(third);
        s.ends(&[one, two, Item { ts: 31, ..m(3, "c3", "ann") }]);
    });
    is_fine(|s| {
        let first =
            s.begin("ann", Asked::Send { cid: "c1".into(), digest: "C/c1".into(), ts: None });
        s.answered(first, &m(1, "c1", "ann"));
        s.ends(&[m(1, "c1", "ann")]);
    });
}

#[test]
fn duplicate() {
    trips(Duplicate, |s| {
        let [one, two] = two(s);
        let again = Item { seq: crate::model::Seq(3), ..two.clone() };
        s.ends(&[one, two, Item { late: false, ..again }]);
    });
    trips(Duplicate, |s| {
        let one = m(1, "c1", "ann");
        let first = s.sends("ann", "c1", 10);
        s.unknown(first);
        let retry = s.sends("ann", "c1", 10);
        s.answered(retry, &one);
        s.ends(&[one.clone(), Item { seq: crate::model::Seq(2), ..one }]);
    });
    is_fine(|s| {
        let one = m(1, "c1", "ann");
        let first = s.sends("ann", "c1", 10);
        s.unknown(first);
        s.wrote(&one);
        s.ends(&[one]);
    });
}

#[test]
fn inconsistent_offset() {
    trips(InconsistentOffset, |s| {
        let [one, two] = two(s);
        let retry = s.sends("ann", "c1", 10);
        s.answered(retry, &Item { seq: crate::model::Seq(2), ..one.clone() });
        s.ends(&[one, two]);
    });
    trips(InconsistentOffset, |s| {
        let one = m(1, "c1", "ann");
        let first = s.sends("ann", "c1", 10);
        s.answered(first, &Item { seq: crate::model::Seq(5), ..one.clone() });
        s.ends(&[one]);
    });
    is_fine(|s| {
        let [one, two] = two(s);
        let retry = s.sends("ann", "c1", 99);
        s.answered(retry, &one);
        s.ends(&[one, two]);
    });
}

#[test]
fn order_disagreement() {
    let overlap = |s: &mut Story| {
        let (first, second) = (s.sends("ann", "a", 10), s.sends("bob", "b", 10));
        let (a, b) = (Item { ts: 10, ..m(1, "a", "ann") }, Item { ts: 10, ..m(2, "b", "bob") });
        s.answered(first, &a);
        s.unknown(second);
        (a, b)
    };
    trips(OrderDisagreement, |s| {
        let (a, b) = overlap(s);
        s.read("cay", &[a.clone(), b.clone()]);
        let (one, two) = (a.seq, b.seq);
        s.ends(&[Item { seq: one, ..b }, Item { seq: two, ..a }]);
    });
    trips(OrderDisagreement, |s| {
        let [one, two] = two(s);
        s.newest_first("cay", &[&[one.clone(), two.clone()]], true);
        s.ends(&[one, two]);
    });
    is_fine(|s| {
        let (a, b) = overlap(s);
        s.newest_first("cay", &[&[b.clone(), a.clone()]], true);
        s.ends(&[a, b]);
    });
}

#[test]
fn realtime_inversion() {
    trips(RealtimeInversion, |s| {
        s.wrote(&m(2, "a", "ann"));
        s.wrote(&late(1, "b", "bob", 10).on_time());
        s.ends(&[m(1, "b", "bob"), m(2, "a", "ann")]);
    });
    trips(RealtimeInversion, |s| {
        let slow = s.sends("cay", "c", 10);
        s.wrote(&m(3, "a", "ann"));
        s.wrote(&m(2, "b", "bob"));
        s.answered(slow, &m(1, "c", "cay"));
        s.ends(&[m(1, "c", "cay"), m(2, "b", "bob"), m(3, "a", "ann")]);
    });
    is_fine(|s| {
        let slow = s.sends("bob", "b", 10);
        s.wrote(&m(2, "a", "ann"));
        s.answered(slow, &m(1, "b", "bob"));
        s.ends(&[m(1, "b", "bob"), m(2, "a", "ann")]);
    });
}

#[test]
fn fifo() {
    trips(Fifo, |s| {
        s.wrote(&m(2, "a", "ann"));
        s.wrote(&m(1, "b", "ann"));
        s.ends(&[m(1, "b", "ann"), m(2, "a", "ann")]);
    });
    trips(Fifo, |s| {
        let (first, second) = (s.sends("ann", "a", 20), s.sends("ann", "b", 10));
        s.answered(second, &m(1, "b", "ann"));
        s.answered(first, &m(2, "a", "ann"));
        s.ends(&[m(1, "b", "ann"), m(2, "a", "ann")]);
    });
    is_fine(|s| {
        let (first, second) = (s.sends("ann", "a", 20), s.sends("ann2", "b", 10));
        s.answered(second, &m(1, "b", "ann"));
        s.answered(first, &m(2, "a", "ann"));
        s.ends(&[m(1, "b", "ann"), m(2, "a", "ann")]);
    });
}

#[test]
fn hole() {
    trips(Hole, |s| {
        s.wrote(&m(1, "a", "ann"));
        s.wrote(&m(3, "b", "ann"));
        s.ends(&[m(1, "a", "ann"), m(3, "b", "ann")]);
    });
    trips(Hole, |s| {
        s.wrote(&m(2, "a", "ann"));
        s.ends(&[m(2, "a", "ann")]);
    });
    is_fine(|s| {
        let items = s.ann_wrote(3);
        s.ends(&items);
    });
}

#[test]
fn seq_reuse() {
    trips(SeqReuse, |s| {
        let [one, two] = two(s);
        let other = s.sends("bob", "b", 20);
        s.unknown(other);
        s.read("cay", &[one.clone(), two]);
        s.ends(&[one, m(2, "b", "bob")]);
    });
    trips(SeqReuse, |s| {
        let (first, second) = (s.sends("ann", "a", 10), s.sends("bob", "b", 10));
        s.answered(first, &m(1, "a", "ann"));
        s.answered(second, &m(1, "b", "bob"));
        s.ends(&[m(1, "a", "ann")]);
    });
    is_fine(|s| {
        let (first, second) = (s.sends("ann", "a", 10), s.sends("bob", "b", 20));
        s.answered(first, &m(1, "a", "ann"));
        s.answered(second, &m(2, "b", "bob"));
        s.ends(&[m(1, "a", "ann"), m(2, "b", "bob")]);
    });
}

#[test]
fn lying_fail() {
    trips(LyingFail, |s| {
        let [one, two] = two(s);
        let third = s.sends("ann", "c3", 30);
        s.fail(third, ErrorCode::Unavailable);
        s.ends(&[one, two, m(3, "c3", "ann")]);
    });
    trips(LyingFail, |s| {
        let first = s.sends("ann", "a", 10);
        s.fail(first, ErrorCode::Conflict);
        s.wrote(&m(1, "b", "ann"));
        s.ends(&[m(1, "b", "ann")]);
    });
    is_fine(|s| {
        let first = s.sends("ann", "a", 10);
        s.fail(first, ErrorCode::Overloaded);
        s.wrote(&m(1, "a", "ann"));
        let other = Asked::Send { cid: "a".into(), digest: "other".into(), ts: None };
        let other = s.begin("ann", other);
        s.fail(other, ErrorCode::Conflict);
        s.ends(&[m(1, "a", "ann")]);
    });
}

#[test]
fn late_misflag() {
    trips(LateMisflag, |s| {
        let [one, two] = two(s);
        let three = late(3, "c3", "ann", 5).on_time();
        s.wrote(&three);
        s.ends(&[one, two, three]);
    });
    trips(LateMisflag, |s| {
        let [one, two] = two(s);
        s.read("cay", &[one.clone(), Item { late: true, ..two.clone() }]);
        s.ends(&[one, two]);
    });
    is_fine(|s| {
        let [one, two] = two(s);
        let (equal, three) = (Item { ts: 20, ..m(3, "c3", "ann") }, late(4, "c4", "ann", 19));
        s.wrote(&equal);
        s.wrote(&three);
        s.ends(&[one, two, equal, three]);
    });
}

#[test]
fn misroute() {
    trips(Misroute, |s| {
        let items = s.ann_wrote(1);
        s.conv = "D";
        let there = s.sends("ann", "d1", 20);
        s.unknown(there);
        s.conv = "C";
        s.ends(&[items[0].clone(), Item { digest: "D/d1".into(), ..m(2, "d1", "ann") }]);
    });
    trips(Misroute, |s| {
        s.open("bob", opened(0, "bob", &[]));
        s.leave("bob");
        let items = s.ann_wrote(1);
        s.pushed("bob", &items[0]);
        s.ends(&items);
    });
    is_fine(|s| {
        s.open("bob", opened(0, "bob", &[]));
        let items = s.ann_wrote(1);
        s.pushed("bob", &items[0]);
        s.leave("bob");
        s.ends(&items);
    });
}

#[test]
fn without_a_final_read_nobody_knows() {
    let mut story = Story::new();
    assert_eq!(judge(&story.events).outcome, Outcome::Unknown);
    let items = story.ann_wrote(2);
    story.read("bob", &items);
    assert_eq!(judge(&story.events).outcome, Outcome::Unknown);
}

#[test]
fn a_new_epoch_declares_its_losses_where_the_class_may_lose() {
    let tell = |durability: &str| {
        let mut story = Story::new();
        let items = story.ann_wrote(2);
        story.epoch = "f";
        story.ends(&items[..1]);
        let mut connect = story.events[0].clone();
        let durability = durability.to_owned();
        connect.act = Act::Ok { seen: Seen::Connect { session: "s".into(), durability } };
        story.events.push(connect);
        judge(&story.events)
    };
    let verdict = tell("process");
    assert_eq!((verdict.outcome, verdict.declared_loss), (Outcome::Valid, 1), "{verdict}");
    assert!(tell("disk").has(Lost));
}

impl Item {
    fn on_time(self) -> Self {
        Self { late: false, ..self }
    }
}
