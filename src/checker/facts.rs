//! What a history says of the whole run: its sessions, its servers, what was broken, and how much there was.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::conversation::session_of;
use super::run::Run;
use super::verdict::Counts;
use crate::history::{Act, Asked, Event, Seen};
use crate::model::Durability;

/// Facts that belong to no conversation.
#[derive(Debug, Default)]
pub struct Facts {
    /// Line of the end of each session, and whether we ended it.
    pub closes: HashMap<u64, (u64, bool)>,
    /// What was broken, healed and counted.
    pub run: Run,
    /// Every durability class that a `connect` named.
    durabilities: BTreeSet<String>,
}

impl Facts {
    /// Takes a line in, in the order of the history; one that is an operation's or a push says nothing here.
    pub fn take(&mut self, event: &Event) {
        match &event.act {
            Act::Ok { seen: Seen::Connect { durability, .. } } => {
                if !self.durabilities.contains(durability) {
                    self.durabilities.insert(durability.clone());
                }
            }
            Act::Ok { seen: Seen::Close { by_us, .. } } => {
                self.closes.entry(session_of(event)).or_insert((event.index, *by_us));
            }
            _ => self.run.take(event),
        }
    }

    /// Whether a new epoch may lose messages: no node said that an answer survives a power cut.
    pub fn may_lose(&self) -> bool {
        let survives = |class: &String| {
            class.parse::<Durability>().is_ok_and(|class| class.satisfies(Durability::DISK))
        };
        !self.durabilities.iter().any(survives)
    }
}

/// Counts lines; those of one process must come in their order.
#[derive(Debug, Default)]
pub struct Counter {
    counts: Counts,
    /// By process and conversation: the same whether all of a history is counted at once or one conversation after the other.
    sending: HashSet<(u64, Option<String>)>,
}

impl Counter {
    /// Takes a line in.
    pub fn take(&mut self, event: &Event) {
        let counts = &mut self.counts;
        let who = || (event.process, event.conv.clone());
        counts.events += 1;
        match &event.act {
            Act::Invoke { asked } => {
                counts.operations += 1;
                // A process that begins another without an end of the first has left the first unknown.
                if matches!(asked, Asked::Send { .. }) && !self.sending.insert(who()) {
                    counts.sends_unknown += 1;
                }
            }
            Act::Ok { seen: Seen::Send { .. } } => {
                self.sending.remove(&who());
                counts.sends_ok += 1;
            }
            Act::Ok { seen: Seen::Read { .. } | Seen::Open(_) } => counts.reads_ok += 1,
            Act::Ok { seen: Seen::Recv { .. } } => counts.pushes += 1,
            Act::Fail { .. } if self.sending.remove(&who()) => counts.sends_failed += 1,
            Act::Info { .. } if self.sending.remove(&who()) => counts.sends_unknown += 1,
            _ => {}
        }
    }

    /// What there was; a send without an end is one of which nobody knows.
    pub fn finish(self) -> Counts {
        let mut counts = self.counts;
        counts.sends_unknown += self.sending.len() as u64;
        counts
    }
}
