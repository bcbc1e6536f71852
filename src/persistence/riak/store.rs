//! The logs of conversations: read to their end, and written on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use quick_cache::sync::Cache;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::acks::{self, Acks};
use super::conversation::{Conversation, Unconfirmed};
use super::entry::{self, Entry, Written};
use super::list::Lists;
use super::{failure, life, shared};
use crate::model::{ConvId, Seq, UserName};
use crate::persistence::EngineError;
use crate::persistence::index::Index;
use crate::persistence::lineage::{Life, Lineage};
use crate::persistence::status::Status;
use crate::riak_link::{Condition, Found, Node, Put};

/// Conversations that a node remembers; others are read again from their first entry.
const KNOWN_MAX: usize = 4_000;
/// Entries that are asked for at once where many are missing.
const WINDOW_MAX: u64 = 64;
/// How often a read begins anew because something was missing.
const TRIES: usize = 4;
/// Before what is missing is asked for once more: a replica that was away may be about to be mended.
const MISSING_PAUSE: Duration = Duration::from_millis(50);
/// Between two attempts of a write that nobody answered.
const WRITE_PAUSE: Duration = Duration::from_millis(20);

/// What became of an entry.
#[derive(Debug, Clone)]
pub enum Claimed {
    /// It stands at its number.
    Done,
    /// Another one does. What may have been written all the same says so.
    Moved(Option<EngineError>),
}

/// The store as this node knows it.
pub struct Store {
    /// The way to it.
    pub node: Node,
    /// Its lives.
    pub lineage: Arc<Lineage>,
    /// What was last seen of it.
    pub status: Arc<Status>,
    /// Who is known to have joined.
    pub index: Index,
    /// The lists of users.
    pub lists: Lists,
    known: Cache<ConvId, Arc<Mutex<Conversation>>>,
}

impl Store {
    /// Nothing is known of it.
    pub fn new(node: Node, lineage: Arc<Lineage>, status: Arc<Status>) -> Self {
        let known = Cache::new(KNOWN_MAX);
        Self { node, lineage, status, index: Index::default(), lists: Lists::default(), known }
    }

    /// What is known of a conversation. One at a time looks at it, or changes it.
    pub fn conversation(&self, conv: ConvId) -> Arc<Mutex<Conversation>> {
        let made = self.known.get_or_insert_with(&conv, || Ok::<_, ()>(Arc::default()));
        made.unwrap_or_default()
    }

    /// Reads on to the end as it is now, and answers the life that it is in. What was known and is gone begins another one.
    pub async fn fresh(
        &self,
        conv: ConvId,
        known: &mut Conversation,
    ) -> Result<Arc<Life>, EngineError> {
        for attempt in 0..TRIES {
            let last = self.is_last_there(conv, known);
            let place = entry::place(conv, known.entries + 1);
            let next = async { Ok(self.node.get(&place).await?) };
            let life = life::learn(&self.node, &self.lineage);
            let (is_there, next, life) = tokio::try_join!(last, next, life)?;
            if is_there {
                self.read_on(conv, known, next).await?;
                self.confirm(conv, known).await?;
                if known.generation() <= life.generation {
                    return Ok(Arc::new(life));
                }
                // A life began while the entries were read; or it is gone, and what it wrote is not.
                if attempt > 0 {
                    life::renew(&self.node, &self.lineage, &life, known.generation()).await?;
                }
                continue;
            }
            tracing::error!(%conv, entry = known.entries, "riak: an entry that was there is gone");
            // First the life, then what is known: whoever goes away in between would leave nobody who knows of the loss.
            life::renew(&self.node, &self.lineage, &life, known.generation()).await?;
            *known = Conversation::default();
        }
        Err(failure::crowded("entries of the conversation come and go"))
    }

    /// The commit time of the newest message, for lists, of which a page asks a thousand: nothing is looked at but what is new.
    pub async fn newest_at(&self, conv: ConvId) -> Result<Option<u64>, EngineError> {
        let known = self.conversation(conv);
        let mut known = known.lock().await;
        let next = self.node.get(&entry::place(conv, known.entries + 1)).await?;
        self.read_on(conv, &mut known, next).await?;
        Ok(known.newest().map(|message| message.at))
    }

    /// [`Self::fresh`], and what users have acknowledged of it. Where somebody has acknowledged more than there is, something is gone, and
    /// another life begins.
    pub async fn fresh_for(
        &self,
        conv: ConvId,
        known: &mut Conversation,
        users: &[&UserName],
    ) -> Result<(Arc<Life>, HashMap<UserName, Acks>), EngineError> {
        let mut seen = HashMap::with_capacity(users.len());
        let mut before: Option<(u64, Seq)> = None;
        for _ in 0..TRIES {
            let life = self.fresh(conv, known).await?;
            let head = known.head();
            // What was acknowledged before this look could be read by then.
            if before.is_some_and(|(generation, top)| generation == life.generation && head < top) {
                tracing::error!(%conv, %head, "riak: messages that were acknowledged are gone");
                life::renew(&self.node, &self.lineage, &life, known.generation()).await?;
                before = None;
                continue;
            }
            let places: Vec<_> = users.iter().map(|user| acks::place(conv, user)).collect();
            let reads = places.iter().map(|place| shared::read::<Acks>(&self.node, place));
            let acks = try_join_all(reads).await?;
            let top = acks.iter().map(|acks| acks.top(life.generation)).max().unwrap_or_default();
            seen.extend(users.iter().map(|&user| user.clone()).zip(acks));
            if top <= head {
                return Ok((life, seen));
            }
            before = Some((life.generation, top));
        }
        Err(failure::crowded("acknowledgements of the conversation come and go"))
    }

