//! `check validity`: drives a server with real clients that do everything, records what they saw, and has it judged.

pub mod drive;
mod dump;
pub mod equivalence;
pub mod report;

pub use dump::take_dump;
