//! The chat client that `bench` and `check` use: protocol v1 over a WebSocket, nothing above it.
//!
//! One task per connection owns the socket. Commands may be pipelined; answers are matched by
//! `id`. It never reconnects by itself: a harness must see every cut.

mod address;
mod chat_client;
mod connection;
mod credentials;
mod error;
mod options;
#[cfg(test)]
pub(crate) mod tests;
mod trusted;

pub use address::Address;
pub use chat_client::{Answer, Answered, Client};
pub use credentials::{Credentials, TokenMaker};
pub use error::ClientError;
pub use options::{ClientOptions, PushHandler, ReceivedPush};
pub use trusted::trust;
