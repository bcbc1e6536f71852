//! The users of this node, and what of them the server does not know yet.
//!
//! The server is told states, not events: a user who comes and goes while it is away leaves nothing to tell. What is to be told is bounded by who
//! is here and who was here when it was last told.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use crate::model::{SessionId, UserName};

/// Users who are not here, who the server knows nothing of, and of whom something was guessed: so many are kept in mind until
/// the truth is told.
const GUESSED_MAX: usize = 10_000;
/// Forgotten users that the queue may have besides as many as are known.
const QUEUE_SLACK: usize = 1_024;

/// Every user of this node.
#[derive(Debug, Default)]
pub struct Table {
    users: HashMap<UserName, Entry>,
    /// Who may have something to tell, each once.
    queue: VecDeque<UserName>,
    /// The server is away.
    is_away: bool,
    /// Of how many the server has said that it has them, and of how many nothing is known.
    stored: usize,
    unknown: usize,
    /// Users who are only kept in mind because something was guessed.
    guessed_only: usize,
}

#[derive(Debug, Default)]
struct Entry {
    sessions: Vec<SessionId>,
    stored: Stored,
    is_queued: bool,
    /// Something was told that the server did not say.
    is_guessed: bool,
    waiters: Vec<oneshot::Sender<()>>,
}

/// What the server has of a user on this node.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stored {
    #[default]
    No,
    Yes,
    /// It was told, and did not answer.
    Unknown,
}

/// What becomes of a session that came or went.
#[derive(Debug)]
pub enum Next {
    /// The server knows what there is to know.
    Done,
    /// It is told next; an error when it did not answer.
    Wait(oneshot::Receiver<()>),
    /// It is away, and by all that is known here the user came (`true`) or went.
    Guess(bool),
}

/// A user whose state is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Who.
    pub user: UserName,
    /// Has a session on this node.
    pub here: bool,
    /// The answer is to be told in any case: an earlier one was lost, or something was guessed.
    pub tell: bool,
}

impl Entry {
    fn is_here(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// It is only here so that a guess is put right.
    fn is_guess_only(&self) -> bool {
        !self.is_here() && self.stored == Stored::No && self.is_guessed
    }

    fn is_settled(&self) -> bool {
        let wanted = if self.is_here() { Stored::Yes } else { Stored::No };
        self.stored == wanted && !self.is_guessed
    }
}

impl Table {
    /// Adds a session.
    pub fn add(&mut self, user: &UserName, session: &SessionId) -> Next {
        let entry = self.users.entry(user.clone()).or_default();
        let came = entry.sessions.is_empty();
        if self.is_away && entry.is_guess_only() {
            self.guessed_only -= 1;
        }
        if !entry.sessions.contains(session) {
            entry.sessions.push(session.clone());
        }
        self.next(user, came)
    }

    /// Removes a session.
    pub fn remove(&mut self, user: &UserName, session: &SessionId) -> Next {
        let Some(entry) = self.users.get_mut(user) else { return Next::Done };
        let was_here = entry.is_here();
        entry.sessions.retain(|kept| kept != session);
        let went = was_here && !entry.is_here();
        self.next(user, went)
    }

    fn next(&mut self, user: &UserName, is_edge: bool) -> Next {
        let Some(entry) = self.users.get_mut(user) else { return Next::Done };
        if self.is_away && is_edge {
            entry.is_guessed = true;
            if entry.is_guess_only() {
                if self.guessed_only == GUESSED_MAX {
                    self.users.remove(user);
                    self.shorten_queue();
                    return Next::Guess(false);
                }
                self.guessed_only += 1;
            }
        }
        if !entry.is_queued && !entry.is_settled() {
            entry.is_queued = true;
            self.queue.push_back(user.clone());
        }
        match (self.is_away, is_edge) {
            (true, true) => Next::Guess(entry.is_here()),
            (true, false) => Next::Done,
            (false, _) if entry.is_settled() => Next::Done,
            (false, _) => {
                let (waiter, receiver) = oneshot::channel();
                entry.waiters.retain(|waiter| !waiter.is_closed());
                entry.waiters.push(waiter);
                Next::Wait(receiver)
            }
        }
    }

