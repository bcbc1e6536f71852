//! A conversation that a session has open: what the session and the room share of it.

use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use foldhash::HashMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::directory::SessionHandle;
use crate::model::{Cid, Epoch, Membership, Message, MessageType, Roster, Seq};

/// Own messages that may be on their way to a subscriber, who may not want them back, or opens again and then does not. Sends in
/// flight are few; only those that timed out stay until they show up.
const OWN_SENDS_MAX: usize = 4_096;

/// One session's interest in one conversation.
#[derive(Debug)]
pub struct Subscription {
    /// Whose.
    pub session: Arc<SessionHandle>,
    /// Whether messages are pushed at all.
    pub push: bool,
    /// Whether this session's own messages are pushed, too.
    echo: bool,
    /// Sends of this very session that are still to come as pushes; none before the first.
    own_sends: OnceLock<Arc<Mutex<OwnSends>>>,
    /// The head that its `open` showed.
    shown: AtomicU64,
    /// The life of the store in which it was opened; none before that is answered.
    life: OnceLock<Epoch>,
    /// Which membership of a group it was opened with; none elsewhere, and before that is answered.
    joined: OnceLock<u64>,
    closed: AtomicBool,
}

/// Sends of one session that the room has not fanned out yet.
#[derive(Debug, Default)]
struct OwnSends {
    waiting: HashMap<SendKey, OwnSend>,
    /// Nothing at or below is pushed any more: the last `open` showed it.
    shown: Seq,
}

/// What tells a send from another of the same user. The `cid` alone does not: another session may have
/// stored another message under it, and that one is to be pushed here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SendKey {
    cid: Cid,
    content_hash: u64,
}

impl SendKey {
    fn new(cid: &Cid, kind: &MessageType, content: &str) -> Self {
        // Whoever finds two contents of one hash can only hide a message of their own from themselves.
        let content_hash = xxh3_64_with_seed(content.as_bytes(), xxh3_64(kind.as_str().as_bytes()));
        Self { cid: cid.clone(), content_hash }
    }
}

/// One message, however often it was sent.
#[derive(Debug, Default)]
struct OwnSend {
    unanswered: usize,
    stored: Option<Seq>,
}

impl Subscription {
    /// A subscription that is not in a room yet. `earlier` is the one it replaces: its sends may
    /// still be on their way.
    pub fn new(
        session: Arc<SessionHandle>,
        echo: bool,
        push: bool,
        earlier: Option<&Self>,
    ) -> Self {
        let own_sends = earlier.map(|earlier| earlier.own_sends.clone()).unwrap_or_default();
        let (life, joined, closed) = (OnceLock::new(), OnceLock::new(), AtomicBool::new(false));
        let shown = AtomicU64::new(0);
        Self { session, push, echo, own_sends, shown, life, joined, closed }
    }

    /// The stream was replaced under the subscriber: the session must open again.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether the stream was replaced.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn own_sends(&self) -> Option<MutexGuard<'_, OwnSends>> {
        // No code under this lock can panic half-way through a change.
        Some(self.own_sends.get()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A send of this session begins; what is returned goes to its end. `None`: its push comes in any case.
    pub fn send_begins(&self, cid: &Cid, kind: &MessageType, content: &str) -> Option<SendKey> {
        let own = self.own_sends.get_or_init(|| {
            let shown = Seq(self.shown.load(Ordering::Acquire));
            Arc::new(Mutex::new(OwnSends { shown, ..OwnSends::default() }))
        });
        let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.waiting.len() >= OWN_SENDS_MAX {
            // Answered long ago, so pushed long ago: a retry put it here again.
            own.waiting.retain(|_, send| send.unanswered > 0);
        }
        if own.waiting.len() >= OWN_SENDS_MAX {
            return None;
        }
        let key = SendKey::new(cid, kind, content);
        own.waiting.entry(key.clone()).or_default().unanswered += 1;
        Some(key)
    }

    /// A send of this session ends: stored under a number (its push is still to come, or was shown
    /// by `open`), or refused.
    pub fn send_ends(&self, key: Option<SendKey>, stored: Option<Seq>) {
        let (Some(key), Some(mut own)) = (key, self.own_sends()) else { return };
        let shown = own.shown;
        if let Entry::Occupied(mut entry) = own.waiting.entry(key) {
            let send = entry.get_mut();
            send.unanswered = send.unanswered.saturating_sub(1);
            send.stored = send.stored.or(stored);
            let to_come = send.stored.map_or(send.unanswered > 0, |seq| seq > shown);
            if !to_come {
                entry.remove();
            }
        }
    }

    /// Whether it was opened in this life of the store: numbers of another one mean nothing here.
    pub fn lives_in(&self, epoch: &Epoch) -> bool {
        self.life.get() == Some(epoch)
    }

    /// The `open` was answered to a member.
    pub fn joins(&self, membership: Membership) {
        // An `open` is answered once.
        let _ = self.joined.set(membership.joined);
    }

    /// Whether the membership that it was opened with goes on in `roster`.
    pub fn is_of(&self, roster: &Roster) -> bool {
        let membership = roster.membership(&self.session.user);
        membership.is_some_and(|membership| self.joined.get() == Some(&membership.joined))
    }

    /// An `open` showed everything up to `head`.
    pub fn shows(&self, epoch: &Epoch, head: Seq) {
        // An `open` is answered once.
        let _ = self.life.set(epoch.clone());
        self.shown.store(head.0, Ordering::Release);
        if let Some(mut own) = self.own_sends() {
            own.shown = head;
            own.waiting.retain(|_, send| send.stored.is_none_or(|seq| seq > head));
        }
    }

    /// Whether this message is to be pushed here.
    pub fn wants(&self, message: &Message) -> bool {
        let is_own_send = match self.own_sends() {
            Some(mut own) if message.from == self.session.user => {
                let key = SendKey::new(&message.cid, &message.kind, &message.content);
                own.waiting.remove(&key).is_some()
            }
            _ => false,
        };
        self.push && (self.echo || !is_own_send)
    }
}
