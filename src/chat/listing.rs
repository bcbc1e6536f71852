//! The conversations of a user: `list`.

use std::sync::Arc;

use futures_util::future::try_join_all;

use super::ChatService;
use super::directory::{SessionHandle, to_for};
use super::reading::position;
use super::refusals::engine_error;
use crate::model::{
    ConvId, Count, Cursor, CursorScope, LIMITS, Message, Place, Position, Seq, UserName,
};
use crate::persistence::{AckOutcome, AckRequest, Mine, Summary};
use crate::protocol::{ErrorBody, ErrorCode, List, ListItem, ListReply, Reply};

/// Bytes of one entry beside its newest message: keys, ids, names and counts.
const ENTRY_BYTES: usize = 256;

/// Conversations of one list that are asked at a time: an engine that is a service answers them in about the time of one.
const AT_ONCE: usize = 16;

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
    mine.retain(|entry| start.is_none_or(|start| (entry.at, tie_break(entry.conv)) < start));

    let (mut items, mut next, mut last) = (Vec::new(), None, None);
    let mut bytes_left = LIMITS.page_bytes_max;
    let mut rest = mine.as_slice();
    'page: while !rest.is_empty() {
        let room = list.limit - items.len();
        if room == 0 {
            next = last;
            break;
        }
        let (asked, later) = rest.split_at(room.min(AT_ONCE).min(rest.len()));
        rest = later;
        let asked: Vec<_> = asked.iter().map(|entry| shown(service, entry, user)).collect();
        for (entry, newest, unread) in try_join_all(asked).await?.into_iter().flatten() {
            let bytes = newest.wire_bytes() + ENTRY_BYTES;
            if bytes > bytes_left && !items.is_empty() {
                next = last;
                break 'page;
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
                unread: unread.count,
                unread_more: unread.more,
                newest,
            });
        }
    }
    let next = next.map(|position| Cursor::encode(&scope, position));
    Ok(Reply::List(ListReply { items, next }))
}

/// What a list says of one of them: its newest message, and what is unread. `None` of an empty one, and of a group that the user is not in.
async fn shown<'a>(
    service: &ChatService,
    entry: &'a Mine,
    user: &UserName,
) -> Result<Option<(&'a Mine, Arc<Message>, Count)>, ErrorBody> {
    let summary = service.persistence.summary(entry.conv, user).await.map_err(engine_error)?;
    let Some(unread) = unread(service, entry, user, &summary).await? else { return Ok(None) };
    Ok(summary.newest.map(|newest| (entry, newest, unread)))
}

/// What is unread of a conversation; `None` of a group that the user is not in.
async fn unread(
    service: &ChatService,
    entry: &Mine,
    user: &UserName,
    summary: &Summary,
) -> Result<Option<Count>, ErrorBody> {
    // Asked after the summary was read: who is a member now may see it.
    let member = match service.membership(entry.conv, &entry.place, user).await {
        Ok(Some(member)) => member,
        Ok(None) => return Ok(Some(summary.unread)),
        Err(error) if error.code == ErrorCode::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let since = member.membership.read_up_to(&member.epoch);
    match summary.acked_up_to {
        // The first open acknowledges everything.
        None => Ok(Some(Count { count: 0, more: false })),
        Some(up_to) if up_to < since => {
            // Invited again: what was said before counts as read.
            let (conv, user) = (entry.conv, user.clone());
            let request = AckRequest { conv, user, up_to: since, ranges: Vec::new() };
            match service.persistence.ack(request).await.map_err(engine_error)? {
                AckOutcome::Merged { unread, .. } => Ok(Some(unread)),
                AckOutcome::AboveHead | AckOutcome::TooManyRanges => Ok(Some(summary.unread)),
            }
        }
        Some(_) => Ok(Some(summary.unread)),
    }
}
