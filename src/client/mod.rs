//! The chat client that `bench` and `check` use: protocol v1 over a WebSocket, or by the stock client of Socket.IO; nothing above it.
//!
//! One task per connection owns the socket. Commands may be pipelined; answers are matched by
//! `id`. It never reconnects by itself: a harness must see every cut.

mod address;
mod chat_client;
mod connection;
mod credentials;
mod error;
mod options;
mod socketio;
#[cfg(test)]
pub(crate) mod tests;
mod trusted;
mod wire;

pub use address::Address;
pub use chat_client::{Answer, Answered, Client};
pub use credentials::{Credentials, TokenMaker};
pub use error::ClientError;
pub use options::{ClientOptions, PushHandler, ReceivedPush};
pub use socketio::speak_socketio;
pub use trusted::trust;
