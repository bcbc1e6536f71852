//! A conversation that a session has open: what the session and the room share of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::SessionHandle;
use crate::model::{Cid, Message, Seq};

/// Own messages that may be on their way to a subscriber that does not want them back. Sends in
/// flight are few; only those that timed out stay until they show up.
const OWN_SENDS_MAX: usize = 4_096;

/// One session's interest in one conversation.
#[derive(Debug)]
pub struct Subscription {
    /// Whose.
    pub session: Arc<SessionHandle>,
    /// Whether messages are pushed at all.
    pub push: bool,
    /// Sends of this very session whose push is to be left out; `None` when it wants them (`echo`).
    own_sends: Option<Arc<Mutex<OwnSends>>>,
    closed: AtomicBool,
}

/// Sends of one session that the room has not fanned out yet.
#[derive(Debug, Default)]
struct OwnSends {
    /// With the number, once the send is answered.
    waiting: HashMap<Cid, Option<Seq>>,
    /// Nothing at or below is pushed any more: the last `open` showed it.
    shown: Seq,
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
        let own_sends = (!echo)
            .then(|| earlier.and_then(|earlier| earlier.own_sends.clone()).unwrap_or_default());
        Self { session, push, own_sends, closed: AtomicBool::new(false) }
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
        Some(self.own_sends.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A send of this session begins.
    pub fn send_begins(&self, cid: &Cid) {
        if let Some(mut own) = self.own_sends() {
            if own.waiting.len() >= OWN_SENDS_MAX {
                // Answered long ago, so pushed long ago: a retry put it here again.
                own.waiting.retain(|_, seq| seq.is_none());
            }
            if own.waiting.len() < OWN_SENDS_MAX {
                own.waiting.insert(cid.clone(), None);
            }
        }
    }

    /// A send of this session is stored under a number; its push is still to come, or was shown by `open`.
    pub fn send_stored(&self, cid: &Cid, seq: Seq) {
        if let Some(mut own) = self.own_sends() {
            if seq <= own.shown {
                own.waiting.remove(cid);
            } else if let Some(known) = own.waiting.get_mut(cid) {
                *known = Some(seq);
            }
        }
    }

    /// A send of this session was refused: it will not be pushed.
    pub fn send_ends(&self, cid: &Cid) {
        if let Some(mut own) = self.own_sends() {
            own.waiting.remove(cid);
        }
    }

    /// An `open` showed everything up to `head`.
    pub fn shows(&self, head: Seq) {
        if let Some(mut own) = self.own_sends() {
            own.shown = head;
            own.waiting.retain(|_, seq| seq.is_none_or(|seq| seq > head));
        }
    }

    /// Whether this message is to be pushed here.
    pub fn wants(&self, message: &Message) -> bool {
        if !self.push {
            return false;
        }
        match self.own_sends() {
            Some(mut own) if message.from == self.session.user => {
                own.waiting.remove(&message.cid).is_none()
            }
            _ => true,
        }
    }
}
