//! Several nodes, things that are broken on purpose, and what must hold when they are whole again.

use super::story::{Story, is_fine, m, trips};
use crate::checker::verdict::Outcome;
use crate::checker::{Anomaly, judge};
use crate::history::{Act, Item, NemesisPhase, NemesisTarget, ReadKind, Seen};
use crate::model::LIMITS;
use crate::protocol::ErrorCode;

/// A line of the nemesis.
fn nemesis(story: &mut Story, on: NemesisTarget, phase: NemesisPhase) {
    let (act, target) = ("kill".to_owned(), "it".to_owned());
    note(story, Seen::Nemesis { act, on, target, phase });
}

fn note(story: &mut Story, seen: Seen) {
    story.line(0, 0, "", "", Act::Ok { seen });
    let line = story.events.last_mut().unwrap();
    (line.session, line.user, line.conv, line.node) = (None, None, None, None);
}

fn healed(story: &mut Story) {
    nemesis(story, NemesisTarget::Everything, NemesisPhase::Healed);
}

fn connects(story: &mut Story, user: &str) {
    let seen = Seen::Connect { session: "s".into(), durability: "disk".into() };
    story.line(2_000_000, super::story::session(user), user, "C", Act::Ok { seen });
}

/// The final read on a node.
fn ends_on(story: &mut Story, node: &str, items: &[Item]) {
    let from = story.events.len();
    story.reading("zed", ReadKind::After { after_seq: crate::model::Seq(0) }, true, &[items], true);
    story.events[from..].iter_mut().for_each(|event| event.node = Some(node.to_owned()));
}

/// Everything from here on takes so long, ms.
fn after_ms(story: &mut Story, from: usize, ms: u64) {
    story.events[from..].iter_mut().for_each(|event| event.time_ns += ms * 1_000_000);
}

#[test]
fn diverged() {
    type Change = fn(&mut Vec<Item>);
    let changes: [Change; 5] = [
        |items| items[1].digest = "C/other".to_owned(),
        |items| items[1].ts += 1,
        |items| items[1].late = true,
        |items| drop(items.remove(1)),
        |items| {
            let (one, other) = (items[0].cid.clone(), items[1].cid.clone());
            (items[0].cid, items[1].cid) = (other, one);
        },
    ];
    for change in changes {
        trips(Anomaly::Diverged, |story| {
            let items = story.ann_wrote(3);
            let mut other = items.clone();
            change(&mut other);
            ends_on(story, "one", &items);
            ends_on(story, "two", &other);
        });
    }
}

#[test]
fn nodes_that_agree_and_what_is_stored_between_their_reads_are_fine() {
    is_fine(|story| {
        let mut items = story.ann_wrote(2);
        let unsure = story.sends("ann", "c3", 30);
        story.unknown(unsure);
        ends_on(story, "one", &items);
        items.push(m(3, "c3", "ann"));
        ends_on(story, "two", &items);
    });
    // What one node tells two users is not the disagreement of two nodes.
    trips(Anomaly::Lost, |story| {
        let items = story.ann_wrote(3);
        ends_on(story, "one", &items);
        ends_on(story, "one", &items[..2]);
    });
}

#[test]
fn undetected_loss() {
    let tell = |broken_early: bool, story: &mut Story| {
        let first = story.ann_wrote(1);
        if broken_early {
            nemesis(story, NemesisTarget::Service, NemesisPhase::Begins);
        }
        let second = m(2, "c2", "ann");
        story.wrote(&second);
        if !broken_early {
            nemesis(story, NemesisTarget::Service, NemesisPhase::Begins);
        }
        story.ends(&first);
    };
    trips(Anomaly::UndetectedLoss, |story| tell(false, story));
    // What was broken before it was stored has nothing to do with it.
    trips(Anomaly::Lost, |story| tell(true, story));
    // Nor has a server of ours that ended.
    trips(Anomaly::Lost, |story| {
        let items = story.ann_wrote(2);
        nemesis(story, NemesisTarget::Node, NemesisPhase::Begins);
        story.ends(&items[..1]);
    });
}

#[test]
fn stuck_without_an_answer() {
    let late = LIMITS.answer_ms_max + 2_000;
    let answered = |story: &mut Story| {
        let first = m(1, "c1", "ann");
        story.wrote(&first);
        healed(story);
        connects(story, "ann");
        vec![first]
    };
    // Answered too late.
    trips(Anomaly::Stuck, |story| {
        let mut items = answered(story);
        let process = story.sends("ann", "c2", 20);
        let from = story.events.len();
        items.push(m(2, "c2", "ann"));
        story.answered(process, &items[1]);
        story.ends(&items);
        after_ms(story, from, late);
    });
    // Given up.
    trips(Anomaly::Stuck, |story| {
        let mut items = answered(story);
        items.push(m(2, "c2", "ann"));
        story.wrote(&items[1]);
        let process = story.sends("ann", "c3", 30);
        story.unknown(process);
        story.ends(&items);
    });
    // Never.
    trips(Anomaly::Stuck, |story| {
        let mut items = answered(story);
        items.push(m(2, "c2", "ann"));
        story.wrote(&items[1]);
        let _ = story.sends("ann", "c3", 30);
        let from = story.events.len();
        story.ends(&items);
        after_ms(story, from, late);
    });
}

#[test]
fn stuck_where_nobody_is_let_in_or_no_send_succeeds() {
    trips(Anomaly::Stuck, |story| {
        let items = story.ann_wrote(1);
        healed(story);
        let (address, error) = ("ws://a".to_owned(), "refused".to_owned());
        note(story, Seen::Unreachable { address, error });
        story.ends(&items);
    });
    trips(Anomaly::Stuck, |story| {
        let items = story.ann_wrote(1);
        healed(story);
        connects(story, "ann");
        let process = story.sends("ann", "c2", 20);
        story.fail(process, ErrorCode::Overloaded);
        story.ends(&items);
    });
}

#[test]
fn what_was_slow_before_or_in_an_old_session_is_not_stuck() {
    is_fine(|story| {
        let items = story.ann_wrote(1);
        let process = story.sends("ann", "c2", 20);
        story.unknown(process);
        healed(story);
        // A session that lived through everything may be broken for good.
        let process = story.sends("ann", "c3", 30);
        story.unknown(process);
        story.ends(&items);
    });
    // Broken again: only the last time counts.
    is_fine(|story| {
        let items = story.ann_wrote(1);
        healed(story);
        connects(story, "ann");
        let process = story.sends("ann", "c2", 20);
        story.unknown(process);
        healed(story);
        story.ends(&items);
    });
}

#[test]
fn what_servers_counted_is_what_is_stored() {
    let told = |counted: u64, unknown: usize| {
        let mut story = Story::new();
        let mut items = story.ann_wrote(2);
        for number in 0..unknown {
            let process = story.sends("ann", &format!("u{number}"), 30);
            story.unknown(process);
        }
        if unknown > 0 {
            items.push(m(3, "u0", "ann"));
        }
        story.ends(&items);
        note(&mut story, Seen::Counted { messages: counted });
        judge(&story.events)
    };
    assert_eq!(told(2, 0).outcome, Outcome::Valid);
    assert!(told(3, 0).has(Anomaly::Lost), "{}", told(3, 0));
    assert!(told(1, 0).has(Anomaly::Phantom), "{}", told(1, 0));
    // The one of which nobody knows may have been counted, or not.
    assert_eq!((told(2, 1).outcome, told(3, 1).outcome), (Outcome::Valid, Outcome::Valid));
    assert!(told(1, 1).has(Anomaly::Phantom));
}
