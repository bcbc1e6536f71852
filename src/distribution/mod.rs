//! How a stored message becomes known to the other nodes: the contract of every bus, and the buses.

pub mod local;

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{AckSet, ConvId, Epoch, Message, NodeId, Place, Seq, SessionId, UserName};

/// A bus for hints between nodes, the sender's own node included.
///
/// **Delivery.** At best once, possibly twice, late, out of order, or never: a hint says what the
/// engine already holds, so a reader repairs every loss from there by `seq`. "Append and publish" cannot be atomic;
/// the append comes first, and the room that fans out notices what it missed.
///
/// **Blocking.** [`publish`](Distribution::publish) never blocks and never fails a send. A hint that
/// cannot be taken is dropped, counted, and its conversation remembered, so that its newest `seq` is
/// published when the bus is back.
#[async_trait]
pub trait Distribution: Send + Sync + 'static {
    /// The bus's name as users configure it: `LOCAL`, `REDIS`, `KAFKA`.
    fn name(&self) -> &'static str;

    /// Begins to hand every hint published from now on to `sink`. Called once, before the node
    /// takes sessions; returns when nothing published afterwards can be missed by position.
    async fn start(&self, sink: Arc<dyn HintSink>);

    /// Tells all nodes. Order between calls is not kept.
    fn publish(&self, hint: Hint);
}

/// Where a node takes hints.
pub trait HintSink: Send + Sync + 'static {
    /// Takes one hint; must not block.
    fn deliver(&self, hint: Hint);
}

/// Something that the engine or a registry already holds.
#[derive(Debug, Clone)]
pub enum Hint {
    /// A message was stored.
    Message(MessageHint),
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
}

/// A stored message, for those who have its conversation open.
#[derive(Debug, Clone)]
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
}
