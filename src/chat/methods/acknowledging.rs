//! `ack`: what was read.

use std::sync::Arc;

use crate::chat::ChatService;
use crate::chat::directory::SessionHandle;
use crate::chat::refusals::engine_error;
use crate::distribution::Hint;
use crate::model::{LIMITS, Seq, UserName};
use crate::persistence::{AckOutcome, AckRequest};
use crate::protocol::{Ack, AckReply, ErrorBody, ErrorCode, Reply};

use super::Outcome;

/// Puts together what was and what is acknowledged, and tells the user's other sessions and whoever wrote.
pub(super) async fn acknowledge(
    service: Arc<ChatService>,
    handle: Arc<SessionHandle>,
    ack: Ack,
) -> Outcome {
    let Ack { conv, up_to, ranges } = ack;
    let user: UserName = handle.user.clone();
    let request = AckRequest {
        conv,
        user: user.clone(),
        up_to: up_to.unwrap_or(Seq::ZERO),
        ranges: ranges.unwrap_or_default(),
    };
    match service.persistence.ack(request).await.map_err(engine_error)? {
        AckOutcome::Merged { acked, unread } => {
            let session = handle.id.clone();
            service.distribution.publish(Hint::Acked { conv, user, acked: acked.clone(), session });
            Ok(Reply::Ack(AckReply { acked, unread: unread.count, unread_more: unread.more }))
        }
        AckOutcome::AboveHead => Err(ErrorBody::new(
            ErrorCode::AckAboveHead,
            "acknowledges above the head of the conversation; nothing changed",
        )),
        AckOutcome::TooManyRanges => Err(ErrorBody::new(
            ErrorCode::Limit,
            format!(
                "the merged state would hold more than {} ranges; nothing changed",
                LIMITS.acked_ranges_max
            ),
        )),
    }
}
