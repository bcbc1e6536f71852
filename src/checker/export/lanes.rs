//! Processes: who has nothing outstanding.

use std::collections::HashMap;

/// The idle processes of each session.
#[derive(Debug, Default)]
pub struct Lanes {
    idle: HashMap<u64, Vec<u64>>,
    count: u64,
}

impl Lanes {
    /// A process of the session that is idle, or a new one.
    pub fn take(&mut self, session: u64) -> u64 {
        self.idle.get_mut(&session).and_then(Vec::pop).unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        })
    }

    /// Its operation ended for certain. A process that is never given back is never used again.
    pub fn give_back(&mut self, session: u64, process: u64) {
        self.idle.entry(session).or_default().push(process);
    }

    /// The session is over.
    pub fn close(&mut self, session: u64) {
        self.idle.remove(&session);
    }
}
