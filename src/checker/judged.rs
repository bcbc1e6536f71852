//! What all families of rules look at.

use std::collections::{BTreeSet, HashSet};

use super::anomaly::Anomaly;
use super::conversation::{Conversation, Operation};
use super::findings::Findings;
use super::floors::{Floors, FloorsAt};
use super::log::Log;
use super::sent::SentIndex;

/// One conversation under its one epoch, and what is known of it.
#[derive(Debug)]
pub struct Judged<'c, 'a> {
    /// Its history.
    pub conversation: &'c Conversation<'a>,
    /// Its order.
    pub log: &'c Log<'a>,
    /// Its sends.
    pub sent: &'c SentIndex<'a>,
    /// What was known when.
    pub floors: &'c FloorsAt,
    /// Messages that the final reads miss: reported as lost, and not again by other names.
    pub lost: &'c HashSet<u64>,
}

impl Judged<'_, '_> {
    /// Whether conclusions may be drawn from this number.
    pub fn is_clear(&self, seq: u64) -> bool {
        !self.lost.contains(&seq) && !self.log.disputed.contains(&seq)
    }

    /// A reading that looks as if it had been done too early: `missing` are messages stored
    /// before it began. The name says who should have known best.
    pub fn report_stale(
        &self,
        operation: &Operation<'_>,
        floors: Floors,
        missing: &BTreeSet<u64>,
        findings: &mut Findings,
    ) {
        let (Some(&first), Some(&last)) = (missing.first(), missing.last()) else { return };
        let user = operation.user();
        let is_own = |seq: &&u64| {
            **seq <= floors.own && self.log.slots.get(seq).is_some_and(|slot| slot.from == user)
        };
        let own = missing.iter().find(is_own);
        let (anomaly, witness, whose) = match own {
            Some(own) => (Anomaly::Ryw, *own, "its user had sent, and been answered"),
            None if first <= floors.session => {
                (Anomaly::Nonmonotonic, first, "its session had seen")
            }
            None => (Anomaly::Causal, first, "was known before it began"),
        };
        let line = self.log.slots.get(&witness).map_or(operation.begun_at(), |slot| slot.line);
        let lines = [line, operation.begun_at(), operation.ended_at()];
        findings.add(anomaly, self.conversation.name, &lines, || {
            format!("a reading of {user} misses seq {first}..={last}; seq {witness} {whose}")
        });
    }
}
