//! The ends of conversations that this node knows, and how it brings them up to date.
//!
//! Whatever was acknowledged to anybody is seen by a read of a quorum that starts later, so one read of what follows the
//! known head makes a known end fresh. A conversation that is not known costs the hint where its end was, and that bucket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use scylla::deserialize::row::DeserializeRow;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;

use super::codec::{BucketRow, Statics, StaticsRow, bigint, number};
use super::failure::unreadable;
use super::layout::Layout;
use super::link::{CallError, Link};
use super::names::{BucketNames, Names};
use super::statements::serial;
use super::tail::{Incomplete, Tail};
use crate::clock;
use crate::model::{Cid, ConvId, Seq, UserName};

/// Conversations whose end is remembered.
const KNOWN_MAX: usize = 10_000;

/// What is remembered of one conversation.
#[derive(Debug, Default)]
pub struct End {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The life of the store that all of this was seen in.
    life: u64,
    tail: Option<Arc<Tail>>,
    /// Buckets up to here, exclusively, are known to be sealed.
    sealed: u64,
    /// The names in the full buckets before it.
    names: Names,
    /// Something was sent and not answered: only what is agreed tells what is there.
    in_doubt: bool,
}

impl End {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is a few assignments.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As last seen, of this life or an earlier one.
    pub fn tail(&self) -> Option<Arc<Tail>> {
        self.state().tail.clone()
    }

    /// Takes what was read or written, unless more is known.
    pub fn learn(&self, tail: &Arc<Tail>, layout: Layout) {
        let mut state = self.state();
        let is_older = |known: &Arc<Tail>| known.position(layout) <= tail.position(layout);
        if state.tail.as_ref().is_none_or(is_older) {
            let before = state.tail.take().filter(|before| before.bucket < tail.bucket);
            if let Some(before) = before.filter(|before| before.is_full(layout)) {
                state.names.add(BucketNames::new(&before), clock::unix_ms(), layout);
            }
            state.tail = Some(Arc::clone(tail));
        }
    }

    /// Forgets the end: what was sent last was not answered.
    pub fn doubt(&self) {
        let mut state = self.state();
        state.tail = None;
        state.in_doubt = true;
    }

    /// What was known in another life of the store is forgotten: it may be gone.
    pub fn enter(&self, generation: u64) {
        let mut state = self.state();
        if state.life != generation {
            *state = State { life: generation, ..State::default() };
        }
    }

    /// Whether reads must ask for what is agreed.
    fn is_in_doubt(&self) -> bool {
        self.state().in_doubt
    }

    fn settle(&self) {
        self.state().in_doubt = false;
    }

    /// Where messages of some names may be in the full buckets before this one; `None`: that is not known.
    pub fn find<'a>(
        &self,
        bucket: u64,
        names: impl IntoIterator<Item = (&'a UserName, &'a Cid)>,
    ) -> Option<Vec<Seq>> {
        let state = self.state();
        let known = state.names.reach(bucket).then_some(&state.names)?;
        Some(known.find_all(names))
    }

    /// Takes the names that were read.
    pub fn know(&self, names: Names) {
        self.state().names = names;
    }

    /// Whether a bucket is known to be sealed.
    pub fn is_sealed(&self, bucket: u64) -> bool {
        bucket < self.state().sealed
    }

    /// A bucket is sealed, and so are all before it.
    pub fn seal(&self, bucket: u64) {
        let mut state = self.state();
        state.sealed = state.sealed.max(bucket + 1);
    }
}

/// The ends that are remembered.
pub struct Ends {
    known: Cache<ConvId, Arc<End>>,
}

impl Default for Ends {
    fn default() -> Self {
        Self { known: Cache::new(KNOWN_MAX) }
    }
}

impl Ends {
    /// What is remembered of a conversation; at first nothing.
    pub fn of(&self, conv: ConvId) -> Arc<End> {
        let made: Result<_, std::convert::Infallible> =
            self.known.get_or_insert_with(&conv, || Ok(Arc::default()));
        made.unwrap_or_else(|never| match never {})
    }

    fn in_life(&self, link: &Link, conv: ConvId) -> Arc<End> {
        let end = self.of(conv);
        end.enter(link.life.generation);
        end
    }

    /// The end as it was at some moment after this call began: everything acknowledged before is in it. Who is in a group may be
    /// of an earlier moment.
    pub async fn fresh(&self, link: &Link, conv: ConvId) -> Result<Arc<Tail>, CallError> {
        self.fresh_of(Read { link, conv, agreed: false, rostered: false }).await
    }

    /// The same with who is in a group at that moment.
    pub async fn rostered(&self, link: &Link, conv: ConvId) -> Result<Arc<Tail>, CallError> {
        self.fresh_of(Read { link, conv, agreed: false, rostered: true }).await
    }

    /// The same of what is agreed: nothing that was begun before can appear later without a condition that fails.
    pub async fn agreed(
        &self,
        link: &Link,
        conv: ConvId,
        rostered: bool,
    ) -> Result<Arc<Tail>, CallError> {
        self.agreed_of(Read { link, conv, agreed: true, rostered }).await
    }

    async fn fresh_of(&self, read: Read<'_>) -> Result<Arc<Tail>, CallError> {
        let end = self.in_life(read.link, read.conv);
        if !end.is_in_doubt() {
            match self.look(&read, &end).await {
                Ok(tail) => return Ok(tail),
                Err(Looked::Failed(error)) => return Err(error),
                Err(Looked::Hole) => {}
            }
        }
        self.agreed_of(Read { agreed: true, ..read }).await
    }

