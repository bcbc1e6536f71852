//! The newest messages of conversations in use, in memory: what most reads ask for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use foldhash::HashMap;
use foldhash::fast::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::Cache;

use super::codec::Record;
use super::table_log::{TableLog, stored_acks};
use super::tables::{Miss, TableError, Tables, View};
use crate::model::{AckSet, ConvId, LIMITS, Message, Order, Roster, Seq, UserName};
use crate::persistence::log::{Each, Log, PageBuilder};
use crate::persistence::{Page, RangeQuery};

/// Messages that a ring holds at most.
const RING_MESSAGES_MAX: usize = 128;
/// Content bytes that a ring holds at most, except that it always holds one message.
const RING_BYTES_MAX: usize = 64 * 1024;
/// Acknowledgements that a conversation keeps in memory; a channel may have many more readers.
const ACKS_MAX: usize = 256;

/// One conversation's newest messages, contiguous in `seq` up to the head.
#[derive(Debug, Default)]
pub struct Recent {
    head: Seq,
    ring: VecDeque<Record>,
    ring_bytes: usize,
    acks: HashMap<UserName, Option<AckSet>>,
    roster: Arc<Roster>,
}

impl Recent {
    fn load(log: &TableLog<'_>) -> Result<Self, TableError> {
        let mut recent = Self { head: log.head(), roster: log.roster()?, ..Self::default() };
        for record in log.newest_records(RING_MESSAGES_MAX)? {
            recent.ring_bytes += record.message.content.len();
            recent.ring.push_front(record);
            if recent.ring_bytes > RING_BYTES_MAX {
                break;
            }
        }
        Ok(recent)
    }

    /// Adds the message after the head; any other is already here or not yet.
    fn push(&mut self, record: &Record) {
        if record.message.seq != self.head.next() {
            return;
        }
        self.head = record.message.seq;
        self.ring_bytes += record.message.content.len();
        self.ring.push_back(record.clone());
        while self.ring.len() > RING_MESSAGES_MAX
            || (self.ring_bytes > RING_BYTES_MAX && self.ring.len() > 1)
        {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.message.content.len();
        }
    }

    fn remember_acks(&mut self, user: UserName, acked: Option<AckSet>) {
        if self.acks.len() >= ACKS_MAX && !self.acks.contains_key(&user) {
            self.acks.clear();
        }
        self.acks.insert(user, acked);
    }

    /// Whether a user's acknowledgement has a start; only of users that were read in.
    pub fn is_joined(&self, user: &UserName) -> bool {
        matches!(self.acks.get(user), Some(Some(_)))
    }

    /// Number and time by which the next message is judged: the head and the highest `ts`.
    pub fn tip(&self) -> (Seq, u64) {
        (self.head, self.ring.back().map_or(0, Record::high_ts))
    }

    /// Who is in the group.
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster)
    }

    /// Whether messages above `after` are all here.
    fn holds_after(&self, after: Seq) -> bool {
        after >= self.head
            || self.ring.front().is_some_and(|first| first.message.seq <= after.next())
    }

    /// The highest `ts` among messages that are not here; `None` when all are.
    fn floor_ts(&self) -> Option<u64> {
        let first = self.ring.front()?;
        (first.message.seq > Seq(1)).then_some(first.high_ts_before)
    }
}

impl Log for Recent {
    type Entry = Arc<Message>;
    type Miss = Miss;

    fn head(&self) -> Seq {
        self.head
    }

    fn acked(&self, user: &UserName) -> Result<Option<AckSet>, Miss> {
        self.acks.get(user).cloned().ok_or(Miss::Elsewhere)
    }

    fn after(&self, after: Seq, each: Each<'_, Arc<Message>>) -> Result<(), Miss> {
        if !self.holds_after(after) {
            return Err(Miss::Elsewhere);
        }
        // Numbers in the ring are contiguous: the first wanted one is at a known place.
        let skip =
            self.ring.front().map_or(0, |first| after.next().0.saturating_sub(first.message.seq.0));
        for record in self.ring.iter().skip(skip as usize) {
            if !each(&record.message) {
                break;
            }
        }
        Ok(())
    }

