//! What was revoked, kept where every node finds it: the contract, and the keepers.

pub mod local;
pub mod redis;
#[cfg(test)]
mod tests;

use async_trait::async_trait;

use super::StartError;
use crate::model::Revocation;

/// Revocations that are kept at once; each stays until no token that it concerns can be good.
pub const REVOCATIONS_MAX: usize = 100_000;

/// Keeps revocations for all nodes.
///
/// **Told twice.** A revocation is kept here, and told over the bus: the bus brings it at once and may lose it, this brings it surely and
/// within a look. What a node has heard of stays known to it, whatever becomes of the keeper.
#[async_trait]
pub trait Revocations: Send + Sync + 'static {
    /// Everything that is kept. Called once, before the node takes sessions. An error: it cannot be had, and the node must not start.
    async fn start(&self) -> Result<Vec<Revocation>, StartError>;

    /// Keeps one. When it returns `Ok`, every node that starts later knows it, and every node that looks later finds it. An error: perhaps
    /// it is kept, perhaps not; keeping it again does no harm.
    async fn keep(&self, revocation: &Revocation) -> Result<(), KeepError>;

    /// What was kept by others since the last call, some of it perhaps again. An error: the keeper is away, and the next call tells
    /// it. One caller at a time.
    async fn look(&self) -> Result<Vec<Revocation>, String> {
        Ok(Vec::new())
    }

    /// Whether other nodes keep theirs here: [`look`](Revocations::look) is to be called now and then.
    fn is_shared(&self) -> bool {
        false
    }
}

/// Why a revocation is not kept. The text says what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeepError(pub String);

impl KeepError {
    fn full() -> Self {
        Self(format!(
            "{REVOCATIONS_MAX} revocations are kept already; change the key that tokens are signed with"
        ))
    }
}
