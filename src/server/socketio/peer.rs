//! What the engine's side and the session's side of a Socket.IO connection share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engineioxide::socket::Sid;
use tokio::time::Instant;

use super::inbox::Inbox;
use super::line::Gate;
use crate::chat::Outbox;
use crate::server::ServerSettings;
use crate::server::pulse::Pulse;

/// A client: what it said, what it is to be told, when it was heard.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) inbox: Inbox,
    pub(super) outbox: Arc<Outbox>,
    pub(super) pulse: Pulse,
    /// Held by the one request at a time that brings packets.
    pub(super) posting: tokio::sync::Mutex<()>,
    line: Mutex<Option<Arc<Gate>>>,
}

impl Peer {
    pub(super) fn new(settings: &ServerSettings) -> Arc<Self> {
        Arc::new(Self {
            inbox: Inbox::default(),
            outbox: Arc::new(Outbox::new(settings.outbox_bytes_max)),
            pulse: Pulse::start(Instant::now()),
            posting: tokio::sync::Mutex::new(()),
            line: Mutex::default(),
        })
    }

    /// The gate of its one WebSocket; `None`: it has, or had, one already.
    pub(super) fn new_line(&self) -> Option<Arc<Gate>> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.is_some() {
            return None;
        }
        let gate = Arc::new(Gate::default());
        *line = Some(Arc::clone(&gate));
        drop(line);
        self.inbox.read_from(&gate);
        Some(gate)
    }

    /// The gate of its WebSocket, when it has one.
    pub(super) fn line(&self) -> Option<Arc<Gate>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Everybody who is connected by Socket.IO.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<HashMap<Sid, Arc<Peer>>>);

impl Peers {
    fn table(&self) -> MutexGuard<'_, HashMap<Sid, Arc<Peer>>> {
        // No code under this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, sid: Sid, peer: &Arc<Peer>) {
        self.table().insert(sid, Arc::clone(peer));
    }

    pub(super) fn get(&self, sid: Sid) -> Option<Arc<Peer>> {
        self.table().get(&sid).cloned()
    }

    pub(super) fn remove(&self, sid: Sid) {
        self.table().remove(&sid);
    }
}