    fn late_after(&self, after: Seq, each: Each<'_, Arc<Message>>) -> Result<(), Miss> {
        self.after(after, &mut |message| !message.late || each(message))
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, Miss> {
        let mut positions: Vec<_> = self
            .ring
            .iter()
            .enumerate()
            .map(|(at, record)| (record.message.position(), at))
            .filter(|&((ts, seq), _)| {
                (query.from..=query.to).contains(&ts)
                    && query.start.is_none_or(|start| match query.order {
                        Order::Asc => (ts, seq) > start,
                        Order::Desc => (ts, seq) < start,
                    })
            })
            .collect();
        positions.sort_unstable();
        if query.order == Order::Desc {
            positions.reverse();
        }
        // What is elsewhere has a `ts` of at most the floor, and a lower `seq` than anything here: messages
        // here from the floor on are newer than all of it.
        let floor_ts = self.floor_ts();
        let is_above_floor = |ts: u64| floor_ts.is_none_or(|floor| ts >= floor);
        let starts_above_floor = floor_ts.is_none_or(|floor| {
            query.order == Order::Asc
                && (query.from > floor || query.start.is_some_and(|(ts, _)| ts > floor))
        });
        let mut page = PageBuilder::new(query.limit, LIMITS.page_bytes_max);
        for &((ts, _), at) in &positions {
            let known = starts_above_floor || (query.order == Order::Desc && is_above_floor(ts));
            if !known {
                return Err(Miss::Elsewhere);
            }
            if !page.add(&self.ring[at].message) {
                return Ok(page.finish().0);
            }
        }
        // Ran out of messages here: complete only if nothing elsewhere can be in the range.
        let complete = starts_above_floor || floor_ts.is_some_and(|floor| query.from > floor);
        if complete { Ok(page.finish().0) } else { Err(Miss::Elsewhere) }
    }
}

/// One conversation's place in the cache: empty until somebody has read it in.
#[derive(Debug, Default)]
struct Slot(Mutex<Option<Recent>>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Recent>> {
        // A panic while reading in leaves `None`; pushes cannot panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest messages of the conversations that were used last.
///
/// **Freshness.** A slot is put into the cache *before* a view of the tables is taken to fill it, and the
/// committer notes a batch here after it is visible in the tables and before it is answered. So
/// either the view holds the batch, or the committer finds the slot and waits for its lock.
pub struct Recents {
    slots: Cache<ConvId, Arc<Slot>, UnitWeighter, RandomState>,
}

impl Recents {
    /// Room for as many conversations as fit `bytes_max` with full rings.
    pub fn new(bytes_max: u64) -> Self {
        let slots_max = (bytes_max as usize / RING_BYTES_MAX).max(16);
        let weighter = UnitWeighter;
        let hasher = RandomState::default();
        Self {
            slots: Cache::with(slots_max, slots_max as u64, weighter, hasher, Default::default()),
        }
    }

    /// Reads from memory alone; never waits for a disk. `Elsewhere` when it is not there.
    pub fn peek<T>(
        &self,
        conv: ConvId,
        read: impl FnOnce(&Recent) -> Result<T, Miss>,
    ) -> Result<T, Miss> {
        let slot = self.slots.get(&conv).ok_or(Miss::Elsewhere)?;
        let guard = match slot.0.try_lock() {
            Ok(guard) => guard,
            // Its holder may be reading the disk; a runtime thread must not wait for that.
            Err(TryLockError::WouldBlock) => return Err(Miss::Elsewhere),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        read(guard.as_ref().ok_or(Miss::Elsewhere)?)
    }

    /// Reads the conversation in if it is not here, with the acknowledgements of `users`, and uses it. May read the disk.
    pub fn load<T>(
        &self,
        tables: &dyn Tables,
        conv: ConvId,
        users: &[&UserName],
        read: impl FnOnce(&Recent) -> T,
    ) -> Result<T, TableError> {
        let slot = match self.slots.get_value_or_guard(&conv, None) {
            quick_cache::sync::GuardResult::Value(slot) => slot,
            quick_cache::sync::GuardResult::Guard(guard) => {
                let slot = Arc::new(Slot::default());
                // Fails only when the guard was removed meanwhile: then nobody shares this slot.
                let _ = guard.insert(Arc::clone(&slot));
                slot
            }
            quick_cache::sync::GuardResult::Timeout => Arc::new(Slot::default()),
        };
        let mut guard = slot.lock();
        let holds = |recent: &Recent| users.iter().all(|user| recent.acks.contains_key(*user));
        if !guard.as_ref().is_some_and(holds) {
            let view = tables.view();
            let log = TableLog::new(&*view, conv)?;
            // The view may hold a batch that the committer has not noted here yet: acknowledgements of that moment
            // beside a ring of an earlier one would reach above its head.
            if guard.as_ref().is_none_or(|recent| recent.head != log.head()) {
                *guard = Some(Recent::load(&log)?);
            }
            if let Some(recent) = guard.as_mut() {
                for user in users {
                    if !recent.acks.contains_key(*user) {
                        let acked = stored_acks(&*view, conv, user)?;
                        recent.remember_acks((*user).clone(), acked);
                    }
                }
            }
        }
        let recent = guard.get_or_insert_default();
        Ok(read(recent))
    }

    /// A view of the tables, and what is here brought up to it: the committer may not have noted its batch here yet,
    /// and what was read from the tables must not be missing from the next read from memory.
    pub fn view<'tables>(
        &self,
        tables: &'tables dyn Tables,
        conv: ConvId,
        users: &[&UserName],
    ) -> Result<Box<dyn View + 'tables>, TableError> {
        let slot = self.slots.get(&conv);
        let mut guard = slot.as_ref().map(|slot| slot.lock());
        // Under the lock: it cannot be older than what is here.
        let view = tables.view();
        if let Some(recent) = guard.as_mut().and_then(|guard| guard.as_mut()) {
            let log = TableLog::new(&*view, conv)?;
            if recent.head != log.head() {
                *recent = Recent::load(&log)?;
            }
            for user in users {
                let acked = stored_acks(&*view, conv, user)?;
                recent.remember_acks((*user).clone(), acked);
            }
        }
        Ok(view)
    }

    /// Notes a message that is now visible in the tables.
    pub fn note_message(&self, conv: ConvId, record: &Record) {
        self.note(conv, |recent| recent.push(record));
    }

    /// Notes an acknowledgement that is now visible in the tables.
    pub fn note_acks(&self, conv: ConvId, user: &UserName, acked: &AckSet) {
        self.note(conv, |recent| recent.remember_acks(user.clone(), Some(acked.clone())));
    }

    /// Notes a roster that is now visible in the tables.
    pub fn note_roster(&self, conv: ConvId, roster: &Arc<Roster>) {
        self.note(conv, |recent| recent.roster = Arc::clone(roster));
    }

    fn note(&self, conv: ConvId, change: impl FnOnce(&mut Recent)) {
        if let Some(slot) = self.slots.get(&conv)
            && let Some(recent) = slot.lock().as_mut()
        {
            change(recent);
        }
    }
}
