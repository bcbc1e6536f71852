//! Random correct histories are valid; broken ones are not.

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::second_judge::{HEART, is_linearizable};
use super::simulated::{history, history_on};
use crate::checker::judge;
use crate::checker::verdict::Outcome;
use crate::history::{Act, Event, Item, Seen};

/// Breaks one thing that a correct server could never have said.
pub fn mutate(events: &mut [Event], seed: u64) -> Option<&'static str> {
    let mut random = SmallRng::seed_from_u64(seed);
    let last = events.len() - 1;
    let Act::Ok { seen: Seen::Read { items: finals, .. } } = &mut events[last].act else {
        return None;
    };
    let at = random.random_range(0..finals.len());
    let choice = random.random_range(0..6);
    match choice {
        0 => {
            finals.remove(at);
            Some("a message is missing at the end")
        }
        1 => {
            let item: Item = finals[at].clone();
            finals.push(Item { seq: crate::model::Seq(finals.len() as u64 + 1), ..item });
            Some("a message is there twice")
        }
        2 => {
            finals[at].digest.push('x');
            Some("a message is altered")
        }
        3 if finals.len() > 1 => {
            let other = (at + 1) % finals.len();
            let (one, two) = (finals[at].seq, finals[other].seq);
            finals[at].seq = two;
            finals[other].seq = one;
            finals.sort_by_key(|item| item.seq);
            // Known to be wrong only where somebody was told the numbers.
            let told = |item: &Item| (item.seq, item.cid.clone());
            let swapped = [told(&finals[at.min(other)]), told(&finals[at.max(other)])];
            let contradicted = events[..last].iter().any(|event| matches!(&event.act, Act::Ok { seen: Seen::Send { seq, .. } } if swapped.iter().any(|(of, _)| of == seq)));
            contradicted.then_some("two messages are exchanged")
        }
        4 => {
            finals[at].late = !finals[at].late;
            Some("a late flag is turned")
        }
        _ => {
            let pushes: Vec<usize> = events
                .iter()
                .enumerate()
                .filter(|(_, event)| matches!(event.act, Act::Ok { seen: Seen::Recv { .. } }))
                .map(|(at, _)| at)
                .collect();
            let at = *pushes.choose(&mut random)?;
            if let Act::Ok { seen: Seen::Recv { item, .. } } = &mut events[at].act {
                item.digest.push('x');
            }
            Some("a pushed message is altered")
        }
    }
}

/// An open answers as a node would that has not heard of a message yet, though whoever asks was told elsewhere that it is stored.
fn lag(events: &mut [Event], seed: u64) -> Option<()> {
    let mut random = SmallRng::seed_from_u64(seed);
    // What each user was told is stored, before the open was asked for.
    let mut told: Vec<(String, Option<String>, u64)> = Vec::new();
    let mut asked = std::collections::HashMap::new();
    let mut stale = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let user = event.user.clone().unwrap_or_default();
        match &event.act {
            Act::Invoke { .. } => drop(asked.insert(event.process, told.len())),
            Act::Ok { seen: Seen::Send { seq, .. } } => {
                told.push((user, event.node.clone(), seq.0));
            }
            Act::Ok { seen: Seen::Open(open) } => {
                let before = asked.get(&event.process).map_or(0, |&before| before);
                let elsewhere = told[..before]
                    .iter()
                    .filter(|(to, node, seq)| {
                        *to == user && *node != event.node && *seq <= open.head.0
                    })
                    .map(|(.., seq)| *seq)
                    .max();
                stale.extend(elsewhere.map(|seq| (at, seq - 1)));
            }
            _ => {}
        }
    }
    let (at, head) = *stale.choose(&mut random)?;
    let Act::Ok { seen: Seen::Open(open) } = &mut events[at].act else { return None };
    open.head = crate::model::Seq(head);
    open.items.retain(|item| item.seq.0 <= head);
    open.late.iter_mut().for_each(|late| late.retain(|item| item.seq.0 <= head));
    Some(())
}

/// Steps of a history that the second judge is asked about too.
const SEARCHED_MAX: usize = 150;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_correct_server_is_never_blamed(seed in any::<u64>(), steps in 5usize..600) {
        let events = history(seed, steps);
        let verdict = judge(&events);
        prop_assert_eq!(verdict.outcome, Outcome::Valid, "{}", verdict);
        // The second judge searches: its time grows fast with the length.
        prop_assert!(steps > SEARCHED_MAX || is_linearizable(&events), "the second judge differs");
    }

    #[test]
    fn several_nodes_of_one_store_are_never_blamed(seed in any::<u64>(), steps in 5usize..400, nodes in 2u64..5) {
        let events = history_on(nodes, seed, steps);
        let verdict = judge(&events);
        prop_assert_eq!(verdict.outcome, Outcome::Valid, "{}", verdict);
        prop_assert!(steps > SEARCHED_MAX || is_linearizable(&events), "the second judge differs");
    }

    #[test]
    fn a_node_that_lags_behind_another_is_found(seed in any::<u64>(), steps in 40usize..SEARCHED_MAX, how in any::<u64>()) {
        let mut events = history_on(3, seed, steps);
        if lag(&mut events, how).is_some() {
            let verdict = judge(&events);
            prop_assert_eq!(verdict.outcome, Outcome::Invalid, "{}", verdict);
            prop_assert!(!is_linearizable(&events), "the second judge differs: {}", verdict);
        }
    }

    #[test]
    fn a_broken_history_is_never_valid(seed in any::<u64>(), steps in 5usize..400, how in any::<u64>(), nodes in 1u64..4) {
        let mut events = history_on(nodes, seed, steps);
        if let Some(what) = mutate(&mut events, how) {
            let verdict = judge(&events);
            prop_assert_eq!(verdict.outcome, Outcome::Invalid, "{}: {}", what, verdict);
            let heart = verdict.anomalies.iter().any(|broken| HEART.contains(&broken.name));
            if heart && steps <= SEARCHED_MAX {
                prop_assert!(!is_linearizable(&events), "the second judge differs: {}", verdict);
            }
        }
    }
}

#[test]
fn the_random_histories_are_rich() {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let (mut mutated, mut lagging) = (0, 0);
    for seed in 0..200 {
        lagging += usize::from(lag(&mut history_on(3, seed, 140), seed).is_some());
        let mut events = history(seed, 300);
        for event in &events {
            let value = serde_json::to_value(event).unwrap();
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            *counts.entry(format!("{} {}", text("type"), text("f"))).or_default() += 1;
        }
        mutated += usize::from(mutate(&mut events, seed).is_some());
    }
    let enough = [("ok send", 2_000), ("info send", 500), ("ok read", 500), ("ok open", 500)];
    for (kind, least) in enough.into_iter().chain([("ok ack", 100), ("ok recv", 2_000)]) {
        let count = counts.get(kind).copied().unwrap_or_default();
        assert!(count >= least, "{kind}: {count} of {counts:?}");
    }
    assert!(mutated > 100, "{mutated} of 200 were broken");
    assert!(lagging > 15, "{lagging} of 200 had a node to lag behind");
}
