//! Who is connected: the contract of every registry, and the registries.

mod background;
#[cfg(test)]
mod conformance;
pub mod local;
pub mod redis;
pub mod revocations;
pub mod tenancy;
mod timed;

pub use timed::Timed;

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{SessionId, UserName};

/// Knows which users have a session, on any node.
///
/// **Lease.** What a node says holds as long as it renews its lease. The users of a node that was killed are gone when the
/// lease ends, those of a node that was started again at once; other nodes notice, and one of them tells it.
///
/// **Changes.** A user with a first session anywhere came, one without a last session went. Each of the two is told to
/// the [`PresenceSink`] of one node: the one that had the session, or one that noticed a node's end. A change may be told twice, and is
/// lost when that node ends before it has told it. Best effort, newest wins: by [`Change::version`].
///
/// **Blocking.** Nothing here fails or blocks a session. A registry that is away is waited for no longer than
/// [`WAIT_MAX`]; until it is back the node tells what it believes, and then what is true.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// The registry's name as users configure it: `LOCAL`, `REDIS`.
    fn name(&self) -> &'static str;

    /// Begins to tell changes to `sink`. Called once, before the node takes sessions. When it returns, nobody is online by an
    /// earlier start of this node any more. An error: the registry cannot be reached, and the node must not start.
    async fn start(&self, sink: Arc<dyn PresenceSink>) -> Result<(), StartError>;

    /// Adds a session of this node; a session that is there already is not added again. When it returns, every node's
    /// [`online`](Registry::online) knows, and the change is told, unless the registry is away. Dropping the call adds the session or not:
    /// [`disconnect`](Registry::disconnect) it either way.
    async fn connect(&self, user: &UserName, session: &SessionId);

    /// Removes a session of this node; of one that is not there, nothing. When it returns, every node's
    /// [`online`](Registry::online) knows, unless the registry is away. Dropping the call removes the session all the same once it has
    /// been polled. Calls of one session must not overlap.
    async fn disconnect(&self, user: &UserName, session: &SessionId);

    /// Whether the user has a session anywhere; while the registry is away, on this node.
    async fn online(&self, user: &UserName) -> bool;

    /// `Err` with the reason while the registry is away. Chat goes on without it.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    /// Takes this node's sessions out, so that nobody waits for its lease, and ends the work behind the registry.
    async fn close(&self) {}
}

/// How long `connect`, `disconnect` and `online` wait for a registry.
pub const WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// Why a registry cannot start. The text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// Where a registry tells who came and who went.
pub trait PresenceSink: Send + Sync + 'static {
    /// Takes one change, for all nodes; must not block.
    fn changed(&self, change: Change);

    /// The lease of some node ended without a goodbye: it may have stored a message that it did not tell. Told by one node or
    /// more, for all nodes; must not block.
    fn node_ended(&self);
}

/// A user came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub user: UserName,
    /// Has a session anywhere now.
    pub online: bool,
    /// Rises from change to change of a user, on all nodes: of two the higher one is the newer. 0: a guess of a node whose registry is away.
    pub version: u64,
}
