//! `send`: stored, answered, and told to all nodes.

use std::sync::Arc;

use tokio::time::Instant;

use crate::chat::refusals::{engine_error, other_life, timed_out};
use crate::chat::{ChatService, encode};
use crate::distribution::{Hint, MessageHint, Stage, wall_clock_us};
use crate::model::{ConvId, LIMITS, Place};
use crate::persistence::{Append, AppendOutcome, EngineError, Stored};
use crate::protocol::{ErrorBody, ErrorCode, Reply, Send, SendReply};

use super::under_way::{Begun, UnderWay};
use super::{ENGINE_TIME, Greeted, OpenConv, Turn};

impl Greeted {
    /// Begins a send. The engine is called here, in the order of the frames; only the waiting is elsewhere.
    pub(super) fn send(&mut self, id: u64, send: Send, open: OpenConv, turn: Turn) {
        let Send { conv, cid, kind, content, ts } = send;
        let OpenConv { place, subscription, .. } = open;
        let own_send = subscription.send_begins(&cid, &kind, &content);
        let taken = Instant::now();
        let appending = self.service.persistence.append(Append {
            conv,
            place: Arc::clone(&place),
            sender: self.handle.user.clone(),
            cid,
            kind,
            content,
            ts,
            future_skew_ms_max: LIMITS.future_skew_ms_max,
            restored: None,
        });
        let begun = Begun { id, conv, place, subscription, own_send, taken, turn };
        self.sends.take(&self.service, UnderWay { begun, appending });
    }
}

impl UnderWay {
    /// Waits for the engine, answers, and tells all nodes. The hint goes out even if the session has ended.
    pub(super) async fn finish(mut self, service: &Arc<ChatService>) {
        let outcome = match tokio::time::timeout(ENGINE_TIME, &mut self.appending).await {
            Ok(outcome) => outcome,
            Err(_) => {
                // It may still be stored: then the others must see it although the sender was
                // told "unknown".
                let session = &self.begun.subscription.session;
                session.reply(encode::reply(self.begun.id, Err(timed_out())));
                self.begun.turn.in_session = None;
                self.appending.await
            }
        };
        self.begun.settle(service, outcome);
    }
}

impl Begun {
    /// The engine has said what became of it.
    pub(super) fn settle(
        self,
        service: &Arc<ChatService>,
        outcome: Result<AppendOutcome, EngineError>,
    ) {
        let Self { id, conv, place, subscription, own_send, taken, turn } = self;
        let Turn { in_session, work } = turn;
        drop(work);
        let took = taken.elapsed();
        service.appends.record(took, &outcome);
        let stored = match &outcome {
            Ok(AppendOutcome::Stored(stored)) => Some(stored.message.seq),
            _ => None,
        };
        // One of unknown outcome stays on the list: it may show up.
        if outcome.as_ref().map_or_else(EngineError::is_definite, |_| true) {
            subscription.send_ends(own_send, stored);
        }
        if matches!(outcome, Ok(AppendOutcome::NotMember)) {
            service.look_at_roster(conv);
        }
        let outcome = outcome.map_err(engine_error).and_then(|outcome| match outcome {
            AppendOutcome::Stored(stored) => Ok(stored),
            AppendOutcome::NotMember => Err(ErrorBody::not_found()),
            AppendOutcome::NotNext => Err(ErrorBody::new(
                ErrorCode::Internal,
                "the message engine took this for a restored message",
            )),
            AppendOutcome::Conflict => Err(ErrorBody::new(
                ErrorCode::Conflict,
                "this cid is taken by a message with another type or content",
            )),
            AppendOutcome::TsInFuture => Err(ErrorBody {
                field: Some("ts".to_owned()),
                ..ErrorBody::new(
                    ErrorCode::TsInFuture,
                    format!("ts is more than {} ms ahead of the server", LIMITS.future_skew_ms_max),
                )
            }),
        });
        let outcome = outcome.and_then(|stored| {
            Stage::Stored.record(took);
            let reply = send_reply(&stored);
            let is_known = subscription.lives_in(&stored.epoch);
            service.publish_stored(conv, place, stored);
            if is_known { Ok(Reply::Send(reply)) } else { Err(other_life()) }
        });
        if in_session.is_some() {
            service.answer_in_life(conv, &subscription, id, outcome);
            drop(in_session);
        }
    }
}

impl ChatService {
    /// Persisted, so publish. A duplicate is published again: its first hint may never have gone out.
    fn publish_stored(&self, conv: ConvId, place: Arc<Place>, stored: Stored) {
        let Stored { message, epoch, became, roster, .. } = stored;
        let node = self.settings.node.clone();
        self.distribution.publish(Hint::Message(MessageHint {
            conv,
            place,
            epoch,
            node,
            message,
            became,
            roster,
            stored_us: wall_clock_us(),
        }));
    }
}

fn send_reply(stored: &Stored) -> SendReply {
    let message = &stored.message;
    SendReply {
        seq: message.seq,
        ts: message.ts,
        late: message.late,
        dup: stored.dup,
        at: message.at,
    }
}
