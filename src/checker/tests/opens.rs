//! What an open answers.

use super::story::{Story, is_fine, late, opened, trips};
use crate::checker::Anomaly::*;
use crate::history::{Item, OpenSeen};
use crate::model::Seq;

fn told(s: &mut Story) -> Vec<Item> {
    let mut items = s.ann_wrote(4);
    items.push(late(5, "l", "ann", 5));
    s.wrote(&items[4]);
    items
}

/// The newest two; the late one beside them.
fn newest_two(i: &[Item]) -> OpenSeen {
    OpenSeen {
        late: Some(vec![i[4].clone()]),
        unread: 5,
        unread_late: 1,
        unread_before: Some(2),
        gap: Some(true),
        ..opened(5, "bob", &i[2..4])
    }
}

/// As a page shows them: the late one is the oldest.
fn by_time(i: &[Item]) -> Vec<Item> {
    let mut items = i.to_vec();
    items.sort_by_key(|item| (item.ts, item.seq));
    items
}

fn resumed(i: &[Item]) -> OpenSeen {
    let (late, unread_before, gap, recovered) = (None, None, None, Some(true));
    OpenSeen {
        late,
        unread_before,
        gap,
        recovered,
        unread: 5,
        unread_late: 1,
        complete: true,
        ..opened(5, "bob", i)
    }
}

#[test]
fn silent_gap() {
    trips(SilentGap, |s| {
        let i = told(s);
        s.open("bob", OpenSeen { unread_before: Some(0), gap: Some(false), ..newest_two(&i) });
        s.ends(&i);
    });
    trips(SilentGap, |s| {
        let i = told(s);
        s.open_with("bob", Some(2), true, resumed(&i[3..]));
        s.ends(&i);
    });
    trips(SilentGap, |s| {
        let i = told(s);
        s.open("bob", newest_two(&i));
        s.ack("bob", 1, 3);
        s.ends(&i);
    });
    // What is gone for good is told once.
    trips(Lost, |s| {
        let mut i = told(s);
        s.open_with("bob", Some(2), true, resumed(&i[3..]));
        i.remove(2);
        s.ends(&i);
    });
    trips(Lost, |s| {
        let mut i = told(s);
        i.remove(2);
        s.open("bob", OpenSeen { unread: 4, complete: true, ..opened(5, "bob", &by_time(&i)) });
        s.ends(&i);
    });
    is_fine(|s| {
        let i = told(s);
        s.open_with("bob", Some(2), true, resumed(&i[2..]));
        s.open("bob", newest_two(&i));
        s.ack("bob", 1, 1);
        s.ends(&i);
    });
}

#[test]
fn late_dropped() {
    trips(LateDropped, |s| {
        let i = told(s);
        s.open("bob", OpenSeen { late: Some(vec![]), ..newest_two(&i) });
        s.ends(&i);
    });
    trips(LateDropped, |s| {
        let i = told(s);
        s.open("bob", OpenSeen { unread_late: 0, ..newest_two(&i) });
        s.ends(&i);
    });
    is_fine(|s| {
        let i = told(s);
        s.open("bob", newest_two(&i));
        s.ends(&i);
    });
}

#[test]
fn late_zombie() {
    let acked = |i: &[Item]| OpenSeen {
        acked_up_to: Seq(5),
        late: Some(vec![]),
        unread: 0,
        unread_late: 0,
        unread_before: Some(0),
        gap: Some(false),
        ..newest_two(i)
    };
    trips(LateZombie, |s| {
        let i = told(s);
        s.open("bob", OpenSeen { late: Some(vec![i[4].clone()]), ..acked(&i) });
        s.ends(&i);
    });
    trips(LateZombie, |s| {
        let i = told(s);
        s.open("bob", OpenSeen { unread_late: 1, ..acked(&i) });
        s.ends(&i);
    });
    is_fine(|s| {
        let i = told(s);
        s.open("bob", acked(&i));
        s.ends(&i);
    });
}
