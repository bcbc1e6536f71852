//! What everything in the engine shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::buckets::Buckets;
use super::calls::Calls;
use super::crash::Crash;
use super::ends::Ends;
use super::life;
use super::link::Link;
use super::rosters::Rosters;
use crate::persistence::index::Index;
use crate::persistence::status::Status;

/// The store as this node knows it.
pub struct Store {
    /// The way to the nodes.
    pub calls: Calls,
    /// What was seen of the nodes.
    pub status: Arc<Status>,
    /// The ends of conversations.
    pub ends: Ends,
    /// Full buckets.
    pub buckets: Buckets,
    /// Who is in groups.
    pub rosters: Rosters,
    /// Who has joined where, as far as it is remembered.
    pub index: Index,
    /// Where tests end a node.
    pub crash: Crash,
    entered: AtomicU64,
}

impl Store {
    /// Nothing is known of it yet.
    pub fn new(calls: Calls, status: Arc<Status>) -> Self {
        Self {
            calls,
            status,
            ends: Ends::default(),
            buckets: Buckets::default(),
            rosters: Rosters::default(),
            index: Index::default(),
            crash: Crash::default(),
            entered: AtomicU64::new(0),
        }
    }

    /// Called with a session before anything remembered is used: what was remembered in another life may be gone.
    pub fn enter(&self, link: &Link) {
        let generation = link.life.generation;
        if self.entered.swap(generation, Ordering::AcqRel) != generation {
            self.buckets.forget();
        }
    }

    /// A conversation ends before what was known to be stored: another life begins, for all nodes.
    pub async fn lost(&self, link: &Link) {
        let Link { session, statements, life, .. } = link;
        if let Err(error) = Box::pin(life::renew(session, statements, life)).await {
            tracing::warn!(%error, "cassandra: a loss was found, and could not be noted yet");
        }
    }
}
