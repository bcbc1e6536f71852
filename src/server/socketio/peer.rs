//! What the engine's side and the session's side of a Socket.IO connection share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engineioxide::Str;
use engineioxide::socket::Sid;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::line::Gate;
use crate::chat::Outbox;
use crate::protocol::CloseCode;
use crate::server::ServerSettings;
use crate::server::ending::Ending;
use crate::server::pulse::Pulse;

/// A client: what it said, what it is to be told, when it was heard.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) inbox: Inbox,
    pub(super) outbox: Arc<Outbox>,
    pub(super) pulse: Pulse,
    /// Held by the one request at a time that brings packets.
    pub(super) posting: tokio::sync::Mutex<()>,
    /// Held by the one that polls.
    pub(super) polling: tokio::sync::Mutex<()>,
    /// The session is over, and the client was told why as far as it could be.
    pub(super) over: CancellationToken,
    line: Mutex<Option<Arc<Gate>>>,
    overhead: Mutex<Overhead>,
}

/// Bytes that came and were no packet, less what may come so in the time since.
#[derive(Debug)]
struct Overhead {
    bytes: u64,
    since: Instant,
}

/// Bytes of control frames and pongs that may come in a second, over a long time: an honest client sends some in 25 s.
const OVERHEAD_BYTES_PER_S: u64 = 64;
/// What may come at once: the largest packet while it is not whole, and more than an honest client ever sends around it.
const OVERHEAD_BYTES_MAX: u64 = 256 << 10;
/// What stands around a packet: the head of a frame, what the engine puts before, what divides packets of a request.
const AROUND_BYTES: u64 = 16;

impl Peer {
    pub(super) fn new(settings: &ServerSettings) -> Arc<Self> {
        Arc::new(Self {
            inbox: Inbox::default(),
            outbox: Arc::new(Outbox::new(settings.outbox_bytes_max)),
            pulse: Pulse::start(Instant::now()),
            posting: tokio::sync::Mutex::new(()),
            polling: tokio::sync::Mutex::new(()),
            over: CancellationToken::new(),
            line: Mutex::default(),
            overhead: Mutex::new(Overhead { bytes: 0, since: Instant::now() }),
        })
    }

    /// Bytes came. A client who sends much beside packets, pings above all, is ended here.
    pub(super) fn heard(&self, bytes: usize) {
        let now = Instant::now();
        self.pulse.heard(now);
        let mut overhead = self.overhead.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(overhead.since).as_secs();
        if passed > 0 {
            overhead.bytes = overhead.bytes.saturating_sub(passed * OVERHEAD_BYTES_PER_S);
            overhead.since = now;
        }
        overhead.bytes += bytes as u64;
        let is_flood = overhead.bytes > OVERHEAD_BYTES_MAX;
        drop(overhead);
        if is_flood {
            self.inbox.end(Ending::Code(CloseCode::RATE));
        }
    }

    /// Of these bytes that many were a packet.
    pub(super) fn said(&self, packet: Str) {
        let mut overhead = self.overhead.lock().unwrap_or_else(PoisonError::into_inner);
        overhead.bytes = overhead.bytes.saturating_sub(packet.len() as u64 + AROUND_BYTES);
        drop(overhead);
        self.inbox.push(packet);
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

#[cfg(test)]
mod tests {
    use super::super::inbox::Said;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_sends_much_that_is_no_packet_is_ended() {
        let peer = Peer::new(&ServerSettings::default());
        let packet = || Str::from("x".repeat(10_000));
        for _ in 0..100 {
            peer.heard(10_016);
            peer.said(packet());
            assert!(matches!(peer.inbox.next().await, Said::Packet(_)));
        }
        // A pong of eleven bytes every 25 s, for months.
        for _ in 0..400_000 {
            peer.heard(11);
            tokio::time::advance(std::time::Duration::from_secs(25)).await;
        }
        assert!(peer.inbox.until_room().await);
        for _ in 0..100_000 {
            peer.heard(6);
        }
        assert!(matches!(peer.inbox.next().await, Said::End(Ending::Code(CloseCode::RATE))));
    }
}
