//! The rules of the chat, engine-free: what a session may do, what it sees, and in which order.

mod access;
mod admission;
mod directory;
mod encode;
mod expiries;
mod flaw;
mod gaps;
mod groups;
#[cfg(test)]
pub(crate) mod instructions;
mod listing;
mod membership;
mod methods;
mod outbox;
mod pace;
mod rate;
mod reading;
mod refusals;
mod room;
mod room_state;
mod rooms;
mod service;
mod session;
#[cfg(test)]
mod simulation;
mod standing;
mod subscription;

pub use access::{Access, RevokeError, RevokeOutcome};
pub use admission::WorkState;
pub use outbox::{Frame, Outbox, Taken};
pub use rate::{Bucket, Rate};
pub use service::{ChatService, ChatSettings};
pub use session::Session;
