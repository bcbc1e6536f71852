//! What clients did and saw, line by line: the only thing that the checker knows.
//!
//! A history is JSON lines. An operation is an `invoke` and, later, its `ok`, `fail` (it certainly
//! did not and will not happen) or `info` (nobody knows). A process has one operation outstanding
//! and is not used again after an `info`. What arrives by itself (`recv`), connections and
//! the acts of a nemesis are single `info`-less lines of type `ok`.

mod client;
#[cfg(test)]
mod client_tests;
mod dumped;
mod event;
mod file;
mod item;
mod recorder;
mod rules;
mod seen;
mod session_log;
#[cfg(test)]
pub(crate) mod simulated;

pub use client::{
    FINAL_PAGES_MAX, RecordedAnswer, RecordedClient, TOO_FAST_MAX, asked_of_open, asked_of_send,
    read_of,
};
pub use dumped::{Dumped, hash_chain};
pub use event::*;
pub use file::{HistoryError, Sequence, events, read_history, write_event};
pub use item::Item;
pub use recorder::Recorder;
pub use rules::check_rules;
pub use session_log::{Operation, SessionLog};
