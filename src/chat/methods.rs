//! What a session that said `hello` may do.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::admission::{Admission, Ticket};
use super::directory::SessionHandle;
use super::membership::Member;
use super::pace::ReplyMeter;
use super::refusals::{RETRY_AFTER_MS, draining, engine_error, other_life, timed_out, turned_away};
use super::room::{Live, Need, Room};
use super::subscription::Subscription;
use super::{ChatService, encode, groups, listing, reading};
use crate::distribution::{Hint, MessageHint, Stage, wall_clock_us};
use crate::model::{ConvId, GroupAct, LIMITS, Place, Seq, UserName};
use crate::persistence::{
    AckOutcome, AckRequest, Append, AppendOutcome, EngineError, GroupRequest, OpenQuery, Opened,
    Stored,
};
use crate::protocol::{
    Ack, AckReply, Command, Empty, ErrorBody, ErrorCode, Open, Other, Reply, RosterOf, Send,
    SendReply, To,
};

/// The engine gets this long: what is left of `answer_ms_max` is for the way to the client.
const ENGINE_TIME: Duration = Duration::from_millis(LIMITS.answer_ms_max - 500);
/// Replies of up to `page_bytes_max` that one session may have in the making.
const PAGES_IN_FLIGHT_MAX: usize = 4;
/// Times that an `open` reads again because the stream moved past it.
const OPEN_ATTEMPTS: usize = 8;
/// A conversation that the session has open.
#[derive(Clone)]
struct OpenConv {
    conv: ConvId,
    place: Arc<Place>,
    subscription: Arc<Subscription>,
}

/// A session after `hello`.
pub(super) struct Greeted {
    service: Arc<ChatService>,
    handle: Arc<SessionHandle>,
    open: HashMap<ConvId, OpenConv>,
    in_flight: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    /// It was told to come back then.
    turned_away_until: Option<Instant>,
}

type Outcome = Result<Reply, ErrorBody>;

/// A command under way: one of its session's, and of the node's.
struct Turn {
    /// Given back with the answer: its own place, and one of the few for large replies.
    in_session: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
    /// Given back when the engine is done with it, whatever was answered.
    work: Ticket,
}

impl Greeted {
    pub(super) fn new(service: Arc<ChatService>, handle: Arc<SessionHandle>) -> Self {
        let in_flight = Arc::new(Semaphore::new(LIMITS.in_flight_max));
        let pages = Arc::new(Semaphore::new(PAGES_IN_FLIGHT_MAX));
        Self { service, handle, open: HashMap::new(), in_flight, pages, turned_away_until: None }
    }

    /// What the rest of the node knows of it.
    pub(super) fn handle(&self) -> &Arc<SessionHandle> {
        &self.handle
    }

    /// Begins a command. Returns when the next may begin: back-pressure is that the socket is not read.
    pub(super) async fn dispatch(&mut self, id: u64, command: Command) {
        let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await else { return };
        if self.service.is_draining() && !matches!(command, Command::Ping {} | Command::Leave(_)) {
            return self.answer(id, Err(draining()));
        }
        match command {
            // The session's own.
            Command::Hello(_) | Command::Refresh(_) => {}
            Command::Ping {} => self.answer(id, Ok(Reply::Ping(Empty {}))),
            Command::Leave(leave) => {
                let outcome = self.leave(leave.conv);
                self.answer(id, outcome);
            }
            Command::Open(_) | Command::Read(_) | Command::List(_) | Command::Roster(_) => {
                match self.read_turn(permit).await {
                    Ok(turn) => self.begin_read(id, command, turn).await,
                    Err(error) => self.answer(id, Err(error)),
                }
            }
            Command::Send(_)
            | Command::Ack(_)
            | Command::Create {}
            | Command::Invite(_)
            | Command::Remove(_)
            | Command::Quit(_) => match self.write_turn(permit).await {
                Ok(turn) => self.begin_write(id, command, turn),
                Err(error) => self.answer(id, Err(error)),
            },
        }
    }

    async fn begin_read(&mut self, id: u64, command: Command, turn: Turn) {
        match command {
            Command::Open(open) => {
                // Boxed: rare, and large; the connection's own future is paid by every idle client.
                if let Err(error) = Box::pin(self.open(id, open)).await {
                    self.answer(id, Err(error));
                }
                drop(turn);
            }
            Command::Read(read) => match self.opened(read.conv) {
                Ok(open) => {
                    let (service, user) = (Arc::clone(&self.service), self.handle.user.clone());
                    let conv = read.conv;
                    let work =
                        async move { reading::read(&*service.persistence, &user, read).await };
                    self.spawn_for_members(id, turn, conv, open, work);
                }
                Err(error) => self.answer(id, Err(error)),
            },
            Command::List(list) => {
                let (service, handle) = (Arc::clone(&self.service), Arc::clone(&self.handle));
                self.spawn(
                    id,
                    turn,
                    None,
                    async move { listing::list(&service, &handle, list).await },
                );
            }
            Command::Roster(RosterOf { conv }) => match self.opened(conv) {
                Ok(open) => {
                    let (service, user) = (Arc::clone(&self.service), self.handle.user.clone());
                    let work = groups::roster(service, conv, user);
                    self.spawn_for_members(id, turn, conv, open, work);
                }
                Err(error) => self.answer(id, Err(error)),
            },
            _ => {}
        }
    }

