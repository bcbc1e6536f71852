//! What a batch decides: sequence numbers, lateness, duplicates, acknowledgements.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::codec::{Record, decode_seq, encode_acks, encode_place, encode_roster, write_message};
use super::keys::{self, Table};
use super::recent::Recents;
use super::request::{AckDecision, Answer, GroupDecision};
use super::table_log::{stored_acks, stored_message};
use super::tables::{Batch, TableError, Tables, View};
use crate::model::{AckSet, ConvId, Epoch, LIMITS, Message, Place, Roster, Seq, UserName};
use crate::persistence::{
    AckRequest, Append, AppendOutcome, EngineError, Entry, GroupRequest, Restored, RestoredMember,
    Stored,
};

/// The order of [`Table::Mine`] is a time in µs, and this many places in each.
pub const ORDERS_PER_US: u64 = 1_000;

/// What one batch is made in. The next one has its room again: to take and give back hundreds of KiB for each costs more than to fill them.
#[derive(Debug, Default)]
pub struct Draft {
    /// The writes.
    pub batch: Batch,
    /// What to note once they are visible.
    pub notes: Notes,
    tips: HashMap<ConvId, (Seq, u64)>,
    cids: HashMap<Vec<u8>, Arc<Message>>,
    acks: HashMap<Vec<u8>, AckSet>,
    mine: HashSet<Vec<u8>>,
    rosters: HashMap<ConvId, Arc<Roster>>,
}

impl Draft {
    /// Nothing is in it any more.
    pub fn clear(&mut self) {
        let Self { batch, notes, tips, cids, acks, mine, rosters } = self;
        batch.clear();
        notes.clear();
        tips.clear();
        cids.clear();
        acks.clear();
        mine.clear();
        rosters.clear();
    }
}

/// Builds one batch from requests in their order; each sees the effects of those before it.
pub struct BatchBuilder<'a> {
    tables: &'a dyn Tables,
    recents: &'a Recents,
    epoch: &'a Epoch,
    storage_full: Option<String>,
    unix_us: &'a dyn Fn() -> u64,
    view: Box<dyn View + 'a>,
    draft: &'a mut Draft,
}

impl<'a> BatchBuilder<'a> {
    /// Starts a batch in `draft`, which is empty; with `storage_full` nothing new is taken. `unix_us` is the wall clock.
    pub fn new(
        draft: &'a mut Draft,
        tables: &'a dyn Tables,
        recents: &'a Recents,
        epoch: &'a Epoch,
        storage_full: Option<String>,
        unix_us: &'a dyn Fn() -> u64,
    ) -> Self {
        Self { tables, recents, epoch, storage_full, unix_us, view: tables.view(), draft }
    }

    fn check_space(&self) -> Result<(), EngineError> {
        match &self.storage_full {
            Some(shortage) => Err(EngineError::StorageFull(shortage.clone())),
            None => Ok(()),
        }
    }

    /// Head and highest `ts`, with what this batch adds.
    fn tip(&mut self, conv: ConvId) -> Result<(Seq, u64), TableError> {
        if let Some(tip) = self.draft.tips.get(&conv) {
            return Ok(*tip);
        }
        let tip = self.recents.load(self.tables, conv, &[], |recent| recent.tip())?;
        self.draft.tips.insert(conv, tip);
        Ok(tip)
    }

