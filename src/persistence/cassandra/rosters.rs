//! Who is in a group: immutable rows, one of which is named beside the end of the conversation.
//!
//! The name changes only on the condition that it is what it was, in the partition that appends go to, so changes and appends come
//! in one order. A row is written before it is named and never changed after, so what was read of it is true for ever.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::failure::unreadable;
use super::link::{CallError, Link};
use super::store::Store;
use crate::model::{ConvId, Membership, Roster, Seq, UserName};
use crate::persistence::EngineError;

/// Memory for rosters, about.
const BYTES_MAX: u64 = 16 << 20;
/// Rosters that are expected to fit.
const COUNT_MAX: usize = 10_000;
/// What a member weighs, about.
const MEMBER_BYTES: usize = size_of::<(UserName, Membership)>() + 32;

/// Names a roster: like no other of its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RosterId {
    version: u64,
    /// By chance: several may have been made of the same one, and only one of them came to be.
    tag: u64,
    /// The head when it came to be, which is where the membership of whoever came with it begins. It stands here and not in the row,
    /// so that the row need not be written again when messages come in between.
    head: Seq,
}

impl RosterId {
    /// For a new roster of this version.
    pub fn new(version: u64) -> Self {
        Self { version, tag: rand::random(), head: Seq::ZERO }
    }

    /// The same at this head.
    pub fn at(self, head: Seq) -> Self {
        Self { head, ..self }
    }

    /// How many changes there were.
    pub fn version(self) -> u64 {
        self.version
    }

    /// As it is stored.
    pub fn bytes(self) -> Vec<u8> {
        [self.version, self.tag, self.head.0].map(u64::to_be_bytes).concat()
    }

    /// Which row it is.
    fn row(self) -> Vec<u8> {
        [self.version, self.tag].map(u64::to_be_bytes).concat()
    }

    /// The inverse of [`bytes`](Self::bytes).
    pub fn of(bytes: &[u8]) -> Result<Self, EngineError> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        match (numbers, rest) {
            (&[version, tag, head], []) => {
                let [version, tag, head] = [version, tag, head].map(u64::from_be_bytes);
                Ok(Self { version, tag, head: Seq(head) })
            }
            _ => Err(unreadable("the id of a roster")),
        }
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<(ConvId, RosterId), Arc<Roster>> for Bytes {
    fn weight(&self, _: &(ConvId, RosterId), roster: &Arc<Roster>) -> u64 {
        (size_of::<Roster>() + roster.members.len() * MEMBER_BYTES) as u64
    }
}

/// What is remembered of them.
pub struct Rosters {
    known: Cache<(ConvId, RosterId), Arc<Roster>, Bytes>,
}

impl Default for Rosters {
    fn default() -> Self {
        Self { known: Cache::with_weighter(COUNT_MAX, BYTES_MAX, Bytes) }
    }
}

impl Rosters {
    /// The roster of an id; an empty one where there is none.
    pub async fn named(
        &self,
        link: &Link,
        conv: ConvId,
        id: Option<RosterId>,
    ) -> Result<Arc<Roster>, CallError> {
        let Some(id) = id else { return Ok(Arc::default()) };
        if let Some(known) = self.known.get(&(conv, id)) {
            return Ok(known);
        }
        let (_, text) = read(link, conv, id).await?;
        let mut roster: Roster = serde_json::from_str(&text).map_err(|_| unreadable("a roster"))?;
        for membership in roster.members.values_mut() {
            if membership.joined == id.version {
                membership.since = id.head;
            }
        }
        let roster = Arc::new(roster);
        self.keep(conv, id, &roster);
        Ok(roster)
    }

    /// Remembers one that came to be.
    pub fn keep(&self, conv: ConvId, id: RosterId, roster: &Arc<Roster>) {
        self.known.insert((conv, id), Arc::clone(roster));
    }
}

/// Writes one that was made of another; nobody is in it before it is named, at the head of then.
pub async fn write(
    link: &Link,
    conv: ConvId,
    roster: &Roster,
    before: Option<RosterId>,
) -> Result<RosterId, CallError> {
    let id = RosterId::new(roster.version);
    let text = serde_json::to_string(roster)
        .unwrap_or_else(|_| unreachable!("a roster has only string keys"));
    let values = (&conv.as_bytes()[..], id.row(), before.map(RosterId::bytes), text);
    link.run(&link.statements.add_roster, values).await?;
    Ok(id)
}

/// Whether the roster of a conversation is this one, or was made of it by later changes.
pub async fn is_among(
    link: &Link,
    conv: ConvId,
    id: RosterId,
    mut now: Option<RosterId>,
) -> Result<bool, CallError> {
    while let Some(later) = now.filter(|now| now.version > id.version) {
        let (before, _) = read(link, conv, later).await?;
        now = before.as_deref().map(RosterId::of).transpose()?;
    }
    Ok(now == Some(id))
}

/// What a row holds: the id of the one before, and the roster.
async fn read(
    link: &Link,
    conv: ConvId,
    id: RosterId,
) -> Result<(Option<Vec<u8>>, String), CallError> {
    let values = (&conv.as_bytes()[..], id.row());
    let mut rows = link.rows::<(Option<Vec<u8>>, String)>(&link.statements.roster, values).await?;
    rows.pop().ok_or_else(|| unreadable("a group without its roster").into())
}

impl Store {
    /// Who is in a group, as fresh as the call.
    pub async fn roster(&self, link: &Link, conv: ConvId) -> Result<Arc<Roster>, CallError> {
        self.enter(link);
        let tail = match self.ends.rostered(link, conv).await {
            Err(CallError::Lost) => {
                self.lost(link).await;
                return Err(CallError::Lost);
            }
            tail => tail?,
        };
        self.rosters.named(link, conv, tail.roster).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_it_was_and_is_like_no_other() {
        let id = RosterId::new(7).at(Seq(9));
        assert_eq!(RosterId::of(&id.bytes()).unwrap(), id);
        assert_ne!(RosterId::new(7).at(Seq(9)), id);
        assert!([0, 16, 25, 32].iter().all(|&length| RosterId::of(&vec![0; length]).is_err()));
    }
}
