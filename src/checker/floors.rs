//! What was certainly stored when an operation began: the highest numbers that anybody knew of.

use std::collections::HashMap;

use super::conversation::{Conversation, Moment};
use crate::history::Seen;

/// The highest numbers known at one moment; 0 for none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Floors {
    /// To anybody, by answers, items or heads.
    pub all: u64,
    /// By an answered send of anybody.
    pub answered: u64,
    /// By an answered send of the same user.
    pub own: u64,
    /// By what the same session saw.
    pub session: u64,
    /// By what the same user saw, in any session.
    pub user: u64,
}

/// The floors at the begin of each operation.
#[derive(Debug)]
pub struct FloorsAt {
    begun: Vec<Floors>,
}

impl FloorsAt {
    /// Walks the conversation once.
    pub fn of(conversation: &Conversation<'_>) -> Self {
        let mut begun = vec![Floors::default(); conversation.operations.len()];
        let (mut all, mut answered) = (0, 0);
        let mut own: HashMap<&str, u64> = HashMap::new();
        let mut by_session: HashMap<u64, u64> = HashMap::new();
        let mut by_user: HashMap<&str, u64> = HashMap::new();
        for moment in &conversation.moments {
            let (session, user, seen) = match *moment {
                Moment::Begun(number) => {
                    let operation = &conversation.operations[number];
                    begun[number] = Floors {
                        all,
                        answered,
                        own: own.get(operation.user()).copied().unwrap_or(0),
                        session: by_session.get(&operation.session()).copied().unwrap_or(0),
                        user: by_user.get(operation.user()).copied().unwrap_or(0),
                    };
                    continue;
                }
                Moment::Ended(number) => {
                    let operation = &conversation.operations[number];
                    let seen = match operation.seen() {
                        Some(Seen::Send { seq, .. }) => {
                            answered = answered.max(seq.0);
                            all = all.max(seq.0);
                            let own = own.entry(operation.user()).or_default();
                            *own = seq.0.max(*own);
                            continue;
                        }
                        Some(Seen::Read { items, .. }) => items.iter().map(|item| item.seq.0).max(),
                        Some(Seen::Open(seen)) => {
                            let items = seen.items.iter().chain(seen.late.iter().flatten());
                            items.map(|item| item.seq.0).max().max(Some(seen.head.0))
                        }
                        _ => None,
                    };
                    (operation.session(), operation.user(), seen)
                }
                Moment::Pushed(event, _, item) => {
                    let user = event.user.as_deref().unwrap_or("");
                    (super::conversation::session_of(event), user, Some(item.seq.0))
                }
                Moment::Listed(..) | Moment::Reset(_) => continue,
            };
            let Some(seen) = seen else { continue };
            all = all.max(seen);
            let session = by_session.entry(session).or_default();
            *session = seen.max(*session);
            let user = by_user.entry(user).or_default();
            *user = seen.max(*user);
        }
        Self { begun }
    }

    /// At the begin of operation `number`.
    pub fn at(&self, number: usize) -> Floors {
        self.begun[number]
    }
}