    async fn agreed_of(&self, read: Read<'_>) -> Result<Arc<Tail>, CallError> {
        let end = self.in_life(read.link, read.conv);
        match self.look(&read, &end).await {
            Err(Looked::Hole) => Err(CallError::Answer(unreadable("a hole in a conversation"))),
            Err(Looked::Failed(error)) => Err(error),
            Ok(tail) => Ok(tail),
        }
    }

    /// The end as known, or as it is.
    pub async fn known(&self, link: &Link, conv: ConvId) -> Result<Arc<Tail>, CallError> {
        match self.in_life(link, conv).tail() {
            Some(tail) => Ok(tail),
            None => self.fresh(link, conv).await,
        }
    }

    async fn look(&self, read: &Read<'_>, end: &End) -> Result<Arc<Tail>, Looked> {
        let (link, layout) = (read.link, read.link.layout);
        let (mut tail, is_new) = match end.tail() {
            Some(tail) => (tail, false),
            None => (Arc::new(read.last_known().await?), true),
        };
        let mut changed = is_new;
        if !is_new && !tail.is_full(layout) {
            changed = read.catch_up(&mut tail).await?;
        }
        while tail.is_full(layout) {
            let next = tail.bucket + 1;
            match Tail::new(read.bucket(next).await?, next, layout)? {
                Some(next) => tail = Arc::new(next),
                None => break,
            }
            changed = true;
        }
        if tail.generation > link.life.generation {
            return Err(Looked::Failed(CallError::Stale));
        }
        if changed {
            end.learn(&tail, layout);
        }
        if read.agreed {
            end.settle();
        }
        Ok(tail)
    }
}

/// Why a look answers nothing.
enum Looked {
    Hole,
    Failed(CallError),
}

impl From<CallError> for Looked {
    fn from(error: CallError) -> Self {
        Self::Failed(error)
    }
}

impl From<Incomplete> for Looked {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Hole => Self::Hole,
            Incomplete::Unreadable(error) => Self::Failed(CallError::Answer(error)),
        }
    }
}

/// Reads of one conversation.
struct Read<'a> {
    link: &'a Link,
    conv: ConvId,
    agreed: bool,
    /// Also of a roster that changed without a message.
    rostered: bool,
}

impl Read<'_> {
    fn key(&self) -> &[u8] {
        self.conv.as_bytes()
    }

    async fn rows<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<R>, CallError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        if self.agreed {
            self.link.rows(&serial(statement), values).await
        } else {
            self.link.rows(statement, values).await
        }
    }

    async fn bucket(&self, bucket: u64) -> Result<Vec<BucketRow>, CallError> {
        self.rows(&self.link.statements.bucket, (self.key(), bigint(bucket))).await
    }

    async fn after(&self, bucket: u64, after: Seq) -> Result<Vec<BucketRow>, CallError> {
        let values = (self.key(), bigint(bucket), bigint(after.0));
        self.rows(&self.link.statements.bucket_after, values).await
    }

    async fn statics(&self, bucket: u64) -> Result<Option<Statics>, CallError> {
        let values = (self.key(), bigint(bucket));
        let mut rows = self.rows::<StaticsRow>(&self.link.statements.statics, values).await?;
        Ok(rows.pop().map(StaticsRow::statics).transpose()?)
    }

    /// Brings a bucket that is not full up to date; answers whether anything is new.
    async fn catch_up(&self, tail: &mut Arc<Tail>) -> Result<bool, Looked> {
        let layout = self.link.layout;
        let head = tail.head(layout);
        if self.rostered {
            let statics = self.statics(tail.bucket).await?;
            let found = statics.as_ref().map_or_else(Default::default, Statics::position);
            if found < tail.position(layout) {
                // It may be a moment of several writes; what is agreed tells whether less is there than was.
                let lost = Looked::Failed(CallError::Lost);
                return Err(if self.agreed { lost } else { Looked::Hole });
            }
            match statics {
                None => return Ok(false),
                Some(statics) if statics.generation > self.link.life.generation => {
                    return Err(Looked::Failed(CallError::Stale));
                }
                Some(statics) if statics.head == head => {
                    let known = (tail.is_begun, tail.generation, tail.roster);
                    let changed = known != (true, statics.generation, statics.roster);
                    if changed {
                        Arc::make_mut(tail).take(statics, layout)?;
                    }
                    return Ok(changed);
                }
                // The messages bring what stands beside them.
                Some(_) => {}
            }
        }
        let rows = self.after(tail.bucket, head).await?;
        let changed = !rows.is_empty();
        if changed {
            Arc::make_mut(tail).extend(rows, layout)?;
        }
        Ok(changed)
    }

    /// The last bucket as far as the hint knows; an empty one where there is nothing.
    async fn last_known(&self) -> Result<Tail, Looked> {
        let hint = self.link.rows::<(Option<i64>,)>(&self.link.statements.head, (self.key(),));
        let (hint, first) = tokio::try_join!(hint, self.bucket(0))?;
        let mut bucket = hint.first().and_then(|row| row.0).map_or(0, number);
        let layout = self.link.layout;
        while bucket > 0 {
            if let Some(tail) = Tail::new(self.bucket(bucket).await?, bucket, layout)? {
                return Ok(tail);
            }
            // The store came back with less: whole buckets are gone.
            bucket /= 2;
        }
        Ok(Tail::new(first, 0, layout)?.unwrap_or_default())
    }
}
