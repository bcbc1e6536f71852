//! What a session that said `hello` may do.

mod acknowledging;
mod opening;
mod sending;
mod under_way;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::admission::{Admission, Ticket};
use super::directory::SessionHandle;
use super::pace::ReplyMeter;
use super::refusals::{draining, other_life, timed_out, turned_away};
use super::subscription::Subscription;
use super::{ChatService, encode, groups, listing, reading};
use crate::model::{ConvId, GroupAct, LIMITS, Place};
use crate::persistence::GroupRequest;
use crate::protocol::{Command, Empty, ErrorBody, Leave, Other, Quit, Reply, RosterOf};
use acknowledging::acknowledge;
use under_way::SendsUnderWay;

/// The engine gets this long: what is left of `answer_ms_max` is for the way to the client.
const ENGINE_TIME: Duration = Duration::from_millis(LIMITS.answer_ms_max - 500);
/// Replies of up to `page_bytes_max` that one session may have in the making.
const PAGES_IN_FLIGHT_MAX: usize = 4;

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
    sends: SendsUnderWay,
    /// It was told to come back then.
    turned_away_until: Option<Instant>,
}

type Outcome = Result<Reply, ErrorBody>;

/// A command under way: one of its session's, and of the node's.
struct Turn {
    /// Given back with the answer, and gone since: its own place, and one of the few for large replies.
    in_session: Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)>,
    /// Given back when the engine is done with it, whatever was answered.
    work: Ticket,
}

impl Greeted {
    pub(super) fn new(service: Arc<ChatService>, handle: Arc<SessionHandle>) -> Self {
        let in_flight = Arc::new(Semaphore::new(LIMITS.in_flight_max));
        let pages = Arc::new(Semaphore::new(PAGES_IN_FLIGHT_MAX));
        let (open, sends) = (HashMap::default(), SendsUnderWay::default());
        Self { service, handle, open, in_flight, pages, sends, turned_away_until: None }
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
        let turn = match command {
            // The session's own.
            Command::Hello(_) | Command::Refresh(_) => return,
            Command::Ping {} => return self.answer(id, Ok(Reply::Ping(Empty {}))),
            Command::Leave(Leave { conv }) => {
                let outcome = self.leave(conv);
                return self.answer(id, outcome);
            }
            Command::Open(_) | Command::Read(_) | Command::List(_) | Command::Roster(_) => {
                self.read_turn(permit).await
            }
            Command::Send(_)
            | Command::Ack(_)
            | Command::Create {}
            | Command::Invite(_)
            | Command::Remove(_)
            | Command::Quit(_) => self.write_turn(permit).await,
        };
        let begun = match turn {
            Ok(turn) => self.begin(id, command, turn).await,
            Err(error) => Err(error),
        };
        if let Err(error) = begun {
            self.answer(id, Err(error));
        }
    }

    /// Begins what has its turn; the error is its answer.
    async fn begin(&mut self, id: u64, command: Command, turn: Turn) -> Result<(), ErrorBody> {
        let (service, handle) = (Arc::clone(&self.service), Arc::clone(&self.handle));
        match command {
            // Answered without a turn.
            Command::Hello(_) | Command::Refresh(_) | Command::Ping {} | Command::Leave(_) => {}
            Command::Open(open) => {
                // Boxed: rare, and large; the connection's own future is paid by every idle client.
                Box::pin(self.open(id, open)).await?;
                drop(turn);
            }
            Command::Read(read) => {
                let (conv, open) = (read.conv, self.opened(read.conv)?);
                let work =
                    async move { reading::read(&*service.persistence, &handle.user, read).await };
                self.spawn_for_members(id, turn, conv, open, work);
            }
            Command::List(list) => {
                let work = async move { listing::list(&service, &handle, list).await };
                self.spawn(id, turn, None, work);
            }
            Command::Roster(RosterOf { conv }) => {
                let open = self.opened(conv)?;
                let work = groups::roster(service, conv, handle.user.clone());
                self.spawn_for_members(id, turn, conv, open, work);
            }
            Command::Send(send) => {
                let open = self.opened(send.conv)?;
                self.send(id, send, open, turn);
            }
            Command::Ack(ack) => {
                let (conv, open) = (ack.conv, self.opened(ack.conv)?);
                let OpenConv { place, subscription, .. } = open.clone();
                let work = acknowledge(Arc::clone(&service), handle, ack);
                self.spawn(id, turn, Some(open), async move {
                    service.ack_for_members(conv, &place, &subscription, work).await
                });
            }
            Command::Create {} => self.spawn(id, turn, None, groups::create(service, handle)),
            Command::Invite(Other { conv, user }) => {
                self.regroup(id, turn, conv, GroupAct::Invite(user), Reply::Invite(Empty {}))?;
            }
            Command::Remove(Other { conv, user }) => {
                self.regroup(id, turn, conv, GroupAct::Remove(user), Reply::Remove(Empty {}))?;
            }
            Command::Quit(Quit { conv }) => {
                self.regroup(id, turn, conv, GroupAct::Quit, Reply::Quit(Empty {}))?;
            }
        }
        Ok(())
    }

    /// A place in the node's work for a command that has one in its session, or the refusal.
    async fn turn(&mut self, admission: &Arc<Admission>) -> Result<Ticket, ErrorBody> {
        if let Some(until) = self.turned_away_until
            && let Some(left) = until.checked_duration_since(Instant::now())
        {
            // What it has sent before it heard of it; the others need not wait for that.
            return Err(turned_away(left));
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
        Ok(Turn { in_session: Some((place, None)), work })
    }

    /// The same for what may be answered with much; waits first while the client does not read what it has.
    async fn read_turn(&mut self, place: OwnedSemaphorePermit) -> Result<Turn, ErrorBody> {
        self.handle.outbox.until_low().await;
        let page = Arc::clone(&self.pages).acquire_owned().await.ok();
        let reads = Arc::clone(&self.service.reads);
        let work = self.turn(&reads).await?;
        Ok(Turn { in_session: Some((place, page)), work })
    }

    /// Begins a change of a group that this session has open; anything else is no group that it knows.
    fn regroup(
        &mut self,
        id: u64,
        turn: Turn,
        conv: ConvId,
        act: GroupAct,
        done: Reply,
    ) -> Result<(), ErrorBody> {
        let open = self.opened(conv)?;
        if !matches!(*open.place, Place::Group(_)) {
            return Err(ErrorBody::not_found());
        }
        let (place, by) = (Arc::clone(&open.place), self.handle.user.clone());
        let request = GroupRequest { conv, place, by, act };
        let service = Arc::clone(&self.service);
        self.spawn(id, turn, Some(open), async move {
            groups::change(&service, request).await.map(|()| done)
        });
        Ok(())
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
}
