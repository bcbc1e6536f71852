//! What goes wrong in one simulated world, and how often.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::Rng;
use rand::rngs::SmallRng;

use crate::harness::seeds::dice;

/// Drawn anew for each seed: some worlds are almost calm, in others one thing goes wrong all the time.
#[derive(Debug)]
pub struct Weather {
    is_calm: AtomicBool,
    is_out: AtomicBool,
    /// Of hints that nobody notices to be lost.
    pub hint_loss: f64,
    /// Of hints that come twice.
    pub hint_double: f64,
    /// Of hints that come much later.
    pub hint_late: f64,
    /// Whether a node hears that it was cut off from the bus.
    pub tells_gaps: bool,
    /// Of calls to the store that are certainly not done.
    pub refused: f64,
    /// Of calls of which nobody knows, and which were not done.
    pub lost: f64,
    /// Of calls of which nobody knows, and which were done.
    pub unanswered: f64,
    /// Of calls that take longer than a session waits.
    pub slow: f64,
    /// Most of what an ordinary step of an ordinary call takes, ms.
    pub step_ms_max: u64,
    /// Of nodes that are broken or stopped at a time.
    pub is_killing: bool,
    /// Whether nodes are cut off from each other.
    pub is_cutting: bool,
    /// Whether the store comes back with less than it had.
    pub is_losing: bool,
}

/// What becomes of one call to the store.
#[derive(Debug)]
pub struct Fate {
    /// Until it is done, ms.
    pub before_ms: u64,
    /// From then until it is answered, ms.
    pub after_ms: u64,
    /// How it ends.
    pub end: End,
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is done and answered.
    Well,
    /// It is not done, and whoever asked is told so.
    Refused,
    /// It is not done, and whoever asked knows nothing.
    Lost,
    /// It is done, and whoever asked knows nothing.
    Unanswered,
}

impl Weather {
    /// That of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = dice(seed, "weather");
        let mut share = |most: f64| match dice.random_range(0..3) {
            0 => 0.0,
            1 => most / 10.0,
            _ => most,
        };
        Self {
            is_calm: AtomicBool::new(false),
            is_out: AtomicBool::new(false),
            hint_loss: share(0.3),
            hint_double: share(0.3),
            hint_late: share(0.2),
            refused: share(0.1),
            lost: share(0.1),
            unanswered: share(0.1),
            slow: share(0.02),
            tells_gaps: dice.random_bool(0.7),
            step_ms_max: [0, 3, 30][dice.random_range(0..3)],
            is_killing: dice.random_bool(0.4),
            is_cutting: dice.random_bool(0.5),
            is_losing: dice.random_bool(0.15),
        }
    }

    /// From now on nothing goes wrong.
    pub fn calm_down(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
        self.set_out(false);
    }

    /// Whether nothing goes wrong any more.
    pub fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    /// The store answers nobody, or does again.
    pub fn set_out(&self, is_out: bool) {
        self.is_out.store(is_out, Ordering::Relaxed);
    }

    /// What becomes of the next call to the store.
    pub fn fate(&self, dice: &mut SmallRng) -> Fate {
        if self.is_calm() {
            let mut step = || dice.random_range(0..=1);
            return Fate { before_ms: step(), after_ms: step(), end: End::Well };
        }
        let (mut before_ms, mut after_ms) = (self.step(dice), self.step(dice));
        if dice.random_bool(self.slow) {
            // Some come in time, for some the session has given up.
            let slow = between(dice, 500..=7_000);
            *(if dice.random() { &mut before_ms } else { &mut after_ms }) = slow;
        }
        let end = if self.is_out.load(Ordering::Relaxed) {
            [End::Refused, End::Lost, End::Unanswered][dice.random_range(0..3)]
        } else if dice.random_bool(self.refused) {
            End::Refused
        } else if dice.random_bool(self.lost) {
            End::Lost
        } else if dice.random_bool(self.unanswered) {
            End::Unanswered
        } else {
            End::Well
        };
        Fate { before_ms, after_ms, end }
    }

    fn step(&self, dice: &mut SmallRng) -> u64 {
        let spike = dice.random_bool(0.05);
        dice.random_range(0..=if spike { 10 * self.step_ms_max } else { self.step_ms_max })
    }
}

/// A number in a range, small ones more often.
pub fn between(dice: &mut SmallRng, range: RangeInclusive<u64>) -> u64 {
    let most = dice.random_range(range.clone());
    dice.random_range(*range.start()..=most)
}