    fn begin_write(&mut self, id: u64, command: Command, turn: Turn) {
        match command {
            Command::Send(send) => match self.opened(send.conv) {
                Ok(open) => self.send(id, send, open, turn),
                Err(error) => self.answer(id, Err(error)),
            },
            Command::Ack(ack) => match self.opened(ack.conv) {
                Ok(open) => {
                    let (service, handle) = (Arc::clone(&self.service), Arc::clone(&self.handle));
                    let (conv, opened) = (ack.conv, open.clone());
                    let work = acknowledge(Arc::clone(&service), handle, ack);
                    self.spawn(id, turn, Some(open), async move {
                        let OpenConv { place, subscription, .. } = opened;
                        service.ack_for_members(conv, &place, &subscription, work).await
                    });
                }
                Err(error) => self.answer(id, Err(error)),
            },
            Command::Create {} => {
                let (service, handle) = (Arc::clone(&self.service), Arc::clone(&self.handle));
                self.spawn(id, turn, None, groups::create(service, handle));
            }
            Command::Invite(Other { conv, user }) => {
                self.regroup(id, turn, conv, GroupAct::Invite(user), Reply::Invite(Empty {}));
            }
            Command::Remove(Other { conv, user }) => {
                self.regroup(id, turn, conv, GroupAct::Remove(user), Reply::Remove(Empty {}));
            }
            Command::Quit(quit) => {
                self.regroup(id, turn, quit.conv, GroupAct::Quit, Reply::Quit(Empty {}));
            }
            _ => {}
        }
    }

    /// A place in the node's work for a command that has one in its session, or the refusal.
    async fn turn(&mut self, admission: &Arc<Admission>) -> Result<Ticket, ErrorBody> {
        let now = Instant::now();
        if let Some(until) = self.turned_away_until.filter(|&until| until > now) {
            // What it has sent before it heard of it; the others need not wait for that.
            return Err(turned_away(until - now));
        }
        let ticket = admission.enter().await.map_err(|retry_after| {
            self.turned_away_until = Some(Instant::now() + retry_after);
            turned_away(retry_after)
        })?;
        self.turned_away_until = None;
        Ok(ticket)
    }

    async fn write_turn(&mut self, place: OwnedSemaphorePermit) -> Result<Turn, ErrorBody> {
        let writes = Arc::clone(&self.service.writes);
        let work = self.turn(&writes).await?;
        Ok(Turn { in_session: (place, None), work })
    }

    /// The same for what may be answered with much; waits first while the client does not read what it has.
    async fn read_turn(&mut self, place: OwnedSemaphorePermit) -> Result<Turn, ErrorBody> {
        self.handle.outbox.until_low().await;
        let page = Arc::clone(&self.pages).acquire_owned().await.ok();
        let reads = Arc::clone(&self.service.reads);
        let work = self.turn(&reads).await?;
        Ok(Turn { in_session: (place, page), work })
    }

    /// Begins a change of a group that this session has open; anything else is no group that it knows.
    fn regroup(&mut self, id: u64, turn: Turn, conv: ConvId, act: GroupAct, done: Reply) {
        match self.opened(conv) {
            Ok(open) if matches!(*open.place, Place::Group(_)) => {
                let (place, by) = (Arc::clone(&open.place), self.handle.user.clone());
                let request = GroupRequest { conv, place, by, act };
                let service = Arc::clone(&self.service);
                self.spawn(id, turn, Some(open), async move {
                    groups::change(&service, request).await.map(|()| done)
                });
            }
            _ => self.answer(id, Err(ErrorBody::not_found())),
        }
    }

    pub(super) async fn end(self) {
        for conv in self.open.keys() {
            self.service.rooms.leave(*conv, &self.handle.id);
        }
        self.service.directory.remove(&self.handle);
        self.service.gate.expiries.forget(&self.handle.id);
        self.service.registry.disconnect(&self.handle.user, &self.handle.id).await;
    }

    /// What was replied to it of late.
    pub(super) fn replied(&self) -> &ReplyMeter {
        &self.handle.replied
    }

    fn answer(&self, id: u64, outcome: Outcome) {
        self.handle.reply(encode::reply(id, outcome));
    }

    /// The conversation, if this session has it open: the one check of every method.
    fn opened(&mut self, conv: ConvId) -> Result<OpenConv, ErrorBody> {
        let open = self.open.get(&conv).ok_or_else(ErrorBody::not_found)?;
        if open.subscription.is_closed() {
            self.forget(conv);
            return Err(ErrorBody::not_found());
        }
        Ok(open.clone())
    }

