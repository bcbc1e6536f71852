//! What could not be published: per conversation the highest number, to be told when the bus is back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::wire::Note;
use super::{Hint, MessageHint};
use crate::model::{ConvId, Epoch, Place, Seq};

/// Conversations that are kept in mind; beyond, all nodes compare everything with the engine.
const CONVERSATIONS_MAX: usize = 10_000;

/// A message that was or was not told.
#[derive(Debug, Clone)]
pub struct Told {
    conv: ConvId,
    place: Arc<Place>,
    epoch: Epoch,
    head: Seq,
}

impl Told {
    /// What a hint tells of messages; `None` for what is best effort.
    pub fn of(hint: &Hint) -> Option<Self> {
        match hint {
            Hint::Message(MessageHint { conv, place, epoch, message, .. }) => Some(Self {
                conv: *conv,
                place: Arc::clone(place),
                epoch: epoch.clone(),
                head: message.seq,
            }),
            Hint::Head { conv, place, epoch, head } => Some(Self {
                conv: *conv,
                place: Arc::clone(place),
                epoch: epoch.clone(),
                head: *head,
            }),
            // A roster that was not told is asked for where a message names it, or where hints were missed.
            Hint::Regrouped { .. }
            | Hint::Acked { .. }
            | Hint::Presence { .. }
            | Hint::Became { .. }
            | Hint::Revoked(_)
            | Hint::Doubt => None,
        }
    }
}

/// Shared by whoever publishes and the task that does it.
#[derive(Debug, Default)]
pub struct Backlog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    heads: HashMap<ConvId, Told>,
    overflow: bool,
}

impl Backlog {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code under this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps in mind what was not told, or perhaps not.
    pub fn keep(&self, told: Told) {
        let mut state = self.state();
        let room = state.heads.len() < CONVERSATIONS_MAX;
        match state.heads.entry(told.conv) {
            Entry::Occupied(mut entry) => {
                let kept = entry.get_mut();
                // Of two lives of the store the one heard of last goes on.
                if kept.epoch != told.epoch || kept.head < told.head {
                    *kept = told;
                }
            }
            Entry::Vacant(entry) if room => drop(entry.insert(told)),
            Entry::Vacant(_) => state.overflow = true,
        }
    }

    /// Takes up to `limit` notes out; none when nothing is to be told.
    pub fn take(&self, limit: usize) -> Vec<Note> {
        let mut state = self.state();
        if std::mem::take(&mut state.overflow) {
            // It says everything that the heads would.
            state.heads.clear();
            return vec![Note::Gap];
        }
        let convs: Vec<ConvId> = state.heads.keys().take(limit).copied().collect();
        let told = convs.iter().filter_map(|conv| state.heads.remove(conv));
        let note =
            |Told { conv, place, epoch, head }| Note::Hint(Hint::Head { conv, place, epoch, head });
        told.map(note).collect()
    }

    /// What was taken out was not told after all.
    pub fn put_back(&self, notes: Vec<Note>) {
        for note in notes {
            match note {
                Note::Hint(hint) => {
                    if let Some(told) = Told::of(&hint) {
                        self.keep(told);
                    }
                }
                Note::Gap => self.state().overflow = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ChannelName;

    fn told(name: &str, epoch: &str, head: u64) -> Told {
        let place = Arc::new(Place::Channel(ChannelName::new(name).unwrap()));
        let (conv, epoch) = (place.conv_id(), Epoch::new(epoch).unwrap());
        Told { conv, place, epoch, head: Seq(head) }
    }

    fn heads(notes: &[Note]) -> Vec<(String, u64)> {
        let head = |note: &Note| match note {
            Note::Hint(Hint::Head { epoch, head, .. }) => (epoch.to_string(), head.0),
            other => panic!("{other:?}"),
        };
        notes.iter().map(head).collect()
    }

    #[test]
    fn the_highest_number_of_a_conversation_is_kept() {
        let backlog = Backlog::default();
        for head in [2, 5, 3] {
            backlog.keep(told("c", "e", head));
        }
        let notes = backlog.take(10);
        assert_eq!(heads(&notes), [("e".to_owned(), 5)]);
        backlog.keep(told("c", "e", 4));
        backlog.put_back(notes);
        assert_eq!(heads(&backlog.take(10)), [("e".to_owned(), 5)]);
        backlog.keep(told("c", "e", 9));
        backlog.keep(told("c", "f", 1));
        assert_eq!(heads(&backlog.take(10)), [("f".to_owned(), 1)], "another life of the store");
        assert!(backlog.take(10).is_empty());
    }

    #[test]
    fn more_conversations_than_are_kept_are_a_gap() {
        let backlog = Backlog::default();
        for number in 0..CONVERSATIONS_MAX {
            backlog.keep(told(&format!("c{number}"), "e", 1));
        }
        backlog.keep(told("c0", "e", 2));
        assert_eq!(backlog.take(10).len(), 10, "known ones are no more");
        for number in 0..20 {
            backlog.keep(told(&format!("d{number}"), "e", 1));
        }
        assert_eq!(backlog.take(10), [Note::Gap]);
        assert!(backlog.take(10).is_empty());
    }
}
