//! An object of the node: values that do not know of each other, each with the dot of its write (dotted version vectors).
//!
//! The rules are those of Almeida, Baquero, Gonçalves, Preguiça, Fonte, "Scalable and accurate causality tracking for eventually
//! consistent stores" (2014), which a node follows with `dvv_enabled`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use jiff::Timestamp;

/// Who counts writes: a replica of one key, from when it first has it until it loses it.
pub type Actor = u64;

/// One write: who counted it, as its how manieth, from 1.
pub type Dot = (Actor, u64);

/// Which writes are known: of each actor the first so many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clock(BTreeMap<Actor, u64>);

impl Clock {
    /// Whether the write is among them.
    pub fn covers(&self, (actor, count): Dot) -> bool {
        self.0.get(&actor).is_some_and(|known| *known >= count)
    }

    /// Knows what either knew.
    pub fn merge(&mut self, other: &Self) {
        for (actor, count) in &other.0 {
            let known = self.0.entry(*actor).or_default();
            *known = (*known).max(*count);
        }
    }

    fn next(&mut self, actor: Actor) -> Dot {
        let count = self.0.entry(actor).or_default();
        *count += 1;
        (actor, *count)
    }

    /// As clients hold it: ASCII that means nothing to them.
    pub fn encode(&self) -> String {
        let bytes = self.0.iter().flat_map(|(actor, count)| [*actor, *count]);
        BASE64_STANDARD.encode(bytes.flat_map(u64::to_be_bytes).collect::<Vec<_>>())
    }

    /// `None` where no node has written that.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        let (numbers, rest) = bytes.as_chunks::<8>();
        let (pairs, odd) = numbers.as_chunks::<2>();
        if pairs.is_empty() || !odd.is_empty() || !rest.is_empty() {
            return None;
        }
        let pair = |[actor, count]: &[[u8; 8]; 2]| {
            (u64::from_be_bytes(*actor), u64::from_be_bytes(*count))
        };
        Some(Self(pairs.iter().map(pair).collect()))
    }
}

/// What a client stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub body: Bytes,
}

/// One of the values an object has at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// `None` for a tombstone.
    pub content: Option<Content>,
    /// What tells it from others, without quotes.
    pub etag: String,
    /// When it was written.
    pub modified: Timestamp,
}

/// What one replica has of a key. One without siblings was never written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    clock: Clock,
    siblings: BTreeMap<Dot, Sibling>,
}

impl Object {
    /// Nobody has written it here.
    pub fn is_absent(&self) -> bool {
        self.siblings.is_empty()
    }

    /// There is something to be read: a node answers that there is nothing where tombstones are all there is.
    pub fn is_live(&self) -> bool {
        self.siblings.values().any(|sibling| sibling.content.is_some())
    }

    /// Its causal context.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Its values, tombstones among them.
    pub fn siblings(&self) -> impl ExactSizeIterator<Item = &Sibling> {
        self.siblings.values()
    }

    /// A write, counted by `actor`, of who had read `context`: it replaces what that covers, and stands beside everything else.
    pub fn put(&mut self, actor: Actor, context: &Clock, sibling: Sibling) {
        self.siblings.retain(|dot, _| !context.covers(*dot));
        self.clock.merge(context);
        self.siblings.insert(self.clock.next(actor), sibling);
    }

    /// Takes over what the other replica knows. A value only one of them has is new to the other, or was replaced there: its clock tells.
    pub fn merge(&mut self, other: &Self) {
        let replaced = |dot: &Dot| other.clock.covers(*dot) && !other.siblings.contains_key(dot);
        self.siblings.retain(|dot, _| !replaced(dot));
        for (dot, sibling) in &other.siblings {
            if !self.clock.covers(*dot) {
                self.siblings.insert(*dot, sibling.clone());
            }
        }
        self.clock.merge(&other.clock);
    }
}
