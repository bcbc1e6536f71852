//! Socket.IO (protocol 5 over Engine.IO 4, WebSocket and polling): the same sessions, rules and limits behind another wire.
//!
//! The transports and the packets are those of socketioxide; a connection is one session and one outbox, as a WebSocket is.

mod connection;
mod engine;
mod engine_packet;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod http;
mod inbox;
mod intake;
mod line;
mod packet;
mod peer;
mod sender;

pub(super) use self::http::{SocketIo, serve};

/// Where clients find it.
pub(super) const PATH: &str = "/socket.io";
