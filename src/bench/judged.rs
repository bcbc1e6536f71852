//! A run that was recorded and judged.

use crate::checker::verdict::Verdict;
use crate::history::Event;

/// What was recorded, and what it proves.
#[derive(Debug)]
pub struct Judged {
    /// What happened.
    pub events: Vec<Event>,
    /// Of the checker.
    pub verdict: Verdict,
}
