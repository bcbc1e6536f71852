//! One connected device of a user.

use std::sync::Arc;

use super::{ChatService, Outbox};
use crate::protocol::CloseCode;

/// A session from its first frame to its end. Frames go in by [`Session::handle`]; everything that the session is told comes out of its [`Outbox`].
pub struct Session {}

impl Session {
    /// A session that has not said `hello` yet.
    pub fn new(_service: Arc<ChatService>, _outbox: Arc<Outbox>) -> Self {
        Self {}
    }

    /// Whether `hello` was accepted.
    pub fn is_greeted(&self) -> bool {
        false
    }

    /// Takes one text frame. Returns when the next may be read: at once for most commands, after
    /// the effect for `hello`, `open` and `leave`, later when too much is in flight. `Err`: close with this code (after what the outbox holds).
    pub async fn handle(&mut self, _text: &str) -> Result<(), CloseCode> {
        Ok(())
    }

    /// Ends the session: no more pushes, no longer online. Commands in flight still take effect.
    pub async fn end(self) {}
}
