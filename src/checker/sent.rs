//! What was sent: by whom, under which cid, with which contents.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::conversation::{Conversation, Operation};
use crate::history::{Act, Asked, Event, Item};
use crate::protocol::ErrorCode;

/// A message's name: its sender and the sender's cid.
pub type Key<'a> = (&'a str, &'a str);

/// Everything that was sent under one name.
#[derive(Debug, Default)]
pub struct Sent<'a> {
    /// Each different content.
    pub contents: Vec<Content<'a>>,
    /// The times asked for; `None`: the server's choice.
    pub times: Vec<Option<u64>>,
    /// The operations, by invoke.
    pub operations: Vec<usize>,
}

/// One content under a name.
#[derive(Debug)]
pub struct Content<'a> {
    /// Its digest.
    pub digest: &'a str,
    /// First line of a send of it that did not certainly fail.
    pub alive_from: u64,
    /// First line of a send of it that certainly failed, and that line's end.
    pub failed: Option<(u64, u64)>,
}

/// What a stored item is, measured against what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was sent so.
    Sent,
    /// Every send of it before had certainly failed; the lines of the send.
    Failed(u64, u64),
    /// Its sender sent something else under this cid; the line of that send.
    Altered(u64),
    /// It was sent in another conversation.
    Elsewhere,
    /// Nobody sent it before it was seen.
    Nowhere,
}

/// The sends of one conversation.
#[derive(Debug, Default)]
pub struct SentIndex<'a> {
    conv: &'a str,
    by_key: HashMap<Key<'a>, Sent<'a>>,
}

impl<'a> SentIndex<'a> {
    /// Of a conversation.
    pub fn of(conversation: &Conversation<'a>) -> Self {
        let mut by_key: HashMap<Key<'a>, Sent<'a>> = HashMap::new();
        for (number, operation) in conversation.operations.iter().enumerate() {
            let Asked::Send { cid, digest, ts } = operation.asked else { continue };
            let sent = by_key.entry((operation.user(), cid)).or_default();
            sent.times.push(*ts);
            sent.operations.push(number);
            let at = sent.contents.iter().position(|content| content.digest == digest);
            let at = at.unwrap_or_else(|| {
                sent.contents.push(Content { digest, alive_from: u64::MAX, failed: None });
                sent.contents.len() - 1
            });
            let content = &mut sent.contents[at];
            if operation.failed() {
                content.failed.get_or_insert((operation.begun_at(), operation.ended_at()));
            } else {
                content.alive_from = content.alive_from.min(operation.begun_at());
            }
        }
        Self { conv: conversation.name, by_key }
    }

    /// What was sent under a name.
    pub fn get(&self, key: Key<'a>) -> Option<&Sent<'a>> {
        self.by_key.get(&key)
    }

    /// Where an item, seen at a line, comes from. `elsewhere` knows the other conversations.
    pub fn origin(&self, item: &Item, seen_at: u64, elsewhere: &Elsewhere<'_>) -> Origin {
        let sent = self.by_key.get(&(item.from.as_str(), item.cid.as_str()));
        let same = sent
            .and_then(|sent| sent.contents.iter().find(|content| content.digest == item.digest));
        match (same, sent) {
            (Some(content), _) if content.alive_from < seen_at => Origin::Sent,
            (Some(Content { failed: Some((begun, ended)), .. }), _) if *begun < seen_at => {
                Origin::Failed(*begun, *ended)
            }
            (Some(_), _) => Origin::Nowhere,
            (None, _) if elsewhere.knows(&item.digest, self.conv) => Origin::Elsewhere,
            (None, Some(sent)) => {
                let first = sent.contents.iter().map(|content| content.alive_from).min();
                Origin::Altered(first.unwrap_or(u64::MAX))
            }
            (None, None) => Origin::Nowhere,
        }
    }

    /// Sends refused as `conflict` although nothing else was ever sent under their cid before
    /// the refusal: the line of the send, and of the refusal.
    pub fn false_conflicts(&self, operations: &[Operation<'a>]) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        for sent in self.by_key.values().filter(|sent| !sent.operations.is_empty()) {
            for &number in &sent.operations {
                let operation = &operations[number];
                let Some(Act::Fail { error, .. }) = operation.ended.map(|event| &event.act) else {
                    continue;
                };
                if error.code != Some(ErrorCode::Conflict) {
                    continue;
                }
                let Asked::Send { digest, .. } = operation.asked else { continue };
                let ended = operation.ended_at();
                let other =
                    |content: &Content<'_>| content.digest != digest && content.alive_from < ended;
                if !sent.contents.iter().any(other) {
                    found.push((operation.begun_at(), ended));
                }
            }
        }
        found.sort_unstable();
        found
    }
}

/// Where each digest was sent; `None`: in several conversations.
pub type Digests = HashMap<String, Option<String>>;

/// The digests of what was sent in other conversations, gathered when first needed: only a broken history asks.
pub struct Elsewhere<'a> {
    gather: Box<dyn Fn() -> Digests + Send + Sync + 'a>,
    digests: OnceLock<Digests>,
}

impl<'a> Elsewhere<'a> {
    /// What `gather` finds.
    pub fn new(gather: impl Fn() -> Digests + Send + Sync + 'a) -> Self {
        Self { gather: Box::new(gather), digests: OnceLock::new() }
    }

    /// Of a history at hand.
    pub fn of(events: &'a [Event]) -> Self {
        Self::new(|| {
            let mut digests = Digests::new();
            events.iter().for_each(|event| note_digest(&mut digests, event));
            digests
        })
    }

    fn knows(&self, digest: &str, here: &str) -> bool {
        let digests = self.digests.get_or_init(&self.gather);
        digests.get(digest).is_some_and(|conv| conv.as_deref() != Some(here))
    }
}

/// Notes what a line begins to send.
pub fn note_digest(digests: &mut Digests, event: &Event) {
    let Act::Invoke { asked: Asked::Send { digest, .. } } = &event.act else { return };
    match digests.get_mut(digest) {
        Some(conv) if *conv != event.conv => *conv = None,
        Some(_) => {}
        None => drop(digests.insert(digest.clone(), event.conv.clone())),
    }
}