    /// A wait was in vain: what was to be told is guessed now. `None`: another guess, or an answer, came first.
    pub fn guess(&mut self, user: &UserName) -> Option<bool> {
        let entry = self.users.get_mut(user)?;
        if entry.is_guessed || entry.is_settled() {
            return None;
        }
        entry.is_guessed = true;
        if !entry.is_queued {
            entry.is_queued = true;
            self.queue.push_back(user.clone());
        }
        Some(entry.is_here())
    }

    /// Whether a user has a session on this node.
    pub fn is_here(&self, user: &UserName) -> bool {
        self.users.get(user).is_some_and(Entry::is_here)
    }

    /// Takes up to `limit` users out to be told. [`Table::answered`] or [`Table::lost`] must follow before the next.
    pub fn take(&mut self, limit: usize) -> Vec<Told> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some(user) = self.queue.pop_front() else { break };
            let Some(entry) = self.users.get_mut(&user).filter(|entry| entry.is_queued) else {
                continue;
            };
            entry.is_queued = false;
            if entry.is_settled() {
                self.settle(&user);
                continue;
            }
            let tell = entry.is_guessed || entry.stored == Stored::Unknown;
            let here = entry.is_here();
            entry.is_guessed = false;
            self.set_stored(&user, Stored::Unknown);
            taken.push(Told { user, here, tell });
        }
        taken
    }

    /// The server did what it was told.
    pub fn answered(&mut self, told: &[Told]) {
        for Told { user, here, .. } in told {
            self.set_stored(user, if *here { Stored::Yes } else { Stored::No });
            let Some(entry) = self.users.get_mut(user) else { continue };
            if entry.is_settled() {
                self.settle(user);
            } else if !entry.is_queued {
                entry.is_queued = true;
                self.queue.push_back(user.clone());
            }
        }
    }

    /// The server may have done it or not.
    pub fn lost(&mut self, told: &[Told]) {
        for Told { user, .. } in told {
            let Some(entry) = self.users.get_mut(user) else { continue };
            if !entry.is_queued {
                entry.is_queued = true;
                self.queue.push_back(user.clone());
            }
        }
    }

    /// Nobody waits for the server any more, until [`Table::is_back`].
    pub fn is_gone(&mut self) {
        self.is_away = true;
        for user in &self.queue {
            if let Some(entry) = self.users.get_mut(user) {
                // Dropped: whoever waits guesses.
                entry.waiters.clear();
            }
        }
    }

    /// The server can be told again.
    pub fn is_back(&mut self) {
        self.is_away = false;
        self.guessed_only = 0;
    }

    /// The server has nothing of this node: everything is to be told.
    pub fn forget(&mut self) {
        (self.stored, self.unknown) = (0, 0);
        for entry in self.users.values_mut() {
            // Perhaps it had done what it was told, and nobody has heard of it.
            entry.is_guessed |= entry.stored == Stored::Unknown;
            entry.stored = Stored::No;
            entry.is_queued = !entry.is_settled();
        }
        self.users.retain(|_, entry| entry.is_queued);
        self.rebuild_queue();
    }

    /// How many users the server should have of this node; `None` where that is not known.
    pub fn stored_count(&self) -> Option<usize> {
        (self.unknown == 0).then_some(self.stored)
    }

    /// Whether nothing is to be told.
    pub fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }

    fn set_stored(&mut self, user: &UserName, stored: Stored) {
        let Some(entry) = self.users.get_mut(user) else { return };
        for (state, count) in
            [(Stored::Yes, &mut self.stored), (Stored::Unknown, &mut self.unknown)]
        {
            *count -= usize::from(entry.stored == state);
            *count += usize::from(stored == state);
        }
        entry.stored = stored;
    }

    /// Users who were forgotten while they were queued must not pile up.
    fn shorten_queue(&mut self) {
        if self.queue.len() > 2 * self.users.len() + QUEUE_SLACK {
            self.rebuild_queue();
        }
    }

    fn rebuild_queue(&mut self) {
        let queued = self.users.iter().filter(|(_, entry)| entry.is_queued);
        self.queue = queued.map(|(user, _)| user.clone()).collect();
    }

    fn settle(&mut self, user: &UserName) {
        let Some(entry) = self.users.get_mut(user) else { return };
        for waiter in entry.waiters.drain(..) {
            // Gone: it waited too long.
            let _ = waiter.send(());
        }
        if !entry.is_here() {
            self.users.remove(user);
        }
    }
}
