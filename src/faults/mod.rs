//! Deliberate faults: what `check validity` is proven with. Only in builds with the feature `faults`.
//!
//! A server is given one [`Fault`] by `CHATCTL_FAULT`. Decorators break what passes through them, so
//! that the honest code knows nothing of faults; the one seam is where a room queues a push, because
//! a room repairs everything that goes wrong before it.
//!
//! Which faults there are, and what must be reported of each, is one table (`table.rs`).
//!
//! `CHATCTL_FAULT=crash-<point>:<n>` breaks nothing either: the process ends at the n-th time that it comes to a point ([`CrashPoint`]).
//! `CHATCTL_FAULT=burn-cpu:<µs>` breaks nothing and only costs ([`BurnCpu`]): what `bench compare` is calibrated with.

mod acks;
mod answers;
mod burn_cpu;
mod crash;
mod deliberate;
mod distribution;
mod early;
mod fault;
mod losses;
mod memory;
mod opens;
mod pages;
mod persistence;
mod pushes;
mod rosters;
mod sends;
mod shape;
mod stale;
mod table;
#[cfg(test)]
mod tests;

pub use burn_cpu::{BurnCpu, BurningDistribution};
pub use crash::{Crash, CrashPoint, crash_at};
pub use deliberate::{Deliberate, UnknownDeliberate};
pub use distribution::FaultyDistribution;
pub use fault::{Fault, UnknownFault};
pub use persistence::FaultyPersistence;
pub use pushes::{before_push, install};
pub use shape::Shape;

/// Content of what the faults store themselves begins like this in its `cid`; at most 64 characters.
const OWN_CID: &str = "fault-";
