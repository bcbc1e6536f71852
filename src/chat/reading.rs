//! Replies that carry messages: `open` and `read`, with their cursors.

use super::refusals::engine_error;
use crate::model::{ConvId, Cursor, CursorScope, Order, Position, Seq, UserName};
use crate::persistence::{OpenQuery, OpenView, Opened, Page, Persistence, RangeQuery};
use crate::protocol::{ErrorBody, ErrorCode, OpenReply, Read, ReadKind, ReadReply, Reply};

/// What `read{order:"desc"}` without bounds is bound to; `open.next` continues as that.
fn history(conv: ConvId) -> CursorScope<'static> {
    CursorScope::Range { conv, from: 0, to: u64::MAX, order: Order::Desc }
}

fn late_cursor(conv: ConvId, user: &UserName, after: Seq) -> String {
    Cursor::encode(&CursorScope::Late { conv, user }, Position { time: 0, seq: after })
}

/// What an `open` read, as its reply.
pub(super) fn open_reply(query: &OpenQuery, opened: Opened, online: Option<bool>) -> OpenReply {
    let conv = query.conv;
    let mut reply = OpenReply {
        conv,
        epoch: opened.epoch,
        head: opened.head,
        acked: opened.acked,
        items: Vec::new(),
        late: None,
        late_next: None,
        unread: opened.unread.unread.count,
        unread_more: opened.unread.unread.more,
        unread_late: opened.unread.late,
        unread_before: None,
        gap: None,
        next: None,
        recovered: None,
        online,
    };
    match opened.view {
        OpenView::Recovered(items) => {
            reply.items = items;
            reply.recovered = Some(true);
        }
        OpenView::Page { items, older, late, late_next } => {
            reply.next = older.then(|| {
                // With `limit` 0 everything is older: the first page follows.
                let (time, seq) =
                    items.first().map_or((u64::MAX, Seq(u64::MAX)), |item| item.position());
                Cursor::encode(&history(conv), Position { time, seq })
            });
            reply.items = items;
            reply.late = Some(late);
            reply.late_next = late_next.map(|after| late_cursor(conv, &query.user, after));
            reply.unread_before = Some(opened.unread.before);
            reply.gap = Some(opened.unread.before > 0);
            reply.recovered = query.resume.is_some().then_some(false);
        }
    }
    reply
}

/// Answers a `read`.
pub(super) async fn read(
    persistence: &dyn Persistence,
    user: &UserName,
    read: Read,
) -> Result<Reply, ErrorBody> {
    let Read { conv, kind, limit, cursor } = read;
    let scope = match &kind {
        ReadKind::Range { from, to, order } => {
            let (from, to) = (from.unwrap_or(0), to.unwrap_or(u64::MAX));
            CursorScope::Range { conv, from, to, order: *order }
        }
        ReadKind::After { after_seq } => CursorScope::After { conv, after_seq: *after_seq },
        ReadKind::Late { .. } => CursorScope::Late { conv, user },
    };
    let start = position(&scope, cursor.as_deref())?;
    let (items, next) = match scope {
        CursorScope::Range { from, to, order, .. } => {
            let start = start.map(|position| (position.time, position.seq));
            let query = RangeQuery { conv, from, to, order, start, limit };
            let page = persistence.range(query).await.map_err(engine_error)?;
            with_next(&scope, page)
        }
        CursorScope::After { after_seq, .. } => {
            let after = start.map_or(after_seq, |position| position.seq);
            let following = persistence.after(conv, after, limit).await.map_err(engine_error)?;
            with_next(&scope, following.page)
        }
        CursorScope::Late { .. } | CursorScope::List { .. } => {
            let after = start.map_or(Seq::ZERO, |position| position.seq);
            let page =
                persistence.unread_late(conv, user, after, limit).await.map_err(engine_error)?;
            (page.items, page.next.map(|after| late_cursor(conv, user, after)))
        }
    };
    Ok(Reply::Read(ReadReply { items, next }))
}

/// The position of a cursor; any that was not made for this request is an error, never page one.
pub(super) fn position(
    scope: &CursorScope<'_>,
    cursor: Option<&str>,
) -> Result<Option<Position>, ErrorBody> {
    cursor
        .map(|text| {
            Cursor::decode(scope, text).ok_or_else(|| {
                let message = "this cursor was not given for this request; read again without one";
                ErrorBody::new(ErrorCode::BadCursor, message)
            })
        })
        .transpose()
}

fn with_next(
    scope: &CursorScope<'_>,
    page: Page,
) -> (Vec<std::sync::Arc<crate::model::Message>>, Option<String>) {
    let last = page.items.last().filter(|_| page.more);
    let next = last.map(|last| {
        let (time, seq) = last.position();
        Cursor::encode(scope, Position { time, seq })
    });
    (page.items, next)
}
