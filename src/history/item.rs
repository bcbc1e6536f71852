//! A message as somebody saw it.

use serde::{Deserialize, Serialize};

use crate::model::{Message, Seq};

/// A message as somebody saw it: `[seq, cid, digest, ts, late, from]`. The digest is of what was
/// received, computed by the harness; the content says what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ItemTuple", into = "ItemTuple")]
pub struct Item {
    /// Its number.
    pub seq: Seq,
    /// The sender's name for it.
    pub cid: String,
    /// Digest of the content as received.
    pub digest: String,
    /// Its time, ms.
    pub ts: u64,
    /// Flagged as late.
    pub late: bool,
    /// The sender.
    pub from: String,
}

type ItemTuple = (Seq, String, String, u64, bool, String);

impl From<ItemTuple> for Item {
    fn from((seq, cid, digest, ts, late, from): ItemTuple) -> Self {
        Self { seq, cid, digest, ts, late, from }
    }
}

impl From<Item> for ItemTuple {
    fn from(item: Item) -> Self {
        (item.seq, item.cid, item.digest, item.ts, item.late, item.from)
    }
}

impl Item {
    /// A message as it was received, with the digest of its content.
    pub fn of(message: &Message, digest: String) -> Self {
        Self {
            seq: message.seq,
            cid: message.cid.as_str().to_owned(),
            digest,
            ts: message.ts,
            late: message.late,
            from: message.from.as_str().to_owned(),
        }
    }
}
