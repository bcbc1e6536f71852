//! Whether this node should get clients, and why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::chat::ChatService;
use crate::model::{Durability, NodeId};
use crate::persistence::{EngineError, Lost};
use crate::protocol::EngineInfo;

/// How long a node says that its engine came back with less.
const LOST_DATA_SHOWN: Duration = Duration::from_secs(600);

/// What a node is made of, for people.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// This server process.
    pub node: NodeId,
    /// The bus.
    pub distribution: &'static str,
    /// The registry.
    pub registry: &'static str,
    /// The durability class below which this node is of no use.
    pub required_durability: Option<Durability>,
}

/// Judges readiness anew whenever it is asked.
pub(super) struct Readiness {
    chat: Arc<ChatService>,
    info: NodeInfo,
    draining: AtomicBool,
}

/// Whether the node should get clients, what it is made of, and what operators should know.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Report {
    /// No reason stands against it.
    pub(super) ready: bool,
    /// This server process.
    node: NodeId,
    /// Where messages live.
    engine: EngineInfo,
    /// How nodes hear of messages.
    distribution: Named,
    /// Who is connected where.
    registry: Named,
    /// What stands against it, and what operators should know.
    pub(super) reasons: Vec<Reason>,
}

/// An engine.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Named {
    /// `LOCAL`, `REDIS`, `KAFKA`.
    name: &'static str,
}

/// Something that operators should know.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Reason {
    /// What scripts branch on.
    pub(super) code: &'static str,
    /// For people.
    message: String,
}

impl Readiness {
    pub(super) fn new(chat: Arc<ChatService>, info: NodeInfo) -> Self {
        Self { chat, info, draining: AtomicBool::new(false) }
    }

    /// From now on the answer is no.
    pub(super) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> Report {
        let engine = self.chat.persistence();
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            let message = "the server is shutting down".to_owned();
            reasons.push(Reason { code: "draining", message });
        }
        if let Err(error) = engine.health() {
            reasons.push(Reason { code: code(&error), message: error.to_string() });
        }
        if let Some(skew_ms) = engine.clock_skew_ms() {
            let message = format!(
                "the clock of the store is {skew_ms} ms ahead of this node's; set both by NTP"
            );
            reasons.push(Reason { code: "clock_skew", message });
        }
        // It was enough at the start, but a service can be told otherwise while it runs.
        let durability = engine.durability();
        if let Some(required) = self.info.required_durability
            && !durability.satisfies(required)
        {
            let message = format!(
                "the durability class is {durability} now, below CHATCTL_REQUIRE_DURABILITY={required}"
            );
            reasons.push(Reason { code: "durability", message });
        }
        let ready = reasons.is_empty();
        if let Some(Lost { epoch, .. }) =
            engine.lost_data().filter(|lost| lost.at.elapsed() < LOST_DATA_SHOWN)
        {
            let message = format!(
                "the engine, or a part of it, came back with less than it had acknowledged; the epoch there is now {epoch}"
            );
            reasons.push(Reason { code: "engine_lost_data", message });
        }
        if let Err(message) = self.chat.registry().health() {
            // Still ready: chat goes on, only who is online is not known well.
            reasons.push(Reason { code: "registry_away", message });
        }
        Report {
            ready,
            node: self.info.node.clone(),
            engine: EngineInfo { name: engine.name().to_owned(), durability },
            distribution: Named { name: self.info.distribution },
            registry: Named { name: self.info.registry },
            reasons,
        }
    }
}

/// The same words as the error codes of the protocol.
fn code(error: &EngineError) -> &'static str {
    match error {
        EngineError::Unavailable(_) => "unavailable",
        EngineError::Overloaded(_) => "overloaded",
        EngineError::StorageFull(_) => "storage_full",
        EngineError::ReadOnly(_) => "read_only",
        EngineError::Timeout(_) => "timeout",
        EngineError::Internal(_) => "internal",
    }
}

/// 200 or 503.
pub(super) fn status(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
