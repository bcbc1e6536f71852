//! Pushed messages.

use super::story::{Story, is_fine, opened, trips};
use crate::checker::Anomaly::*;
use crate::history::Item;

fn told(s: &mut Story) -> Vec<Item> {
    s.open("bob", opened(0, "bob", &[]));
    s.ann_wrote(3)
}

fn push(s: &mut Story, items: &[Item], order: &[usize]) {
    order.iter().for_each(|&number| s.pushed("bob", &items[number - 1]));
}

#[test]
fn rt_miss() {
    trips(RtMiss, |s| {
        let i = told(s);
        push(s, &i, &[1, 3]);
        s.ends(&i);
    });
    trips(RtMiss, |s| {
        let i = told(s);
        push(s, &i, &[1, 2]);
        s.ends(&i);
    });
    is_fine(|s| {
        let i = told(s);
        push(s, &i, &[1, 2]);
        s.leave("bob");
        s.open_with("ann", None, false, opened(3, "ann", &i));
        let four = super::story::m(4, "c4", "ann");
        s.wrote(&four);
        s.ends(&[&i[..], &[four]].concat());
    });
}

#[test]
fn rt_dup() {
    trips(RtDup, |s| {
        let i = told(s);
        push(s, &i, &[1, 2, 2, 3]);
        s.ends(&i);
    });
    trips(RtDup, |s| {
        let i = s.ann_wrote(3);
        s.open("bob", opened(3, "bob", &i));
        push(s, &i, &[3]);
        s.ends(&i);
    });
    is_fine(|s| {
        let i = told(s);
        push(s, &i, &[1, 2, 3]);
        s.open("bob2", opened(3, "bob", &i));
        s.ends(&i);
    });
}

#[test]
fn rt_reorder() {
    trips(RtReorder, |s| {
        let i = told(s);
        push(s, &i, &[1, 3, 2]);
        s.ends(&i);
    });
    trips(RtReorder, |s| {
        let i = told(s);
        push(s, &i, &[2, 1, 3]);
        s.ends(&i);
    });
    is_fine(|s| {
        let i = told(s);
        push(s, &i, &[1]);
        s.open("bob", opened(3, "bob", &i));
        s.ends(&i);
    });
}