    /// Decides one send.
    pub fn append(&mut self, append: Append) -> Result<AppendOutcome, EngineError> {
        let restored = append.restored;
        if let Some(restored) = restored {
            return self.restore(append, restored);
        }
        let Append { conv, place, sender, cid, kind, content, ts, future_skew_ms_max, .. } = append;
        let roster = match *place {
            Place::Group(_) => self.roster(conv).map_err(unread)?,
            Place::Direct(..) | Place::Channel(_) => Arc::default(),
        };
        if matches!(*place, Place::Group(_)) && roster.membership(&sender).is_none() {
            return Ok(AppendOutcome::NotMember);
        }
        let roster = roster.version;
        let dedupe_key = keys::dedupe(conv, &sender, &cid);
        if let Some(first) = self.first_of(conv, &dedupe_key).map_err(unread)? {
            let same = first.kind == kind && first.content == content;
            let stored = || Stored {
                message: first,
                dup: true,
                epoch: self.epoch.clone(),
                became: Vec::new(),
                roster,
            };
            return Ok(if same {
                AppendOutcome::Stored(stored())
            } else {
                AppendOutcome::Conflict
            });
        }
        let at = (self.unix_us)() / 1_000;
        if ts.is_some_and(|ts| ts > at.saturating_add(future_skew_ms_max)) {
            return Ok(AppendOutcome::TsInFuture);
        }
        self.check_space()?;
        let (head, high_ts) = self.tip(conv).map_err(unread)?;
        let seq = head.next();
        let ts = ts.unwrap_or_else(|| at.max(high_ts));
        let late = ts < high_ts;
        let message = Arc::new(Message { seq, from: sender, cid, kind, content, ts, at, late });

        let mut became = Vec::new();
        if head == Seq::ZERO {
            for user in place.participants() {
                if self.make_mine(conv, &place, user).map_err(unread)? {
                    became.push(user.clone());
                }
            }
        }
        if matches!(*place, Place::Direct(..))
            && !self.is_joined(conv, &message.from).map_err(unread)?
        {
            // Who writes was here as if by an open: the acknowledgement starts at 0.
            self.put_acks(conv, &message.from, AckSet::default());
        }
        self.put_message(conv, &message, high_ts, dedupe_key);
        let epoch = self.epoch.clone();
        Ok(AppendOutcome::Stored(Stored { message, dup: false, epoch, became, roster }))
    }

    /// Stores a message as it was elsewhere.
    fn restore(
        &mut self,
        append: Append,
        restored: Restored,
    ) -> Result<AppendOutcome, EngineError> {
        let Append { conv, sender, cid, kind, content, ts, .. } = append;
        self.check_space()?;
        let (head, high_ts) = self.tip(conv).map_err(unread)?;
        let Restored { seq, at } = restored;
        if seq != head.next() {
            return Ok(AppendOutcome::NotNext);
        }
        let ts = ts.unwrap_or_else(|| at.max(high_ts));
        let late = ts < high_ts;
        let dedupe_key = keys::dedupe(conv, &sender, &cid);
        let message = Arc::new(Message { seq, from: sender, cid, kind, content, ts, at, late });
        self.put_message(conv, &message, high_ts, dedupe_key);
        let (epoch, became) = (self.epoch.clone(), Vec::new());
        Ok(AppendOutcome::Stored(Stored { message, dup: false, epoch, became, roster: 0 }))
    }

    fn put_message(
        &mut self,
        conv: ConvId,
        message: &Arc<Message>,
        high_ts: u64,
        dedupe_key: Vec<u8>,
    ) {
        let (seq, ts) = (message.seq, message.ts);
        let record = Record { message: Arc::clone(message), high_ts_before: high_ts };
        let batch = &mut self.draft.batch;
        let write = |bytes: &mut Vec<u8>| write_message(&record, bytes);
        batch.insert_with(Table::Messages, keys::by_seq(conv, seq), write);
        batch.insert(Table::ByTime, keys::by_time(conv, (ts, seq)), []);
        if message.late {
            batch.insert(Table::Late, keys::by_seq(conv, seq), message.from.as_str());
        }
        batch.insert(Table::Dedupe, &dedupe_key, seq.0.to_be_bytes());
        self.draft.tips.insert(conv, (seq, high_ts.max(ts)));
        self.draft.cids.insert(dedupe_key, Arc::clone(message));
        self.draft.notes.records.push((conv, record));
    }

    /// Who is in a group, with what this batch changes.
    fn roster(&mut self, conv: ConvId) -> Result<Arc<Roster>, TableError> {
        if let Some(roster) = self.draft.rosters.get(&conv) {
            return Ok(Arc::clone(roster));
        }
        let roster = self.recents.load(self.tables, conv, &[], |recent| recent.roster())?;
        self.draft.rosters.insert(conv, Arc::clone(&roster));
        Ok(roster)
    }

