//! What a pair did, and the sum over all pairs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::correctness::Correctness;
use crate::client::ClientError;

/// Most texts about broken pairs that are kept; the counts are always complete.
const BROKEN_SHOWN_MAX: usize = 5;

/// What a pair did, or all pairs together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages handed to a connection.
    pub begun: u64,
    /// Messages that were due and never were: their pair ended, or was stopped.
    pub dropped: u64,
    /// Messages answered `ok`.
    pub sent: u64,
    /// Of those, stored as late.
    pub late: u64,
    /// Sends that were repeated.
    pub retries: u64,
    /// Messages given up after the last repetition.
    pub given_up: u64,
    /// Pages read.
    pub reads: u64,
    /// Pages that could not be read.
    pub reads_failed: u64,
    /// Connections that were lost and made again.
    pub reconnects: u64,
    /// The longest time from one to the next.
    pub away_longest: Duration,
    /// Errors by code, each answer and each try to connect again counted.
    pub errors: BTreeMap<String, u64>,
    /// Pairs that could not go on.
    pub broken_pairs: u64,
    /// Why, of the first few.
    pub broken: Vec<String>,
    /// What was wrong.
    pub correctness: Correctness,
}

impl Tally {
    /// Counts an error under its code.
    pub fn error(&mut self, error: &ClientError) {
        *self.errors.entry(error.label()).or_insert(0) += 1;
    }

    /// A pair could not go on.
    pub fn broke(&mut self, why: String) {
        self.broken_pairs += 1;
        if self.broken.len() < BROKEN_SHOWN_MAX {
            self.broken.push(why);
        }
    }

    /// Adds what another pair did.
    pub fn add(&mut self, other: Self) {
        self.begun += other.begun;
        self.dropped += other.dropped;
        self.sent += other.sent;
        self.late += other.late;
        self.retries += other.retries;
        self.given_up += other.given_up;
        self.reads += other.reads;
        self.reads_failed += other.reads_failed;
        self.reconnects += other.reconnects;
        self.away_longest = self.away_longest.max(other.away_longest);
        for (code, count) in other.errors {
            *self.errors.entry(code).or_insert(0) += count;
        }
        self.broken_pairs += other.broken_pairs;
        self.broken.extend(other.broken);
        self.broken.truncate(BROKEN_SHOWN_MAX);
        self.correctness.add(&other.correctness);
    }

    /// Whether all that was asked for could be done, so that a clean result means something.
    pub fn is_complete(&self) -> bool {
        self.broken_pairs == 0 && self.given_up == 0 && self.reads_failed == 0 && self.sent > 0
    }
}
