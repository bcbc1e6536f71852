//! One node's chat: its engines, its sessions, its rooms.

use std::sync::Arc;
use std::time::Duration;

use crate::distribution::Distribution;
use crate::model::NodeId;
use crate::persistence::Persistence;
use crate::registry::Registry;

/// What a node's chat can be told.
#[derive(Debug, Clone)]
pub struct ChatSettings {
    /// This server process.
    pub node: NodeId,
    /// How often the server pings, as `hello` says it.
    pub ping: Duration,
}

/// One node's chat. Sessions come and go; the service lives as long as the process.
pub struct ChatService {
    persistence: Arc<dyn Persistence>,
    #[expect(dead_code)]
    distribution: Arc<dyn Distribution>,
    #[expect(dead_code)]
    registry: Arc<dyn Registry>,
    #[expect(dead_code)]
    settings: ChatSettings,
}

impl ChatService {
    /// Joins the engines to a node and begins to take hints.
    pub async fn start(
        persistence: Arc<dyn Persistence>,
        distribution: Arc<dyn Distribution>,
        registry: Arc<dyn Registry>,
        settings: ChatSettings,
    ) -> Arc<Self> {
        Arc::new(Self { persistence, distribution, registry, settings })
    }

    /// The message engine.
    pub fn persistence(&self) -> &dyn Persistence {
        &*self.persistence
    }

    /// Refuses new commands with `draining` and tells every session.
    pub fn drain(&self) {}

    /// Waits until everything begun is answered and published, then closes the engine. Sessions must have ended.
    pub async fn close(&self) {}
}
