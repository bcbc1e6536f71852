//! A conversation that a session has open: what the session and the room share of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::directory::SessionHandle;
use crate::model::{Cid, Message};

/// Own messages that may be on their way to a subscriber that does not want them back. Sends in
/// flight are few; only those that timed out stay until they show up.
const OWN_CIDS_MAX: usize = 4_096;

/// One session's interest in one conversation.
#[derive(Debug)]
pub struct Subscription {
    /// Whose.
    pub session: Arc<SessionHandle>,
    /// Whether messages are pushed at all.
    pub push: bool,
    /// Sends of this very session whose push is to be left out; `None` when it wants them (`echo`).
    own_cids: Option<Mutex<HashSet<Cid>>>,
    closed: AtomicBool,
}

impl Subscription {
    /// A subscription that is not in a room yet.
    pub fn new(session: Arc<SessionHandle>, echo: bool, push: bool) -> Self {
        let own_cids = (!echo).then(Mutex::default);
        Self { session, push, own_cids, closed: AtomicBool::new(false) }
    }

    /// The stream was replaced under the subscriber: the session must open again.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether the stream was replaced.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A send of this session begins.
    pub fn note_send(&self, cid: &Cid) {
        if let Some(own_cids) = &self.own_cids {
            let mut own_cids = own_cids.lock().unwrap_or_else(PoisonError::into_inner);
            if own_cids.len() < OWN_CIDS_MAX {
                own_cids.insert(cid.clone());
            }
        }
    }

    /// A send of this session will not be pushed: it was refused, or was there before.
    pub fn forget_send(&self, cid: &Cid) {
        if let Some(own_cids) = &self.own_cids {
            own_cids.lock().unwrap_or_else(PoisonError::into_inner).remove(cid);
        }
    }

    /// Whether this message is to be pushed here.
    pub fn wants(&self, message: &Message) -> bool {
        if !self.push {
            return false;
        }
        match &self.own_cids {
            Some(own_cids) if message.from == self.session.user => {
                !own_cids.lock().unwrap_or_else(PoisonError::into_inner).remove(&message.cid)
            }
            _ => true,
        }
    }
}
