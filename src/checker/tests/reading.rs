//! Reads: fresh, whole, each message once.

use super::story::{Story, is_fine, late, m, opened, trips};
use crate::checker::Anomaly::*;
use crate::history::{Item, ReadKind};
use crate::model::Seq;

#[test]
fn ryw() {
    trips(Ryw, |s| {
        let items = s.ann_wrote(2);
        s.read("ann", &items[..1]);
        s.ends(&items);
    });
    trips(Ryw, |s| {
        let items = s.ann_wrote(2);
        s.open("ann2", opened(1, "ann", &items[..1]));
        s.leave("ann2");
        s.ends(&items);
    });
    is_fine(|s| {
        let one = m(1, "c1", "ann");
        let send = s.sends("ann", "c1", 10);
        s.read("ann2", &[]);
        s.answered(send, &one);
        s.ends(&[one]);
    });
}

#[test]
fn nonmonotonic() {
    trips(Nonmonotonic, |s| {
        let items = s.ann_wrote(2);
        s.read("bob", &items);
        s.read("bob", &items[..1]);
        s.ends(&items);
    });
    trips(Nonmonotonic, |s| {
        s.open("bob", opened(0, "bob", &[]));
        let items = s.ann_wrote(2);
        s.pushed("bob", &items[0]);
        s.pushed("bob", &items[1]);
        s.open("bob", opened(1, "bob", &items[..1]));
        s.pushed("bob", &items[1]);
        s.ends(&items);
    });
    is_fine(|s| {
        let one = m(1, "c1", "ann");
        let send = s.sends("ann", "c1", 10);
        s.read("bob", &[]);
        s.read("bob", std::slice::from_ref(&one));
        s.answered(send, &one);
        s.ends(&[one]);
    });
}

#[test]
fn causal() {
    trips(Causal, |s| {
        let items = s.ann_wrote(2);
        s.read("bob", &items[..1]);
        s.ends(&items);
    });
    trips(Causal, |s| {
        let question = s.sends("ann", "a", 20);
        s.newest_first("bob", &[&[m(2, "a", "ann")]], false);
        s.wrote(&m(1, "b", "bob"));
        s.answered(question, &m(2, "a", "ann"));
        s.ends(&[m(1, "b", "bob"), m(2, "a", "ann")]);
    });
    is_fine(|s| {
        let question = s.sends("ann", "a", 10);
        s.read("bob", &[m(1, "a", "ann")]);
        s.wrote(&m(2, "b", "bob"));
        s.answered(question, &m(1, "a", "ann"));
        s.ends(&[m(1, "a", "ann"), m(2, "b", "bob")]);
    });
}

fn five(s: &mut Story) -> Vec<Item> {
    s.ann_wrote(5)
}

#[test]
fn page_skip() {
    trips(PageSkip, |s| {
        let i = five(s);
        s.newest_first(
            "bob",
            &[&[i[4].clone(), i[3].clone()], &[i[1].clone(), i[0].clone()]],
            true,
        );
        s.ends(&i);
    });
    trips(PageSkip, |s| {
        let i = five(s);
        s.reading(
            "bob",
            ReadKind::After { after_seq: Seq(1) },
            false,
            &[&[i[2].clone(), i[3].clone()]],
            false,
        );
        s.ends(&i);
    });
    is_fine(|s| {
        let i = five(s);
        s.newest_first("bob", &[&[i[4].clone(), i[3].clone()], &[i[2].clone()]], false);
        s.reading(
            "bob",
            ReadKind::Range { from: 20, to: 30, descending: false },
            false,
            &[&[i[1].clone()], &[i[2].clone()]],
            true,
        );
        s.ends(&i);
    });
    is_fine(|s| {
        let i = five(s);
        let six = late(6, "l", "bob", 35);
        let send = s.sends("bob", "l", 35);
        s.newest_first(
            "cay",
            &[&[i[4].clone(), i[3].clone()], &[i[2].clone(), i[1].clone(), i[0].clone()]],
            true,
        );
        s.answered(send, &six);
        s.ends(&[&i[..], &[six]].concat());
    });
}

#[test]
fn page_dup() {
    trips(PageDup, |s| {
        let i = five(s);
        s.newest_first(
            "bob",
            &[&[i[4].clone(), i[3].clone()], &[i[3].clone(), i[2].clone()]],
            false,
        );
        s.ends(&i);
    });
    trips(PageDup, |s| {
        let i = five(s);
        s.reading("bob", ReadKind::After { after_seq: Seq(2) }, false, &[&i[1..]], true);
        s.ends(&i);
    });
    is_fine(|s| {
        let i = five(s);
        s.newest_first("bob", &[&[i[4].clone()]], false);
        s.newest_first("bob", &[&[i[4].clone(), i[3].clone()]], false);
        s.ends(&i);
    });
}

#[test]
fn late_dropped_from_reads() {
    let told = |s: &mut Story| {
        let mut items = s.ann_wrote(2);
        items.push(late(3, "l", "ann", 5));
        s.wrote(&items[2]);
        s.open("bob", opened(3, "bob", &[items[2].clone(), items[0].clone(), items[1].clone()]));
        items
    };
    trips(LateDropped, |s| {
        let items = told(s);
        s.read_late("bob", &[]);
        s.ends(&items);
    });
    is_fine(|s| {
        let items = told(s);
        s.read_late("bob", &items[2..]);
        s.ack("bob", 3, 3);
        s.read_late("bob", &[]);
        s.ends(&items);
    });
    trips(LateZombie, |s| {
        let items = told(s);
        s.ack("bob", 3, 3);
        s.read_late("bob", &items[2..]);
        s.ends(&items);
    });
    trips(LateZombie, |s| {
        let items = told(s);
        s.read_late("bob", &[items[1].clone(), items[2].clone()]);
        s.ends(&items);
    });
}

#[test]
fn ack_regress() {
    let told = |s: &mut Story| {
        let items = s.ann_wrote(3);
        s.open("bob", opened(3, "bob", &items));
        items
    };
    trips(AckRegress, |s| {
        let items = told(s);
        s.ack("bob", 3, 3);
        s.ack("bob", 1, 1);
        s.ends(&items);
    });
    trips(AckRegress, |s| {
        let items = told(s);
        s.ack("bob", 3, 3);
        s.open("bob2", opened(3, "bob", &items));
        s.ends(&items);
    });
    is_fine(|s| {
        let items = told(s);
        let process =
            s.begin("bob", crate::history::Asked::Ack { up_to: Some(Seq(3)), ranges: vec![] });
        s.unknown(process);
        s.open("bob2", opened(3, "bob", &items));
        s.ack("bob2", 1, 3);
        s.ends(&items);
    });
}
