//! What a faulty engine shares between its calls: what to break, how often, and what passed by.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{Fault, OWN_CID};
use crate::model::{Cid, ConvId, Epoch, Message, Seq, UserName};
use crate::persistence::{Append, AppendOutcome, EngineError, Persistence, Stored};

/// The honest engine, and what is needed to break its promises.
pub struct Shared {
    pub engine: Arc<dyn Persistence>,
    pub fault: Option<Fault>,
    every: u64,
    occasions: AtomicU64,
    names: AtomicU64,
    memory: Mutex<HashMap<ConvId, ConvMemory>>,
}

/// What passed by in one conversation.
#[derive(Default)]
pub struct ConvMemory {
    /// The message with the highest number, and its epoch.
    pub newest: Option<(Arc<Message>, Epoch)>,
    pub highest_ts: u64,
    /// Those that are flagged as late.
    pub late: Vec<Arc<Message>>,
    /// Names of copies that are shown as the names they copy.
    pub aliases: HashMap<Cid, Cid>,
    /// Names that were sent.
    pub known: HashSet<(UserName, Cid)>,
    pub in_flight: usize,
    /// Answered and not stored yet.
    pub owed: Option<(Append, Stored)>,
    /// Sends that wait for the next of their sender.
    pub held: HashMap<UserName, Held>,
}

/// A send that waits, and whom to tell.
pub struct Held {
    pub append: Append,
    pub answer: oneshot::Sender<Result<AppendOutcome, EngineError>>,
}

impl Shared {
    pub fn new(engine: Arc<dyn Persistence>, fault: Option<Fault>, every: u64) -> Self {
        let (occasions, names) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { engine, fault, every: every.max(1), occasions, names, memory: Mutex::default() }
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Counts an occasion; whether this is one to act at.
    pub fn acts(&self) -> bool {
        (self.occasions.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.every)
    }

    /// Whether this number is one to act at: the same ones in every reply. Never the last of a page of
    /// a round length, whose cursor must stay whole.
    pub fn picks(&self, seq: Seq) -> bool {
        seq.0 % self.every == self.every / 4
    }

    /// The memory of a conversation, under its lock.
    pub fn with<T>(&self, conv: ConvId, work: impl FnOnce(&mut ConvMemory) -> T) -> T {
        work(self.lock().entry(conv).or_default())
    }

    /// The newest message of another conversation.
    pub fn of_another(&self, conv: ConvId) -> Option<Arc<Message>> {
        let memory = self.lock();
        let others = memory.iter().filter(|(other, _)| **other != conv);
        others
            .filter_map(|(_, memory)| memory.newest.as_ref())
            .map(|(newest, _)| newest.clone())
            .next()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConvId, ConvMemory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was stored.
    pub fn note(&self, conv: ConvId, stored: &Stored) {
        let message = &stored.message;
        self.with(conv, |memory| {
            memory.highest_ts = memory.highest_ts.max(message.ts);
            if message.late && !stored.dup {
                memory.late.push(Arc::clone(message));
            }
            if memory.newest.as_ref().is_none_or(|(newest, _)| newest.seq < message.seq) {
                memory.newest = Some((Arc::clone(message), stored.epoch.clone()));
            }
        });
    }

    /// The same message under a name of our own; where the content says its name, it says the new one.
    pub fn renamed(&self, append: &Append) -> Append {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let cid = Cid::new(&format!("{OWN_CID}{number}"))
            .unwrap_or_else(|_| unreachable!("it is short and visible"));
        let content = append.content.replace(append.cid.as_str(), cid.as_str());
        Append { cid, content, ..append.clone() }
    }
}