    /// Decides a change of a group.
    pub fn regroup(&mut self, request: GroupRequest) -> Result<GroupDecision, EngineError> {
        let GroupRequest { conv, place, by, act } = request;
        let roster = self.roster(conv).map_err(unread)?;
        let (head, _) = self.tip(conv).map_err(unread)?;
        let changed = match roster.after(&by, &act, (head, self.epoch)) {
            Ok(Some(changed)) => Arc::new(changed),
            Ok(None) => return Ok(Ok((roster, None))),
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.check_space()?;
        let mut became = None;
        for user in changed.joined_since(&roster) {
            if self.make_mine(conv, &place, user).map_err(unread)? {
                became = Some(user.clone());
            }
        }
        self.put_roster(conv, &changed);
        Ok(Ok((changed, became)))
    }

    /// The message stored under a `cid`, in this batch or before.
    fn first_of(&self, conv: ConvId, key: &[u8]) -> Result<Option<Arc<Message>>, TableError> {
        if let Some(message) = self.draft.cids.get(key) {
            return Ok(Some(Arc::clone(message)));
        }
        match self.view.get(Table::Dedupe, key)? {
            Some(seq) => stored_message(&*self.view, conv, decode_seq(&seq)?).map(Some),
            None => Ok(None),
        }
    }

    /// Puts a conversation into a user's index; `false` when it was there.
    fn make_mine(
        &mut self,
        conv: ConvId,
        place: &Place,
        user: &UserName,
    ) -> Result<bool, TableError> {
        let key = keys::is_mine(user, conv);
        if self.draft.mine.contains(&key) || self.view.get(Table::IsMine, &key)?.is_some() {
            return Ok(false);
        }
        // Within one batch the order is that of the requests: the count breaks the tie of the clock.
        let order = (self.unix_us)().saturating_mul(ORDERS_PER_US)
            + (self.draft.mine.len() as u64).min(ORDERS_PER_US - 1);
        self.put_mine(conv, place, user, order);
        Ok(true)
    }

    fn put_mine(&mut self, conv: ConvId, place: &Place, user: &UserName, order: u64) {
        let key = keys::is_mine(user, conv);
        self.draft.batch.insert(Table::Mine, keys::mine(user, order, conv), encode_place(place));
        self.draft.batch.insert(Table::IsMine, &key, []);
        self.draft.mine.insert(key);
    }

    /// Decides what comes back of a user.
    pub fn restore_member(&mut self, member: &RestoredMember) -> Result<(), EngineError> {
        let RestoredMember { entry: Entry { user, conv, place, since_us }, acked_up_to } = member;
        let (conv, key) = (*conv, keys::is_mine(user, *conv));
        self.check_space()?;
        if !self.draft.mine.contains(&key)
            && self.view.get(Table::IsMine, &key).map_err(unread)?.is_none()
        {
            self.put_mine(conv, place, user, since_us.saturating_mul(ORDERS_PER_US));
        }
        if let Some(up_to) = acked_up_to
            && self.acked(conv, user).map_err(unread)?.is_none()
        {
            let head = self.tip(conv).map_err(unread)?.0;
            self.put_acks(conv, user, AckSet::up_to((*up_to).min(head)));
        }
        Ok(())
    }

    /// Decides on the roster of a group that comes back.
    pub fn restore_roster(
        &mut self,
        conv: ConvId,
        roster: Arc<Roster>,
    ) -> Result<bool, EngineError> {
        let before = self.roster(conv).map_err(unread)?;
        if before.version > 0 {
            return Ok(before == roster);
        }
        self.check_space()?;
        self.put_roster(conv, &roster);
        Ok(true)
    }

    fn put_roster(&mut self, conv: ConvId, roster: &Arc<Roster>) {
        self.draft.batch.insert(Table::Rosters, keys::roster(conv), encode_roster(roster));
        self.draft.rosters.insert(conv, Arc::clone(roster));
        self.draft.notes.rosters.insert(conv, Arc::clone(roster));
    }

    fn acked(&self, conv: ConvId, user: &UserName) -> Result<Option<AckSet>, TableError> {
        match self.draft.acks.get(&keys::acks(conv, user)) {
            Some(acked) => Ok(Some(acked.clone())),
            None => stored_acks(&*self.view, conv, user),
        }
    }

    /// Whether a user's acknowledgement has a start.
    fn is_joined(&self, conv: ConvId, user: &UserName) -> Result<bool, TableError> {
        if self.draft.acks.contains_key(&keys::acks(conv, user)) {
            return Ok(true);
        }
        self.recents.load(self.tables, conv, &[user], |recent| recent.is_joined(user))
    }

    fn put_acks(&mut self, conv: ConvId, user: &UserName, acked: AckSet) {
        let key = keys::acks(conv, user);
        self.draft.batch.insert(Table::Acks, &key, encode_acks(&acked));
        self.draft.acks.insert(key, acked.clone());
        self.draft.notes.acks.insert((conv, user.clone()), acked);
    }

    /// Decides one acknowledgement.
    pub fn ack(&mut self, request: AckRequest) -> Result<AckDecision, EngineError> {
        let AckRequest { conv, user, up_to, ranges } = request;
        let (head, _) = self.tip(conv).map_err(unread)?;
        let stored = self.acked(conv, &user).map_err(unread)?;
        let before = stored.clone().unwrap_or_default();
        let merged = match before.merged(up_to, &ranges, head, LIMITS.acked_ranges_max) {
            Ok(merged) => merged,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if merged != before {
            self.check_space()?;
            self.put_acks(conv, &user, merged.clone());
        }
        Ok(Ok(merged))
    }

    /// Decides where a user's acknowledgement starts, once.
    pub fn join(
        &mut self,
        conv: ConvId,
        place: &Place,
        user: &UserName,
    ) -> Result<bool, EngineError> {
        if self.acked(conv, user).map_err(unread)?.is_some() {
            return Ok(false);
        }
        self.check_space()?;
        let start = match place {
            Place::Direct(..) => Seq::ZERO,
            Place::Channel(_) | Place::Group(_) => self.tip(conv).map_err(unread)?.0,
        };
        let is_group = matches!(place, Place::Group(_));
        let became = !is_group && self.make_mine(conv, place, user).map_err(unread)?;
        self.put_acks(conv, user, AckSet::up_to(start));
        Ok(became)
    }
}

/// A failed read before anything was written: certainly not done.
fn unread(error: TableError) -> EngineError {
    EngineError::Unavailable(error.0)
}

/// What the newest messages in memory learn from a batch.
#[derive(Debug, Default)]
pub struct Notes {
    records: Vec<(ConvId, Record)>,
    /// Only the last of a batch: a step in between would be a step back from what the tables show.
    acks: HashMap<(ConvId, UserName), AckSet>,
    rosters: HashMap<ConvId, Arc<Roster>>,
}

impl Notes {
    /// How many messages the batch stores.
    pub fn messages(&self) -> u64 {
        self.records.len() as u64
    }

    fn clear(&mut self) {
        let Self { records, acks, rosters } = self;
        records.clear();
        acks.clear();
        rosters.clear();
    }

    /// Tells the newest messages.
    pub fn apply(&self, recents: &Recents) {
        for (conv, record) in &self.records {
            recents.note_message(*conv, record);
        }
        for ((conv, user), acked) in &self.acks {
            recents.note_acks(*conv, user, acked);
        }
        for (conv, roster) in &self.rosters {
            recents.note_roster(*conv, roster);
        }
    }
}

/// A decision that waits for its batch.
pub enum Decided {
    /// Of a send.
    Append(Result<AppendOutcome, EngineError>, Answer<AppendOutcome>),
    /// Of an acknowledgement.
    Ack(Result<AckDecision, EngineError>, Answer<AckDecision>),
    /// Of a first open.
    Join(Result<bool, EngineError>, Answer<bool>),
    /// Of a change of a group.
    Regroup(Result<GroupDecision, EngineError>, Answer<GroupDecision>),
    /// Of a user who comes back.
    Member(Result<(), EngineError>, Answer<()>),
    /// Of a roster that comes back.
    Roster(Result<bool, EngineError>, Answer<bool>),
}

impl Decided {
    /// The batch is durable: tell the caller, if it still waits.
    pub fn answer(self) {
        match self {
            Self::Append(decision, answer) => drop(answer.send(decision)),
            Self::Ack(decision, answer) => drop(answer.send(decision)),
            Self::Join(decision, answer) => drop(answer.send(decision)),
            Self::Regroup(decision, answer) => drop(answer.send(decision)),
            Self::Member(decision, answer) => drop(answer.send(decision)),
            Self::Roster(decision, answer) => drop(answer.send(decision)),
        }
    }

    /// The batch failed: nobody can tell whether it is on disk.
    pub fn refuse(self, error: &EngineError) {
        match self {
            Self::Append(_, answer) => drop(answer.send(Err(error.clone()))),
            Self::Ack(_, answer) => drop(answer.send(Err(error.clone()))),
            Self::Join(_, answer) => drop(answer.send(Err(error.clone()))),
            Self::Regroup(_, answer) => drop(answer.send(Err(error.clone()))),
            Self::Member(_, answer) => drop(answer.send(Err(error.clone()))),
            Self::Roster(_, answer) => drop(answer.send(Err(error.clone()))),
        }
    }
}