    /// Whether the last entry is there as it was read. A second look, before it is called gone.
    async fn is_last_there(&self, conv: ConvId, known: &Conversation) -> Result<bool, EngineError> {
        if known.entries == 0 {
            return Ok(true);
        }
        let (place, number) = (entry::place(conv, known.entries), known.entries);
        for pause in [Some(MISSING_PAUSE), None] {
            if let Some(found) = self.node.get(&place).await?
                && self.settled(conv, number, found, known.digest_before).await?.digest
                    == known.digest
            {
                return Ok(true);
            }
            if let Some(pause) = pause {
                sleep(pause).await;
            }
        }
        Ok(false)
    }

    /// Takes entries until there is none, `next` being what was found behind those that are known.
    async fn read_on(
        &self,
        conv: ConvId,
        known: &mut Conversation,
        next: Option<Found>,
    ) -> Result<(), EngineError> {
        let (mut found, mut window) = (vec![next], 1);
        'reading: loop {
            for found in found.drain(..) {
                let Some(found) = found else { break 'reading };
                let (number, version) = (known.entries + 1, found.version.clone());
                let has_siblings = found.values.len() > 1;
                let written = self.settled(conv, number, found, known.digest).await?;
                if written.entry.after != known.digest {
                    known.orphan = Some(version);
                    break 'reading;
                }
                known.apply(&written)?;
                // Of several values the one that stays has just been written.
                known.unconfirmed = (!has_siblings).then_some(Unconfirmed {
                    number,
                    bytes: written.bytes,
                    version,
                });
            }
            window = WINDOW_MAX.min(window * 4);
            let numbers = known.entries + 1..=known.entries + window;
            let places: Vec<_> = numbers.map(|number| entry::place(conv, number)).collect();
            found = try_join_all(places.iter().map(|place| self.node.get(place))).await?;
        }
        Ok(())
    }

    /// Whoever wrote the last entry may have reached less than a quorum, and somebody else could read past it: not after this.
    async fn confirm(&self, conv: ConvId, known: &mut Conversation) -> Result<(), EngineError> {
        if let Some(Unconfirmed { number, bytes, version }) = known.unconfirmed.clone() {
            let place = entry::place(conv, number);
            self.node.put(&place, bytes, Condition::Replaces(&version)).await?;
            known.unconfirmed = None;
        }
        Ok(())
    }

    /// One value of an entry: of several one that follows the entry before, of those the one that the next entry follows, else the one that
    /// all nodes take.
    async fn settled(
        &self,
        conv: ConvId,
        number: u64,
        found: Found,
        before: u64,
    ) -> Result<Written, EngineError> {
        let count = found.values.len();
        let mut values =
            found.values.into_iter().map(Written::read).collect::<Result<Vec<_>, _>>()?;
        values.sort_by_key(|written| written.digest);
        values.dedup_by_key(|written| written.digest);
        if values.len() > 1 {
            let next = self.node.get(&entry::place(conv, number + 1)).await?;
            let mut followed = Vec::new();
            for value in next.into_iter().flat_map(|next| next.values) {
                followed.push(Written::read(value)?.entry.after);
            }
            let is_followed = |written: &Written| followed.contains(&written.digest);
            values.sort_by_key(|written| {
                (written.entry.after != before, !is_followed(written), written.digest)
            });
            tracing::warn!(%conv, entry = number, values = values.len(), "riak: siblings were settled");
            metrics::counter!("chatctl_riak_siblings_total").increment(1);
        }
        if count > 1
            && let Some(first) = values.first()
        {
            let (place, bytes) = (entry::place(conv, number), first.bytes.clone());
            self.node.put(&place, bytes, Condition::Replaces(&found.version)).await?;
        }
        values.into_iter().next().ok_or_else(|| failure::unreadable("an entry without a value"))
    }

    /// Writes the next entry, if nobody was faster. `known` is as fresh as it was decided on; it takes the entry where it is done.
    /// `Unavailable` and `Overloaded` are definite; after anything else it may be there, or come.
    pub async fn claim(
        &self,
        conv: ConvId,
        known: &mut Conversation,
        entry: Entry,
        deadline: Instant,
    ) -> Result<Claimed, EngineError> {
        let written = Written::new(entry);
        let place = entry::place(conv, known.entries + 1);
        let orphan = known.orphan.clone();
        let mut doubt = None;
        loop {
            let condition = orphan.as_ref().map_or(Condition::Absent, Condition::Unchanged);
            let put = self.node.put(&place, written.bytes.clone(), condition).await;
            let error = match put.map_err(EngineError::from) {
                Ok(Put::Stored) => break,
                Ok(Put::Taken) => None,
                Err(error) if error.is_definite() && doubt.is_none() => return Err(error),
                Err(error) => Some(error),
            };
            doubt = doubt.or(error);
            match self.node.get(&place).await {
                Ok(Some(found)) => {
                    let version = found.version.clone();
                    let number = known.entries + 1;
                    let stands = self.settled(conv, number, found, known.digest).await;
                    if stands.is_ok_and(|stands| stands.digest == written.digest) {
                        // Perhaps on less than a quorum.
                        let again = Condition::Replaces(&version);
                        if self.node.put(&place, written.bytes.clone(), again).await.is_ok() {
                            break;
                        }
                    } else if orphan.as_ref() != Some(&version) {
                        return Ok(Claimed::Moved(doubt));
                    }
                }
                Ok(None) => {}
                // What was sent before may have been done, or found taken: the next attempt tells.
                Err(_) => {}
            }
            if Instant::now() > deadline {
                let text = "riak: the entry may not be on a quorum".to_owned();
                return Err(doubt.unwrap_or(EngineError::Timeout(text)));
            }
            sleep(WRITE_PAUSE).await;
        }
        known.apply(&written)?;
        Ok(Claimed::Done)
    }
}
