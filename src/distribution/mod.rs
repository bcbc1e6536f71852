//! How a stored message becomes known to the other nodes: the contract of every bus, and the buses.

mod backlog;
#[cfg(test)]
mod conformance;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod kafka;
pub mod local;
mod parts;
pub mod redis;
mod stages;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use parts::{Concerned, Parts};
pub use stages::{Stage, wall_clock_us};

use crate::model::{
    AckSet, ConvId, Epoch, Message, NodeId, Place, Revocation, Seq, SessionId, UserName,
};

/// A bus for hints between nodes, the sender's own node included.
///
/// **Delivery.** At best once, possibly twice, late, out of order, or never: a hint says what the
/// engine already holds, so a reader repairs every loss from there by `seq`. "Append and publish" cannot be atomic;
/// the append comes first, and the room that fans out notices what it missed.
///
/// **Blocking.** [`publish`](Distribution::publish) never blocks and never fails a send. A hint that
/// cannot be taken is dropped, counted, and its conversation remembered, so that its newest `seq` is
/// published when the bus is back.
///
/// **Away.** While a node cannot hear the bus, or a part of it, it tells [`gap`](HintSink::gap) of what is concerned at least once a
/// second, and once more when it hears again: streams go on by reading the engine.
#[async_trait]
pub trait Distribution: Send + Sync + 'static {
    /// The bus's name as users configure it: `LOCAL`, `REDIS`, `KAFKA`.
    fn name(&self) -> &'static str;

    /// Begins to hand every hint published from now on to `sink`. Called once, before the node
    /// takes sessions; returns when nothing published afterwards can be missed by position. An error: the bus
    /// cannot be reached, and the node must not start.
    async fn start(&self, sink: Arc<dyn HintSink>) -> Result<(), StartError>;

    /// Tells all nodes. Order between calls is not kept.
    fn publish(&self, hint: Hint);

    /// A conversation was opened here that was not open: its hints are of use from now on. What the bus cannot bring at once it tells by
    /// [`gap`](HintSink::gap). Must not block.
    fn opened(&self, _conv: ConvId) {}

    /// It was closed by the last who had it open. As many calls as of [`opened`](Distribution::opened), each after its own.
    fn closed(&self, _conv: ConvId) {}

    /// Tells what is still queued, if that is soon done, and ends the work behind the bus. Hints published afterwards may be lost.
    async fn close(&self) {}
}

/// Why a bus cannot start. The text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// Where a node takes hints.
pub trait HintSink: Send + Sync + 'static {
    /// Takes one hint; must not block.
    fn deliver(&self, hint: Hint);

    /// Hints may have been missed until now: the bus was away, or somebody could not tell what was stored. What is open of
    /// the concerned conversations must be compared with the engine. Must not block; calls that come close together may be
    /// answered as one.
    fn gap(&self, concerned: Concerned);
}

/// Something that the engine or a registry already holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// A message was stored.
    Message(MessageHint),
    /// Messages were stored up to a number, and their own hints were lost on the way.
    Head {
        /// The conversation.
        conv: ConvId,
        /// What it is.
        place: Arc<Place>,
        /// The life of the store that `head` belongs to.
        epoch: Epoch,
        /// The highest number.
        head: Seq,
    },
    /// A user acknowledged; best effort, newest wins.
    Acked {
        /// The conversation.
        conv: ConvId,
        /// Who.
        user: UserName,
        /// The merged state.
        acked: AckSet,
        /// The session that asked; it has its reply.
        session: SessionId,
    },
    /// A user came or went; best effort, newest wins.
    Presence {
        /// Who.
        user: UserName,
        /// Has a session anywhere.
        online: bool,
        /// Of two changes of a user the higher one is the newer; 0: unknown.
        #[serde(default)]
        version: u64,
    },
    /// A conversation became a user's by opening it; best effort.
    Became {
        /// The conversation.
        conv: ConvId,
        /// What it is.
        place: Arc<Place>,
        /// Whose it became.
        user: UserName,
        /// Its newest number.
        head: Seq,
    },
    /// Somebody came into a group or left it.
    Regrouped {
        /// The conversation.
        conv: ConvId,
        /// The life of the store that `version` belongs to.
        epoch: Epoch,
        /// Of the roster, which the engine has.
        version: u64,
        /// Who left by it.
        left: Option<UserName>,
    },
    /// Somebody's access was taken away; best effort, the keeper of revocations is the truth.
    Revoked(Revocation),
    /// A node ended, perhaps between storing and telling: what is open must be compared with the engine.
    Doubt,
}

impl Hint {
    /// When its message was durable, as [`MessageHint::stored_us`]; 0: it is of none.
    fn stored_us(&self) -> u64 {
        if let Self::Message(hint) = self { hint.stored_us } else { 0 }
    }
}

/// A stored message, for those who have its conversation open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageHint {
    /// The conversation.
    pub conv: ConvId,
    /// What it is: direct chats tell their two users even when they have it not open.
    pub place: Arc<Place>,
    /// The life of the store that `seq` belongs to.
    pub epoch: Epoch,
    /// The node that took the send.
    pub node: NodeId,
    /// The message.
    pub message: Arc<Message>,
    /// Users that the conversation became theirs by this message.
    pub became: Vec<UserName>,
    /// Version of the group's roster when it was stored, or a later one; 0 elsewhere.
    #[serde(default)]
    pub roster: u64,
    /// When it was durable, by the wall clock of its node, µs since 1970: another node tells from it how long the hint travelled. 0: unknown.
    #[serde(default)]
    pub stored_us: u64,
}
