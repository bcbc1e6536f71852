//! The rules of the chat in simulated worlds: real services, rooms, sessions and outboxes of one to three nodes on one thread with a
//! simulated clock, on a store and a bus that lose, double, delay and reorder, with clients that do everything. A seed decides
//! all of it. What the clients did and saw is judged as that of real ones is.

mod broken;
mod bus;
mod connection;
mod device;
mod node;
mod store;
mod weather;
mod world;

use self::broken::Broken;
use self::world::World;
use super::flaw;
use crate::checker::judge;
use crate::checker::verdict::{Outcome, Verdict};
use crate::harness::seeds::{first_failing, run_all};
use crate::history::{Event, check_rules};

/// Seeds that are quick.
const SEEDS: u64 = 1_000;
/// Seeds in which a flaw is looked for, until it is found: the rarest takes a removal in the middle of a read.
const SEARCHED_SEEDS: u64 = 8_000;

fn history(seed: u64, broken: Option<Broken>) -> Vec<Event> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    flaw::set(match broken {
        Some(Broken::Rule(flaw)) => Some(flaw),
        _ => None,
    });
    let history = runtime.block_on(World::history(seed, broken));
    flaw::set(None);
    history
}

fn verdict(seed: u64, broken: Option<Broken>) -> Verdict {
    let events = history(seed, broken);
    check_rules(&events).unwrap();
    judge(&events)
}

#[test]
fn every_world_keeps_every_promise() {
    run_all(SEEDS, "chat::simulation::every_world_keeps_every_promise", |seed| {
        let verdict = verdict(seed, None);
        if verdict.outcome == Outcome::Valid { Ok(()) } else { Err(verdict.to_string()) }
    });
}

#[test]
fn the_same_seed_is_the_same_world() {
    let text = |seed| serde_json::to_string(&history(seed, None)).unwrap();
    for seed in 0..20 {
        let (one, other) = (text(seed), text(seed));
        let differs = one.bytes().zip(other.bytes()).position(|(one, other)| one != other);
        assert!(one == other, "seed {seed} differs at {differs:?}");
    }
    assert!(text(1) != text(2));
}

#[test]
fn whatever_is_broken_is_found() {
    for (broken, names) in Broken::ALL {
        let found = first_failing(SEARCHED_SEEDS, |seed| {
            let verdict = verdict(seed, Some(broken));
            let is_named = names.iter().any(|&name| verdict.has(name));
            if is_named { Err(verdict.to_string()) } else { Ok(()) }
        });
        let Some((seed, _)) = found else { panic!("{broken:?} was not found") };
        eprintln!("{broken:?} is found in seed {seed}");
    }
}
