//! One conversation, as its log tells of it up to an entry.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::acks::Acks;
use super::entry::{Entry, Written};
use super::failure;
use crate::model::{AckSet, Cid, LIMITS, Message, Order, Roster, Seq, UserName};
use crate::persistence::decision::End;
use crate::persistence::lineage::Life;
use crate::persistence::log::{Each, Log, PageBuilder};
use crate::persistence::{EngineError, Page, RangeQuery};
use crate::riak_link::Version;

/// What a node knows of it; all of it can be read again.
#[derive(Debug, Default)]
pub struct Conversation {
    /// Entries that are known: the next has the number after it.
    pub entries: u64,
    /// The name of the last of them.
    pub digest: u64,
    /// The name of the one before it.
    pub digest_before: u64,
    /// At the number after them is something that does not follow them, left of what is gone: it may be replaced.
    pub orphan: Option<Version>,
    /// The last of them where it was read, until it is known to be on a quorum: before that it is shown to nobody.
    pub unconfirmed: Option<Unconfirmed>,
    /// The highest `ts`.
    pub high: u64,
    /// Who is in the group.
    pub roster: Arc<Roster>,
    messages: Vec<Arc<Message>>,
    by_time: BTreeSet<(u64, Seq)>,
    late: Vec<Seq>,
    names: HashMap<(UserName, Cid), Seq>,
    /// Up to where each life of the store wrote, ascending.
    lives: Vec<(u64, Seq)>,
}

/// An entry that others wrote.
#[derive(Debug, Clone)]
pub struct Unconfirmed {
    /// Its number.
    pub number: u64,
    /// What it is.
    pub bytes: Bytes,
    /// What it is in place of, when it is written again.
    pub version: Version,
}

impl Conversation {
    /// Takes the next entry.
    pub fn apply(&mut self, written: &Written) -> Result<(), EngineError> {
        let entry = &written.entry;
        let first = self.head().0 + 1;
        let is_next = |(message, seq): (&Arc<Message>, u64)| message.seq == Seq(seq);
        if !entry.messages.iter().zip(first..).all(is_next) {
            return Err(failure::unreadable("a message with another number than its place says"));
        }
        for message in &entry.messages {
            self.by_time.insert(message.position());
            if message.late {
                self.late.push(message.seq);
            }
            self.names.insert((message.from.clone(), message.cid.clone()), message.seq);
            self.high = self.high.max(message.ts);
            self.messages.push(Arc::clone(message));
        }
        if let Some(roster) = &entry.roster {
            self.roster = Arc::clone(roster);
        }
        let head = self.head();
        match self.lives.last_mut() {
            Some((generation, end)) if *generation >= entry.generation => *end = head,
            _ => self.lives.push((entry.generation, head)),
        }
        self.entries += 1;
        self.digest_before = std::mem::replace(&mut self.digest, written.digest);
        self.orphan = None;
        Ok(())
    }

    /// An entry behind those that are known, with nothing in it.
    pub fn next_entry(&self, life: &Life) -> Entry {
        let (after, generation, tag) = (self.digest, life.generation, rand::random());
        Entry { after, generation, tag, messages: Vec::new(), roster: None }
    }

    /// The newest life that wrote in it.
    pub fn generation(&self) -> u64 {
        self.lives.last().map_or(0, |&(generation, _)| generation)
    }

    /// Number of the newest message.
    pub fn head(&self) -> Seq {
        Seq(self.messages.len() as u64)
    }

    /// The newest message.
    pub fn newest(&self) -> Option<&Arc<Message>> {
        self.messages.last()
    }

    /// The message of a name.
    pub fn named(&self, sender: &UserName, cid: &Cid) -> Option<&Arc<Message>> {
        let seq = self.names.get(&(sender.clone(), cid.clone()))?;
        self.message(*seq)
    }

    fn message(&self, seq: Seq) -> Option<&Arc<Message>> {
        self.messages.get(seq.0.checked_sub(1)? as usize)
    }

    /// What is left of what was acknowledged in a life: no more than that life wrote, and what is still there of it.
    pub fn left_of(&self, acked: &AckSet, generation: u64) -> AckSet {
        let end = match generation >= self.generation() {
            true => self.head(),
            false => {
                let before = self.lives.iter().rev().find(|(life, _)| *life <= generation);
                before.map_or(Seq::ZERO, |&(_, end)| end)
            }
        };
        acked.cut_to(end)
    }
}

impl End for Conversation {
    fn head(&self) -> Seq {
        self.head()
    }

    fn high(&self) -> u64 {
        self.high
    }

    fn named(&self, sender: &UserName, cid: &Cid) -> Option<&Arc<Message>> {
        self.named(sender, cid)
    }

    fn is_member(&self, user: &UserName) -> bool {
        self.roster.membership(user).is_some()
    }
}

/// A conversation, and what was read of users.
pub struct Snapshot<'a> {
    /// The messages.
    pub conversation: &'a Conversation,
    /// What users have acknowledged; nobody else is asked for.
    pub acked: HashMap<UserName, Option<AckSet>>,
}

impl<'a> Snapshot<'a> {
    /// With what is left of the acknowledgements that were read.
    pub fn new(conversation: &'a Conversation, acks: &HashMap<UserName, Acks>) -> Self {
        let left = acks.iter().map(|(user, acks)| (user.clone(), acks.set(conversation)));
        Self { conversation, acked: left.collect() }
    }
}

impl Log for Snapshot<'_> {
    type Entry = Arc<Message>;
    type Miss = Infallible;

    fn head(&self) -> Seq {
        self.conversation.head()
    }

    fn acked(&self, user: &UserName) -> Result<Option<AckSet>, Infallible> {
        Ok(self.acked.get(user).cloned().flatten())
    }

    fn after(&self, after: Seq, each: Each<'_, Arc<Message>>) -> Result<(), Infallible> {
        let messages = self.conversation.messages.get(after.0 as usize..).unwrap_or_default();
        for message in messages {
            if !each(message) {
                break;
            }
        }
        Ok(())
    }

    fn late_after(&self, after: Seq, each: Each<'_, Arc<Message>>) -> Result<(), Infallible> {
        let late = &self.conversation.late;
        let first = late.partition_point(|seq| *seq <= after);
        for seq in &late[first..] {
            if let Some(message) = self.conversation.message(*seq)
                && !each(message)
            {
                break;
            }
        }
        Ok(())
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, Infallible> {
        let mut page = PageBuilder::new(query.limit, LIMITS.page_bytes_max);
        let (mut low, mut high) =
            (Bound::Included((query.from, Seq::ZERO)), Bound::Included((query.to, Seq(u64::MAX))));
        match (query.order, query.start) {
            (Order::Asc, Some(start)) if start >= (query.from, Seq::ZERO) => {
                low = Bound::Excluded(start);
            }
            (Order::Desc, Some(start)) if start <= (query.to, Seq(u64::MAX)) => {
                high = Bound::Excluded(start);
            }
            _ => {}
        }
        let is_empty = match (low, high) {
            (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high)) => low > high,
            (Bound::Included(low), Bound::Excluded(high)) => low >= high,
            _ => false,
        };
        if is_empty {
            return Ok(page.finish().0);
        }
        let positions = self.conversation.by_time.range((low, high));
        let mut add = |position: &(u64, Seq)| {
            self.conversation.message(position.1).is_none_or(|message| page.add(message))
        };
        match query.order {
            Order::Asc => drop(positions.into_iter().all(&mut add)),
            Order::Desc => drop(positions.into_iter().rev().all(&mut add)),
        }
        Ok(page.finish().0)
    }
}
