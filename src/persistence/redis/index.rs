//! The index of a user's conversations: a hint that may hold too much, never too little.
//!
//! It lives in another slot than the conversation, so no script can change both. It is written *before* the call
//! that makes a conversation somebody's, on the same connection; what it names and is not theirs is
//! filtered out when it is read.

use std::sync::Arc;

use redis::Cmd;

use super::keys::Keys;
use crate::model::{ConvId, Place, UserName};

/// Writes the entry unless it is there: 1 when it was not.
pub fn add(keys: &Keys, user: &UserName, conv: ConvId, place: &Place, stamp: u64) -> Cmd {
    zadd(keys, user, conv, place, stamp, &["NX"])
}

/// Moves an entry that an earlier, refused call had written to where it belongs.
pub fn raise(keys: &Keys, user: &UserName, conv: ConvId, place: &Place, stamp: u64) -> Cmd {
    zadd(keys, user, conv, place, stamp, &["XX", "GT"])
}

fn zadd(
    keys: &Keys,
    user: &UserName,
    conv: ConvId,
    place: &Place,
    stamp: u64,
    how: &[&str],
) -> Cmd {
    let mut cmd = redis::cmd("ZADD");
    cmd.arg(keys.index(user)).arg(how).arg(stamp).arg(member(conv, place));
    cmd
}

/// `conv place`.
fn member(conv: ConvId, place: &Place) -> String {
    let place = serde_json::to_string(place)
        .unwrap_or_else(|_| unreachable!("a place has only string keys"));
    format!("{conv} {place}")
}

/// The inverse.
pub fn entry(member: &str) -> Option<(ConvId, Arc<Place>)> {
    let (conv, place) = member.split_once(' ')?;
    Some((ConvId::parse(conv)?, Arc::new(serde_json::from_str(place).ok()?)))
}
