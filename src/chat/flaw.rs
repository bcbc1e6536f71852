//! Rules that a simulation breaks, one at a time, to prove that it would notice. In the program nothing can.

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A room does not read what is missing.
    FillsNothing,
    /// A room does not wait for a hint that an earlier one overtook.
    SkipsAhead,
    /// What is fanned out while a session joins is not kept for it.
    HoldsNothing,
    /// An `open` that read less than was fanned out is answered all the same.
    GoesLiveBehind,
    /// A hint of another life of the store is taken.
    MixesEpochs,
    /// A message is fanned out although the group may have lost members before it.
    IgnoresRosters,
    /// A read of a group is answered without asking whether its reader is still a member.
    AsksNoRoster,
}

/// Whether the rule is broken here.
#[cfg(not(test))]
pub const fn has(_: Flaw) -> bool {
    false
}

#[cfg(test)]
pub use testing::{has, set};

#[cfg(test)]
mod testing {
    use std::cell::Cell;

    use super::Flaw;

    thread_local! {
        /// A simulated world lives on one thread.
        static FLAW: Cell<Option<Flaw>> = const { Cell::new(None) };
    }

    /// Whether the rule is broken on this thread.
    pub fn has(flaw: Flaw) -> bool {
        FLAW.get() == Some(flaw)
    }

    /// Breaks one rule, or none, on this thread.
    pub fn set(flaw: Option<Flaw>) {
        FLAW.set(flaw);
    }
}
