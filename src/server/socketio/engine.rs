//! What the engine is told, and what it calls: a connection begins, a connection is gone. What clients say does not come this way
//! (`intake.rs`, `http.rs`).

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use engineioxide::config::EngineIoConfig;
use engineioxide::handler::EngineIoHandler;
use engineioxide::socket::DisconnectReason;
use engineioxide::{Socket, Str};

use super::peer::{Peer, Peers};
use super::sender::QUEUE_MAX;
use super::{PATH, connection};
use crate::model::LIMITS;
use crate::protocol::CloseCode;
use crate::server::addresses::AddressPlace;
use crate::server::connections::Slot;
use crate::server::ending::Ending;
use crate::server::{Node, ServerSettings};

/// The engine gives up a silent client this much later than we do: we can still tell it why. (It is told of whatever a client says: one that only never
/// answers a ping is not silent.)
const LATER: Duration = Duration::from_secs(5);
/// Time for the three packets of an upgrade.
const UPGRADE_TIME: Duration = Duration::from_secs(10);
/// Bytes of one request: the largest packet, and the kind that the engine puts before it.
pub(super) const POST_BYTES_MAX: usize = LIMITS.frame_bytes_max + 1;
/// What the engine takes for that bound. It is also its bound of an answer, and what did not fit one is lost in an upgrade: nothing may
/// ever fit not. Answers are bounded by the outbox, requests by us, before the engine has them.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 40;
/// It gets frames of the size of control frames only.
const WEBSOCKET_BYTES_MAX: usize = 256;

/// What the engine keeps with its socket.
#[derive(Debug, Default)]
pub(super) struct Data(OnceLock<Arc<Peer>>);

/// What a request that begins a connection gives to it: the engine has one way only, from a request to its socket.
#[derive(Clone)]
pub(super) struct Ticket(Arc<Mutex<Option<Admitted>>>);

/// A client who may come in.
pub(super) struct Admitted {
    pub(super) peer: Arc<Peer>,
    pub(super) slot: Slot,
    /// Among those of its address; of a WebSocket the socket has it.
    pub(super) place: Option<AddressPlace>,
}

impl Ticket {
    pub(super) fn new(admitted: Admitted) -> Self {
        Self(Arc::new(Mutex::new(Some(admitted))))
    }

    fn take(&self) -> Option<Admitted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Begins the task of each connection and ends it.
pub(super) struct Engine {
    node: Arc<Node>,
    peers: Arc<Peers>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    pub(super) fn new(node: Arc<Node>, peers: Arc<Peers>) -> Self {
        Self { node, peers }
    }

    fn peer(socket: &Socket<Data>) -> Option<&Arc<Peer>> {
        socket.data.0.get()
    }
}

/// The engine's own bounds.
pub(super) fn config(settings: &ServerSettings) -> EngineIoConfig {
    EngineIoConfig::builder()
        .req_path(PATH)
        .ping_interval(settings.ping)
        .ping_timeout(settings.pong_grace + LATER)
        .upgrade_timeout(UPGRADE_TIME)
        .max_buffer_size(QUEUE_MAX)
        // Clients learn of it, and divide what they send.
        .max_payload(PAYLOAD_BYTES_MAX as u64)
        .ws_read_buffer_size(WEBSOCKET_BYTES_MAX)
        .ws_max_message_size(WEBSOCKET_BYTES_MAX)
        .ws_max_frame_size(WEBSOCKET_BYTES_MAX)
        .build()
}

impl EngineIoHandler for Engine {
    type Data = Data;

    fn on_connect(self: Arc<Self>, socket: Arc<Socket<Data>>) {
        let ticket = socket.req_parts.extensions.get::<Ticket>();
        let Some(Admitted { peer, slot, place }) = ticket.and_then(Ticket::take) else {
            tracing::error!("the engine has a connection that was not admitted");
            socket.close(DisconnectReason::TransportError);
            return;
        };
        // Nobody else sets it.
        let _ = socket.data.0.set(Arc::clone(&peer));
        self.peers.add(socket.id, &peer);
        let (node, peers) = (Arc::clone(&self.node), Arc::clone(&self.peers));
        self.node.websockets.spawn(async move {
            let sid = socket.id;
            connection::run(socket, &peer, node, slot).await;
            peer.over.cancel();
            peers.remove(sid);
            drop(place);
        });
    }

    fn on_disconnect(&self, socket: Arc<Socket<Data>>, reason: DisconnectReason) {
        let Some(peer) = Self::peer(&socket) else { return };
        peer.inbox.end(match reason {
            DisconnectReason::TransportClose => Ending::Peer(None),
            DisconnectReason::HeartbeatTimeout => Ending::Code(CloseCode::NO_PONG),
            DisconnectReason::PacketParsingError | DisconnectReason::MultipleHttpPollingError => {
                Ending::Code(CloseCode::PROTOCOL)
            }
            DisconnectReason::TransportError | DisconnectReason::ClosingServer => Ending::Lost,
        });
    }

    fn on_message(self: &Arc<Self>, _: Str, _: Arc<Socket<Data>>) {}

    fn on_binary(self: &Arc<Self>, _: Bytes, _: Arc<Socket<Data>>) {}
}