    fn forget(&mut self, conv: ConvId) {
        if self.open.remove(&conv).is_some() {
            self.handle.set_open(conv, false);
            self.service.rooms.leave(conv, &self.handle.id);
        }
    }

    fn leave(&mut self, conv: ConvId) -> Outcome {
        let open = self.opened(conv)?;
        self.forget(conv);
        if !matches!(*open.place, Place::Direct(..)) {
            self.service.directory.watch(conv, &self.handle);
        }
        Ok(Reply::Leave(Empty {}))
    }

    /// Runs a command beside the others, in a conversation or none; it takes effect even if the session ends.
    fn spawn(
        &self,
        id: u64,
        turn: Turn,
        open: Option<OpenConv>,
        work: impl Future<Output = Outcome> + std::marker::Send + 'static,
    ) {
        let (service, handle) = (Arc::clone(&self.service), Arc::clone(&self.handle));
        self.service.spawn(async move {
            let outcome =
                tokio::time::timeout(ENGINE_TIME, work).await.unwrap_or_else(|_| Err(timed_out()));
            match open {
                Some(open) => service.answer_in_life(open.conv, &open.subscription, id, outcome),
                None => handle.reply(encode::reply(id, outcome)),
            }
            drop(turn);
        });
    }

    /// The same with something that reads a conversation.
    fn spawn_for_members(
        &self,
        id: u64,
        turn: Turn,
        conv: ConvId,
        open: OpenConv,
        work: impl Future<Output = Outcome> + std::marker::Send + 'static,
    ) {
        if !matches!(*open.place, Place::Group(_)) {
            return self.spawn(id, turn, Some(open), work);
        }
        let (service, OpenConv { place, subscription, .. }) =
            (Arc::clone(&self.service), open.clone());
        self.spawn(id, turn, Some(open), async move {
            service.for_members(conv, &place, &subscription, work).await
        });
    }

    async fn open(&mut self, id: u64, open: Open) -> Result<(), ErrorBody> {
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

    /// Begins a send. The engine is called here, in the order of the frames; only the waiting is elsewhere.
    fn send(&self, id: u64, send: Send, open: OpenConv, turn: Turn) {
        let (service, handle) = (Arc::clone(&self.service), Arc::clone(&self.handle));
        let Send { conv, cid, kind, content, ts } = send;
        let OpenConv { place, subscription, .. } = open;
        let own_send = subscription.send_begins(&cid, &kind, &content);
        let taken = Instant::now();
        let mut appending = service.persistence.append(Append {
            conv,
            place: Arc::clone(&place),
            sender: handle.user.clone(),
            cid: cid.clone(),
            kind,
            content,
            ts,
            future_skew_ms_max: LIMITS.future_skew_ms_max,
            restored: None,
        });
        self.service.spawn(async move {
            let Turn { in_session, work } = turn;
            let mut unanswered = Some(in_session);
            let outcome = match tokio::time::timeout(ENGINE_TIME, &mut appending).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    // It may still be stored: then the others must see it although the sender was
                    // told "unknown".
                    handle.reply(encode::reply(id, Err(timed_out())));
                    unanswered = None;
                    appending.await
                }
            };
            drop(work);
            service.appends.record(taken.elapsed(), &outcome);
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
                        format!(
                            "ts is more than {} ms ahead of the server",
                            LIMITS.future_skew_ms_max
                        ),
                    )
                }),
            });
            let outcome = outcome.and_then(|stored| {
                Stage::Stored.record(taken.elapsed());
                let reply = send_reply(&stored);
                let is_known = subscription.lives_in(&stored.epoch);
                service.publish_stored(conv, place, stored);
                if is_known { Ok(Reply::Send(reply)) } else { Err(other_life()) }
            });
            if let Some(in_session) = unanswered {
                service.answer_in_life(conv, &subscription, id, outcome);
                drop(in_session);
            }
        });
    }
}

impl ChatService {
    /// Answers a command in a conversation, if the store still has the life in which it was opened. The numbers of an answer are of
    /// that life, and the client, who learns of another by a `reset` or by opening again, would take them for its own.
    fn answer_in_life(&self, conv: ConvId, subscription: &Subscription, id: u64, outcome: Outcome) {
        let session = &subscription.session;
        let is_of_life = outcome.is_ok();
        let frame = encode::reply(id, outcome);
        // The engine is in another life before anybody is told so: what is queued while it is not stands before the news.
        let same_life = || !is_of_life || subscription.lives_in(&self.persistence.epoch(conv));
        session.replied.replied(frame.len());
        if !session.outbox.push_if(frame, same_life) {
            session.outbox.push(encode::reply(id, Err(other_life())));
        }
    }

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

async fn acknowledge(service: Arc<ChatService>, handle: Arc<SessionHandle>, ack: Ack) -> Outcome {
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
