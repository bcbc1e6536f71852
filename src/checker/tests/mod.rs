//! Hand-written histories that must trip, and ones close to them that must not; random correct
//! histories, and what is left of them after a mutation.

mod edn;
mod export;
mod logs;
mod nodes;
mod opens;
mod random;
mod reading;
mod revoked;
mod scale;
mod second_judge;
pub(crate) mod simulated;
mod story;
mod streams;
mod third_judge;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::history::{Act, Asked, Event, ListSeen, Seen};

/// Histories of two conversations each, told through each other, with lists of both; every other one is broken somewhere.
pub fn histories(count: u64) -> Vec<Vec<Event>> {
    let told = |seed: u64| {
        let mut random = SmallRng::seed_from_u64(seed);
        let one = simulated::history(seed, 80);
        let mut other = simulated::history(seed + 1_000, 60);
        if seed % 2 == 1 {
            random::mutate(&mut other, seed);
        }
        rename(&mut other, "other", 1_000_000);
        let (mut one, mut other) = (one.into_iter().peekable(), other.into_iter().peekable());
        let mut events: Vec<Event> = Vec::new();
        loop {
            let from_one = match (one.peek(), other.peek()) {
                (None, None) => break,
                (Some(_), Some(_)) => random.random(),
                (left, _) => left.is_some(),
            };
            events.extend(if from_one { one.next() } else { other.next() });
            if events.len().is_multiple_of(40) {
                list(&mut events);
            }
        }
        (0..)
            .zip(&mut events)
            .for_each(|(index, event)| (event.index, event.time_ns) = (index, index));
        events
    };
    (0..count).map(told).collect()
}

/// Another conversation, of other processes and sessions.
fn rename(events: &mut [Event], suffix: &str, offset: u64) {
    for event in events {
        event.process += offset;
        event.session = event.session.map(|session| session + offset);
        if let Some(conv) = &mut event.conv {
            conv.push_str(suffix);
        }
        if let Act::Ok { seen: Seen::List { entries, .. } } = &mut event.act {
            entries.iter_mut().for_each(|entry| entry.conv.push_str(suffix));
        }
    }
}

/// Somebody lists what was pushed last in each conversation.
fn list(events: &mut Vec<Event>) {
    let mut entries: Vec<ListSeen> = Vec::new();
    for event in events.iter().rev() {
        let Act::Ok { seen: Seen::Recv { item, .. } } = &event.act else { continue };
        let conv = event.conv.clone().unwrap();
        if entries.iter().all(|entry| entry.conv != conv) {
            entries.push(ListSeen { conv, head: item.seq, unread: 0, newest: item.clone() });
        }
    }
    let Some(template) = events.last().cloned() else { return };
    let asked = Act::Invoke { asked: Asked::List { first_page: true } };
    let seen = Act::Ok { seen: Seen::List { entries, complete: true } };
    for act in [asked, seen] {
        events.push(Event { process: 5_000_000, conv: None, act, ..template.clone() });
    }
}
