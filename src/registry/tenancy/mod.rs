//! Which nodes run on the same engines: a combination of engines that cannot keep its promises for more than one node runs as one.

pub mod cassandra;
mod entry;
mod lease;
pub mod redis;
pub mod riak;
mod roll;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use tokio::sync::oneshot;

pub use self::roll::RollSettings;

/// Keeps apart nodes that must not run on the same engines. It is a lease: a node that was killed is in nobody's way when it has ended, and
/// not in its own way when it is started again under its name.
#[async_trait]
pub trait Tenancy: Send + Sync + 'static {
    /// Takes the engines for this node, and keeps them. Called once, before the node takes sessions. Waits for the lease of a node
    /// that may have been killed; an error: such a node is running, or the engines cannot be asked.
    ///
    /// What is returned is told, with the reason, when another node has come in while this one was away longer than its
    /// lease: then this one must end.
    async fn claim(&self) -> Result<oneshot::Receiver<String>, ClaimError>;

    /// Leaves the engines to others at once.
    async fn close(&self);
}

/// With whom a node may share its engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Company {
    /// With any number of its kind.
    Many,
    /// With nobody, because of these settings: `NAME=value`, with ` and ` between.
    Nobody(String),
    /// With nobody as long as this goes on, which is no node.
    Alone(&'static str),
}

/// Why a node cannot have the engines. The text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ClaimError(pub String);
