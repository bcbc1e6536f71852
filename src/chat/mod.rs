//! The rules of the chat, engine-free: what a session may do, what it sees, and in which order.

mod outbox;
mod service;
mod session;

pub use outbox::{Frame, Outbox, Taken};
pub use service::{ChatService, ChatSettings};
pub use session::Session;
