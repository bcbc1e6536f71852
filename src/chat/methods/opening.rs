//! `open`: a page, and from its end on the stream.

use std::sync::Arc;

use crate::chat::membership::Member;
use crate::chat::refusals::{RETRY_AFTER_MS, engine_error, timed_out};
use crate::chat::room::{Live, Need, Room};
use crate::chat::subscription::Subscription;
use crate::chat::{ChatService, encode, reading};
use crate::distribution::Hint;
use crate::model::{LIMITS, Place, Seq};
use crate::persistence::{AckRequest, OpenQuery, Opened};
use crate::protocol::{ErrorBody, ErrorCode, Open, Reply, To};

use super::{ENGINE_TIME, Greeted, OpenConv};

/// Times that an `open` reads again because the stream moved past it.
const OPEN_ATTEMPTS: usize = 8;

impl Greeted {
    pub(super) async fn open(&mut self, id: u64, open: Open) -> Result<(), ErrorBody> {
        let place = match open.to {
            To::User(peer) => Place::direct(self.handle.user.clone(), peer),
            To::Channel(name) => Place::Channel(name),
            To::Group(id) => Place::Group(id),
        };
        let (conv, place) = (place.conv_id(), Arc::new(place));
        let earlier = self.opened(conv).ok();
        if earlier.is_none() && self.open.len() >= LIMITS.open_max {
            let message = format!("at most {} conversations may be open", LIMITS.open_max);
            return Err(ErrorBody::new(ErrorCode::Limit, message));
        }
        let subscription = Arc::new(Subscription::new(
            Arc::clone(&self.handle),
            open.echo,
            open.push,
            earlier.as_ref().map(|earlier| &*earlier.subscription),
        ));
        let room = self.service.rooms.join(conv, &place, Arc::clone(&subscription));
        let now_open =
            OpenConv { conv, place: Arc::clone(&place), subscription: Arc::clone(&subscription) };
        // Known before the first await, so that `end` leaves the room wherever this is cut off.
        self.open.insert(conv, now_open);
        self.handle.set_open(conv, true);
        let query = OpenQuery {
            conv,
            place,
            user: self.handle.user.clone(),
            limit: open.limit,
            resume: open.resume.map(|resume| (resume.epoch, resume.seq)),
        };
        let going_live = self.go_live(id, &room, &subscription, query);
        let outcome = tokio::time::timeout(ENGINE_TIME, going_live)
            .await
            .unwrap_or_else(|_| Err(timed_out()));
        if outcome.is_err() {
            let kept = earlier.as_ref().map(|earlier| &earlier.subscription);
            match (room.give_up_joining(&subscription, kept), earlier) {
                (true, Some(earlier)) => drop(self.open.insert(conv, earlier)),
                _ => self.forget(conv),
            }
        } else if room.need() == Need::Fill {
            self.service.repair(conv, room);
        }
        outcome
    }

    /// Reads until the stream and what was read fit together, and answers.
    async fn go_live(
        &self,
        id: u64,
        room: &Arc<Room>,
        subscription: &Arc<Subscription>,
        query: OpenQuery,
    ) -> Result<(), ErrorBody> {
        let service = &self.service;
        let mut became = false;
        // A stranger leaves no trace.
        service.membership(query.conv, &query.place, &query.user).await?;
        for _ in 0..OPEN_ATTEMPTS {
            let opened = service.persistence.open(query.clone()).await.map_err(engine_error)?;
            became |= opened.became;
            let member = service.membership(query.conv, &query.place, &query.user).await?;
            if let Some(Member { membership, .. }) = &member
                && let read_up_to = membership.read_up_to(&opened.epoch)
                && opened.acked.up_to < read_up_to
                && read_up_to <= opened.head
            {
                // Invited again: what was said before counts as read.
                acknowledge_all(service, &query, read_up_to).await?;
                continue;
            }
            let online =
                if opened.mutual { service.online(&query.place, &query.user).await } else { None };
            let Opened { epoch, head, mutual, .. } = &opened;
            let (epoch, head, mutual) = (epoch.clone(), *head, *mutual);
            let reply = reading::open_reply(&query, opened, online);
            let reply = encode::reply(id, Ok(Reply::Open(Box::new(reply))));
            let roster = member.as_ref().map(|member| &member.roster);
            let live = room.go_live(subscription, &epoch, head, mutual, roster, reply);
            if live == Live::NotMember {
                return Err(ErrorBody::not_found());
            }
            if live == Live::Yes {
                // A new epoch may have begun after the read, and have found no stream here to end.
                let now = service.persistence.epoch(query.conv);
                if now != epoch {
                    room.reset(&now);
                }
                if became {
                    let (conv, place, user) = (query.conv, query.place, query.user);
                    service.distribution.publish(Hint::Became { conv, place, user, head });
                }
                return Ok(());
            }
        }
        let message = "the conversation moves faster than it can be read";
        Err(ErrorBody::new(ErrorCode::Overloaded, message).retry_after_ms(RETRY_AFTER_MS))
    }
}

/// Acknowledges everything up to a number that the conversation has.
async fn acknowledge_all(
    service: &ChatService,
    query: &OpenQuery,
    up_to: Seq,
) -> Result<(), ErrorBody> {
    let (conv, user) = (query.conv, query.user.clone());
    let request = AckRequest { conv, user, up_to, ranges: Vec::new() };
    service.persistence.ack(request).await.map_err(engine_error).map(drop)
}
