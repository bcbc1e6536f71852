//! What stands in the log of a conversation: one object for each batch of messages, or for each change of a group.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

use super::failure;
use crate::model::{ConvId, Message, Roster};
use crate::persistence::EngineError;
use crate::riak_link::Place;

/// One entry: its key is its number, which the next one's follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// [`Written::digest`] of the entry before; 0 of the first. It tells which of several values of one key others built on, and which
    /// entries were written behind something that is gone.
    pub after: u64,
    /// The life of the store that it was written in.
    pub generation: u64,
    /// Which attempt wrote it: two of equal content are two.
    pub tag: u64,
    /// Messages, ascending by `seq`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Arc<Message>>,
    /// The roster from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roster: Option<Arc<Roster>>,
}

/// An entry as it is stored.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its bytes.
    pub bytes: Bytes,
    /// Names it.
    pub digest: u64,
    /// What they say.
    pub entry: Entry,
}

impl Written {
    /// For the store.
    pub fn new(entry: Entry) -> Self {
        let bytes = serde_json::to_vec(&entry)
            .unwrap_or_else(|_| unreachable!("an entry has only string keys"));
        Self { digest: xxh3_64(&bytes), bytes: bytes.into(), entry }
    }

    /// From the store.
    pub fn read(bytes: Bytes) -> Result<Self, EngineError> {
        let entry = serde_json::from_slice(&bytes)
            .map_err(|_| failure::unreadable("an entry of a conversation"))?;
        Ok(Self { digest: xxh3_64(&bytes), bytes, entry })
    }
}

/// Where the entry of this number is, counted from 1.
pub fn place(conv: ConvId, number: u64) -> Place {
    // Twenty digits, so that their order is that of the numbers.
    Place { bucket: format!("log-{conv}"), key: format!("{number:020}") }
}
