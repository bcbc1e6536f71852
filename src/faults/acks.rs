//! Faults of acknowledging.

use super::Fault;
use super::memory::Shared;
use crate::model::{AckSet, Seq};
use crate::persistence::{AckOutcome, AckRequest, EngineError, OpenQuery, Opened};

/// [`Persistence::ack`](crate::persistence::Persistence::ack), broken.
pub async fn ack(shared: &Shared, request: AckRequest) -> Result<AckOutcome, EngineError> {
    match shared.fault {
        Some(Fault::ForgetAck) if shared.acts() => forget(shared, request).await,
        Some(Fault::AckLastWins) => replace(shared, request).await,
        _ => shared.engine.ack(request).await,
    }
}

/// Nothing is merged, and the answer says that it was.
async fn forget(shared: &Shared, request: AckRequest) -> Result<AckOutcome, EngineError> {
    let AckRequest { conv, user, up_to, ranges } = request.clone();
    let nothing = AckRequest { conv, user, up_to: Seq::ZERO, ranges: Vec::new() };
    let newest = shared.engine.summary(conv, &request.user).await?.newest;
    let head = newest.map_or(Seq::ZERO, |newest| newest.seq);
    match shared.engine.ack(nothing).await? {
        AckOutcome::Merged { acked, unread } => match acked.merged(up_to, &ranges, head, 1_000) {
            Ok(acked) => Ok(AckOutcome::Merged { acked, unread }),
            Err(_) => shared.engine.ack(request).await,
        },
        refused => Ok(refused),
    }
}

/// It is merged below, and answered, here and by `open`, as if the last one had won.
async fn replace(shared: &Shared, request: AckRequest) -> Result<AckOutcome, EngineError> {
    let AckRequest { conv, user, up_to, .. } = request.clone();
    let outcome = shared.engine.ack(request).await?;
    let AckOutcome::Merged { acked, unread } = outcome else { return Ok(outcome) };
    let last = AckSet { up_to, ranges: Vec::new() };
    let is_lower = up_to > Seq::ZERO && up_to < acked.up_to && shared.acts();
    shared.with(conv, |memory| match is_lower {
        true => memory.acked.insert(user, last.clone()),
        false => memory.acked.remove(&user),
    });
    Ok(AckOutcome::Merged { acked: if is_lower { last } else { acked }, unread })
}

/// What an `open` says is acknowledged.
pub fn spoil_open(shared: &Shared, query: &OpenQuery, opened: &mut Opened) {
    if shared.has(Fault::AckLastWins)
        && let Some(acked) =
            shared.with(query.conv, |memory| memory.acked.get(&query.user).cloned())
    {
        opened.acked = acked;
    }
}
