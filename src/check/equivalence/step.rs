//! What two people do in one conversation, decided by a seed: the same on every engine.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::model::LIMITS;

/// A moment long ago: times on messages lie around it, so that no clock of a server decides anything.
pub const LONG_AGO_MS: u64 = 1_600_000_000_000;
/// How far they spread.
const SPREAD_MS: u64 = 600_000;

/// One thing that one of the two asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A message; its content varies with the number of the step.
    Send {
        /// Its name, by number.
        cid: usize,
        /// Its time; `None` is never asked for: a server's clock would decide.
        ts: u64,
        /// Which of two contents under the same name.
        variation: u64,
    },
    /// The conversation, opened anew.
    Open {
        /// Messages on the page.
        limit: usize,
        /// Goes on after this number, in the life of the store that the first open told.
        resume_after: Option<u64>,
    },
    /// What follows a number.
    After {
        /// Which, as a share of the head in percent.
        share: u64,
        /// Messages on a page.
        limit: usize,
    },
    /// A part of history, all pages of it.
    Range {
        /// From this time on.
        from: u64,
        /// Up to this one.
        to: u64,
        /// The newest first.
        descending: bool,
        /// Messages on a page.
        limit: usize,
    },
    /// The unread late ones, all pages.
    Late {
        /// Messages on a page.
        limit: usize,
    },
    /// Everything up to a number is read.
    AckUpTo {
        /// As a share of the head in percent; more than 100 is beyond it, and refused.
        share: u64,
    },
    /// A few ranges are read.
    AckRanges {
        /// As shares of the head in percent, begin and end.
        shares: Vec<(u64, u64)>,
    },
    /// One's conversations.
    List {},
}

/// A step, and which of the two does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// 0 or 1.
    pub by: usize,
    /// What.
    pub step: Step,
}

/// `count` turns of a pair of people, which `seed` decides.
pub fn turns(seed: u64, count: usize) -> Vec<Turn> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut cids = 0;
    (0..count)
        .map(|number| {
            let by = random.random_range(0..2);
            // Nothing can be asked of a conversation that was never opened.
            let step = if number < 2 {
                return Turn { by: number, step: Step::Open { limit: 10, resume_after: None } };
            } else {
                step(&mut random, &mut cids)
            };
            Turn { by, step }
        })
        .collect()
}

fn step(random: &mut SmallRng, cids: &mut usize) -> Step {
    let limit = random.random_range(1..20);
    match random.random_range(0..100) {
        0..55 => send(random, cids),
        55..65 => {
            let resume_after =
                random.random_bool(0.4).then(|| random.random_range(0..=*cids as u64 + 3));
            Step::Open { limit: random.random_range(0..25), resume_after }
        }
        65..71 => Step::After { share: random.random_range(0..=110), limit },
        71..80 => {
            let from = if random.random() { 0 } else { some_time(random) };
            let to = if random.random() { crate::model::INTEGER_MAX } else { some_time(random) };
            Step::Range { from, to, descending: random.random(), limit }
        }
        80..86 => Step::Late { limit },
        86..92 => Step::AckUpTo { share: random.random_range(0..=105) },
        92..97 => {
            let count = random.random_range(1..4);
            let mut share = || random.random_range(0..=100);
            Step::AckRanges { shares: (0..count).map(|_| (share(), share())).collect() }
        }
        _ => Step::List {},
    }
}

fn send(random: &mut SmallRng, cids: &mut usize) -> Step {
    let is_again = *cids > 0 && random.random_bool(0.12);
    let cid = if is_again { random.random_range(0..*cids) } else { *cids };
    *cids += usize::from(!is_again);
    let ts = match random.random_range(0..20) {
        // Far beyond every clock: refused.
        0 => crate::model::INTEGER_MAX - LIMITS.future_skew_ms_max,
        // Equal times are common, so that numbers decide.
        1..5 => LONG_AGO_MS + SPREAD_MS / 2,
        _ => some_time(random),
    };
    // The same name for something else is a conflict.
    let variation = u64::from(is_again && random.random_bool(0.3));
    Step::Send { cid, ts, variation }
}

fn some_time(random: &mut SmallRng) -> u64 {
    LONG_AGO_MS + random.random_range(0..SPREAD_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_asks_the_same_and_everything_is_asked() {
        assert_eq!(turns(7, 500), turns(7, 500));
        assert_ne!(turns(7, 500), turns(8, 500));
        let kinds: std::collections::HashSet<_> =
            turns(1, 500).iter().map(|turn| std::mem::discriminant(&turn.step)).collect();
        assert_eq!(kinds.len(), 8);
    }
}
