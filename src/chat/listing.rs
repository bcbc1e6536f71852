//! The conversations of a user: `list`.

use std::sync::Arc;

use super::ChatService;
use super::directory::{SessionHandle, to_for};
use super::reading::position;
use super::refusals::engine_error;
use crate::model::{ConvId, Cursor, CursorScope, LIMITS, Place, Position, Seq};
use crate::protocol::{ErrorBody, List, ListItem, ListReply, Reply};

/// Bytes of one entry beside its newest message: keys, ids, names and counts.
const ENTRY_BYTES: usize = 256;

/// Breaks the tie of two conversations whose newest messages came in the same millisecond.
fn tie_break(conv: ConvId) -> Seq {
    Seq(conv.as_bytes().iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Answers a `list`. From then on the session hears of messages in what it was shown.
pub(super) async fn list(
    service: &ChatService,
    session: &Arc<SessionHandle>,
    list: List,
) -> Result<Reply, ErrorBody> {
    let user = &session.user;
    let scope = CursorScope::List { user };
    let start = position(&scope, list.cursor.as_deref())?.map(|start| (start.time, start.seq));
    let mut mine = service.persistence.mine(user).await.map_err(engine_error)?;
    mine.sort_by_key(|entry| std::cmp::Reverse((entry.at, tie_break(entry.conv))));
    let rest = mine
        .iter()
        .filter(|entry| start.is_none_or(|start| (entry.at, tie_break(entry.conv)) < start));

    let (mut items, mut next, mut last) = (Vec::new(), None, None);
    let mut bytes_left = LIMITS.page_bytes_max;
    for entry in rest {
        if items.len() == list.limit {
            next = last;
            break;
        }
        let summary = service.persistence.summary(entry.conv, user).await.map_err(engine_error)?;
        let Some(newest) = summary.newest else { continue };
        let bytes = newest.wire_bytes() + ENTRY_BYTES;
        if bytes > bytes_left && !items.is_empty() {
            next = last;
            break;
        }
        bytes_left = bytes_left.saturating_sub(bytes);
        last = Some(Position { time: entry.at, seq: tie_break(entry.conv) });
        if !matches!(*entry.place, Place::Direct(..)) {
            service.directory.watch(entry.conv, session);
        }
        items.push(ListItem {
            conv: entry.conv,
            to: to_for(&entry.place, user),
            head: newest.seq,
            unread: summary.unread.count,
            unread_more: summary.unread.more,
            newest,
        });
    }
    let next = next.map(|position| Cursor::encode(&scope, position));
    Ok(Reply::List(ListReply { items, next }))
}
