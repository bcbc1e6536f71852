//! What the script of each operation answers; the first word says which life it is of, and was looked at before.

use super::codec::Reply;
use crate::model::{AckSet, Seq, UnreadCounts};
use crate::persistence::{AckOutcome, EngineError, LatePage, OpenView, Page, Summary};

/// Of `open.lua`.
pub struct OpenAnswer {
    pub head: Seq,
    /// The conversation became the user's just now.
    pub became: bool,
    /// Both users of a direct chat have opened or written.
    pub mutual: bool,
    pub acked: AckSet,
    pub unread: UnreadCounts,
    pub view: OpenView,
}

pub fn opened(mut reply: Reply) -> Result<OpenAnswer, EngineError> {
    reply.text()?;
    let head = Seq(reply.count()?);
    let (became, mutual) = (reply.flag()?, reply.flag()?);
    let acked = reply.acked()?;
    let unread = UnreadCounts {
        unread: reply.capped()?,
        late: reply.count()? as usize,
        before: reply.count()? as usize,
    };
    let is_bridge = reply.text()? == "bridge";
    let (older, late_next) = (reply.flag()?, reply.number()?.map(Seq));
    let (items, late) = (reply.messages()?, reply.messages()?);
    let view = if is_bridge {
        OpenView::Recovered(items)
    } else {
        OpenView::Page { items, older, late, late_next }
    };
    Ok(OpenAnswer { head, became, mutual, acked, unread, view })
}

pub fn page(mut reply: Reply) -> Result<Page, EngineError> {
    reply.text()?;
    let more = reply.flag()?;
    Ok(Page { items: reply.messages()?, more })
}

pub fn late_page(mut reply: Reply) -> Result<LatePage, EngineError> {
    reply.text()?;
    let next = reply.number()?.map(Seq);
    Ok(LatePage { items: reply.messages()?, next })
}

pub fn ack_outcome(mut reply: Reply) -> Result<AckOutcome, EngineError> {
    Ok(match reply.text()?.as_str() {
        "above" => AckOutcome::AboveHead,
        "many" => AckOutcome::TooManyRanges,
        _ => AckOutcome::Merged { acked: reply.acked()?, unread: reply.capped()? },
    })
}

pub fn summary(mut reply: Reply) -> Result<Summary, EngineError> {
    reply.text()?;
    let unread = reply.capped()?;
    let acked_up_to = reply.number()?.map(Seq);
    Ok(Summary { newest: reply.messages()?.pop(), unread, acked_up_to })
}
