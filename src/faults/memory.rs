//! What a faulty engine shares between its calls: what to break, how often, and what passed by.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::stale::index_time;
use super::{Fault, OWN_CID};
use crate::model::{AckSet, Cid, ConvId, Epoch, Membership, Message, Seq, UserName};
use crate::persistence::{Append, AppendOutcome, EngineError, Persistence, Stored};

/// The honest engine, and what is needed to break its promises.
pub struct Shared {
    pub engine: Arc<dyn Persistence>,
    pub fault: Option<Fault>,
    every: u64,
    occasions: AtomicU64,
    names: AtomicU64,
    /// When something was sent last.
    pub last_sent: Mutex<Option<Instant>>,
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
    /// Answered and not stored yet, the newest last.
    pub owed: Vec<(Append, Stored)>,
    /// Answered, and never to be stored.
    pub overwritten: HashMap<(UserName, Cid), (String, Stored)>,
    /// Numbers that are gone.
    pub vanished: BTreeSet<Seq>,
    /// Numbers whose time is the highest of their moment.
    pub equal: BTreeSet<Seq>,
    /// Who sent, by their first messages.
    pub senders: Vec<UserName>,
    /// Everybody who was ever a member of the group.
    pub members: BTreeMap<UserName, Membership>,
    /// How far an index goes, and since when.
    pub indexed: Option<(Seq, u64)>,
    /// What is answered in place of what a user acknowledged.
    pub acked: HashMap<UserName, AckSet>,
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
        let (last_sent, memory) = (Mutex::default(), Mutex::default());
        Self { engine, fault, every: every.max(1), occasions, names, last_sent, memory }
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Counts an occasion; whether this is one to act at.
    pub fn acts(&self) -> bool {
        (self.occasion() + 1).is_multiple_of(self.every)
    }

    /// The number in the place of "every so-many-th".
    pub fn every(&self) -> u64 {
        self.every
    }

    /// How many occasions there were; counts one more.
    pub fn occasion(&self) -> u64 {
        self.occasions.fetch_add(1, Ordering::Relaxed)
    }

    /// How many occasions there were.
    pub fn occasions(&self) -> u64 {
        self.occasions.load(Ordering::Relaxed)
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

    /// The same for every conversation.
    pub fn with_each(&self, work: impl FnMut(&mut ConvMemory)) {
        self.lock().values_mut().for_each(work);
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
        let now = index_time();
        self.with(conv, |memory| {
            if memory.indexed.is_none_or(|(_, since)| since < now) {
                let newest = memory.newest.as_ref().map_or(Seq::ZERO, |(newest, _)| newest.seq);
                memory.indexed = Some((newest, now));
            }
            if !stored.dup && !message.late && message.ts == memory.highest_ts {
                memory.equal.insert(message.seq);
            }
            memory.highest_ts = memory.highest_ts.max(message.ts);
            if message.late && !stored.dup {
                memory.late.push(Arc::clone(message));
            }
            if !memory.senders.contains(&message.from) {
                memory.senders.push(message.from.clone());
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
