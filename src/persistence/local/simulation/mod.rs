//! The committer on a simulated machine: the real decisions and batches, the real newest messages and reads, on one thread with a
//! simulated clock and a disk whose writes and syncs take time, fail and are cut off. A power cut takes what was not forced to the
//! disk; what a store does when it is opened again is the real thing too. A seed decides all of it.

mod caller;
mod flaw;
mod inspection;
mod machine;
mod world;

use self::flaw::Flaw;
use self::world::World;
use crate::checker::judge;
use crate::checker::verdict::Outcome;
use crate::harness::seeds::{first_failing, run_all};
use crate::history::check_rules;

/// Seeds that are quick.
const SEEDS: u64 = 1_000;

fn run(seed: u64, flaw: Option<Flaw>) -> Result<(), String> {
    let (events, problems) = World::history(seed, flaw);
    if let Some(problem) = problems.first() {
        return Err(format!("{problem}, and {} more", problems.len() - 1));
    }
    check_rules(&events)?;
    let verdict = judge(&events);
    // A short first life may have stored nothing.
    let is_valid = verdict.outcome == Outcome::Valid
        || (verdict.outcome == Outcome::Unknown && verdict.counts.sends_ok == 0);
    if is_valid { Ok(()) } else { Err(verdict.to_string()) }
}

#[test]
fn every_machine_keeps_every_promise() {
    let test = "persistence::local::simulation::every_machine_keeps_every_promise";
    run_all(SEEDS, test, |seed| run(seed, None));
}

#[test]
fn the_same_seed_is_the_same_machine() {
    let text = |seed| serde_json::to_string(&World::history(seed, None).0).unwrap();
    for seed in 0..50 {
        assert!(text(seed) == text(seed), "seed {seed}");
    }
    assert!(text(1) != text(2));
}

#[test]
fn whatever_is_broken_is_found() {
    for flaw in Flaw::ALL {
        let found = first_failing(SEEDS, |seed| run(seed, Some(flaw)));
        let Some((seed, reason)) = found else { panic!("{flaw:?} was not found") };
        let reason = reason.lines().take(4).collect::<Vec<_>>().join(" ");
        eprintln!("{flaw:?} is found in seed {seed}: {reason:.200}");
    }
}
