//! Who is connected: the contract of every registry, and the registries.

pub mod local;

use async_trait::async_trait;

use crate::model::{SessionId, UserName};

/// Knows which users have a session, on any node.
///
/// Entries carry a lease: those of a node that was killed vanish within it, those of a node that
/// restarted at once. Answers are best effort, newest state wins.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// The registry's name as users configure it: `LOCAL`, `REDIS`.
    fn name(&self) -> &'static str;

    /// Adds a session; `true` when the user had none before.
    async fn connect(&self, user: &UserName, session: &SessionId) -> bool;

    /// Removes a session; `true` when it was the user's last.
    async fn disconnect(&self, user: &UserName, session: &SessionId) -> bool;

    /// Whether the user has a session anywhere.
    async fn online(&self, user: &UserName) -> bool;
}
