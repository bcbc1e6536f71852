//! One conversation on one node: fans each message out once, in order, to whoever has it open.
//!
//! Hints come in any order, doubled or not at all. The room follows `seq`: it holds back what is
//! ahead, drops what is behind, and asks to be filled from the engine when something stays missing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::flaw::{self, Flaw};
pub use super::room_state::Need;
use super::room_state::{Heard, Member, Position, State, msg_frame, push_msg};
use super::subscription::Subscription;
use super::{Frame, encode};
use crate::model::{AckSet, ConvId, Epoch, Message, Place, Roster, Seq, SessionId, UserName};
use crate::protocol::{AckedPush, CloseCode, PresencePush, Push};

/// Hints held back while an earlier one is missing; beyond, they are read from the engine instead.
const AHEAD_MAX: usize = 1_024;

/// A conversation that at least one session of this node has open.
#[derive(Debug)]
pub struct Room {
    conv: ConvId,
    place: Arc<Place>,
    state: Mutex<State>,
}

/// What a room asks the engine for.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    /// The life of the store.
    pub epoch: Epoch,
    /// What comes after this number.
    pub after: Seq,
    /// There is something, for certain.
    pub is_known: bool,
}

/// Whether an `open` took effect.
#[derive(Debug, PartialEq, Eq)]
pub enum Live {
    /// The reply is queued, and pushes follow it.
    Yes,
    /// The stream has moved past what was read: read again.
    ReadAgain,
    /// The membership of the group has ended meanwhile.
    NotMember,
}

impl Room {
    /// An empty room.
    pub fn new(conv: ConvId, place: Arc<Place>) -> Self {
        Self { conv, place, state: Mutex::default() }
    }

    /// What the conversation is.
    pub fn place(&self) -> &Arc<Place> {
        &self.place
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session, or replaces its earlier subscription: from now on messages are held for it.
    pub fn join(&self, subscription: Arc<Subscription>) {
        let mut state = self.state();
        let base = state.stream.as_ref().map(|stream| stream.head);
        let id = &subscription.session.id;
        let found = state.members.iter().position(|member| member.subscription.session.id == *id);
        let was = found.and_then(|at| match state.members.swap_remove(at).position {
            Position::Live(next) => Some(next),
            Position::Joining { was, .. } => was,
        });
        let position = Position::Joining { base, held: Vec::new(), overflow: false, was };
        state.members.push(Member { subscription, position });
    }

    /// Answers an `open` that read up to `head`: queues the reply, then everything above it. `roster`: of the group, read after that.
    pub fn go_live(
        &self,
        subscription: &Arc<Subscription>,
        epoch: &Epoch,
        head: Seq,
        mutual: bool,
        roster: Option<&Arc<Roster>>,
        reply: Frame,
    ) -> Live {
        let mut state = self.state();
        state.mutual |= mutual;
        match &state.stream {
            Some(stream) if stream.epoch != *epoch => {
                state.reset(self.conv, epoch, head, subscription)
            }
            Some(_) => {}
            None => state.begin(epoch.clone(), head),
        }
        // What was read is stored: if its hints never come, the others here must be filled up to it.
        state.highest_heard = state.highest_heard.max(head);
        if let Some(roster) = roster {
            state.learn(self.conv, roster);
        }
        if let Some(roster) = roster {
            let user = &subscription.session.user;
            let now = state.roster.as_ref().and_then(|roster| roster.membership(user));
            match roster.membership(user) {
                Some(membership) if now == Some(membership) => subscription.joins(membership),
                _ => return Live::NotMember,
            }
        }
        // The first reader starts the stream; hints that came before it may follow right on.
        state.advance(self.conv);
        let stream_head = state.stream.as_ref().map_or(head, |stream| stream.head);
        let Some(member) =
            state.members.iter_mut().find(|member| Arc::ptr_eq(&member.subscription, subscription))
        else {
            return Live::Yes;
        };
        let Position::Joining { base, held, overflow, .. } = &mut member.position else {
            return Live::Yes;
        };
        let is_whole = !*overflow && base.is_some_and(|base| base <= head);
        if !is_whole && !flaw::has(Flaw::GoesLiveBehind) {
            *base = Some(stream_head);
            held.clear();
            *overflow = false;
            return Live::ReadAgain;
        }
        let held = std::mem::take(held);
        subscription.shows(epoch, head);
        subscription.session.reply(reply);
        for message in held.iter().filter(|message| message.seq > head) {
            if subscription.wants(message) {
                push_msg(&subscription.session, self.conv, message, msg_frame(self.conv, message));
            }
        }
        member.position = Position::Live(stream_head.max(head).next());
        Live::Yes
    }

    /// An `open` failed: the session's earlier one goes on, or it is not here at all. `false`: it is not.
    pub fn give_up_joining(
        &self,
        subscription: &Arc<Subscription>,
        earlier: Option<&Arc<Subscription>>,
    ) -> bool {
        let mut state = self.state();
        let Some(at) =
            state.members.iter().position(|member| Arc::ptr_eq(&member.subscription, subscription))
        else {
            return false;
        };
        let stream_head = state.stream.as_ref().map_or(Seq::ZERO, |stream| stream.head);
        let earlier_roster = state.roster.clone();
        let goes_on = |earlier: &&Arc<Subscription>| {
            earlier_roster.as_ref().is_none_or(|roster| earlier.is_of(roster))
        };
        let member = &mut state.members[at];
        if let (Position::Joining { held, overflow: false, was: Some(next), .. }, Some(earlier)) =
            (&member.position, earlier.filter(goes_on))
        {
            for message in held.iter().filter(|message| message.seq >= *next) {
                if earlier.wants(message) {
                    push_msg(&earlier.session, self.conv, message, msg_frame(self.conv, message));
                }
            }
            member.position = Position::Live(stream_head.next().max(*next));
            member.subscription = Arc::clone(earlier);
            return true;
        }
        state.members.swap_remove(at);
        if let Some(earlier) = earlier {
            earlier.close();
        }
        false
    }

    /// Removes a session; `true` when nobody is left.
    pub fn leave(&self, session: &SessionId) -> bool {
        let mut state = self.state();
        state.members.retain(|member| member.subscription.session.id != *session);
        state.members.is_empty()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.state().members.is_empty()
    }

    /// Takes a hint.
    pub fn take(&self, epoch: &Epoch, message: Arc<Message>, roster: u64) -> Need {
        let mut state = self.state();
        if !state.is_of_life(epoch) {
            return Need::Nothing;
        }
        let head = state.stream.as_ref().map(|stream| stream.head);
        if head.is_some_and(|head| message.seq <= head) {
            return Need::Nothing;
        }
        state.highest_heard = state.highest_heard.max(message.seq);
        let seq = message.seq;
        if let Some(heard) = state.fan_out_next(self.conv, Heard { message, roster }) {
            if state.ahead.len() < AHEAD_MAX || head.is_some_and(|head| seq == head.next()) {
                state.ahead.insert(seq, heard);
            }
            state.advance(self.conv);
        }
        state.need_fill()
    }

    /// Takes the news that messages were stored up to `head`, without the messages.
    pub fn heard(&self, epoch: &Epoch, head: Seq) -> Need {
        let mut state = self.state();
        if !state.is_of_life(epoch) {
            return Need::Nothing;
        }
        state.highest_heard = state.highest_heard.max(head);
        state.need_fill()
    }

    /// Takes the news that a group's roster has this version.
    pub fn heard_roster(&self, epoch: &Epoch, version: u64) -> Need {
        let mut state = self.state();
        let is_of_stream = state.stream.as_ref().is_some_and(|stream| stream.epoch == *epoch);
        state.in_doubt |= is_of_stream && state.roster_version() < version;
        state.need_fill()
    }

    /// Takes the roster of a group as it was read; whoever is a member no more has it open no more.
    pub fn learn(&self, epoch: &Epoch, roster: &Arc<Roster>) {
        let mut state = self.state();
        if state.stream.as_ref().is_some_and(|stream| stream.epoch == *epoch) {
            state.learn(self.conv, roster);
            state.advance(self.conv);
        }
    }

    /// Hints may have been missed. While the first `open` is being answered, its end asks for the fill.
    pub fn doubt(&self) -> Need {
        let mut state = self.state();
        state.in_doubt = true;
        state.need_fill()
    }

    /// Whether something is missing that nobody fills yet.
    pub fn need(&self) -> Need {
        self.state().need_fill()
    }

    /// Whether something is missing for certain.
    pub fn is_missing(&self) -> bool {
        self.state().is_missing()
    }

    /// What is missing; `None` when nothing is, and the next gap asks anew. A doubt is settled by this: whoever takes it
    /// either fills the room or doubts again.
    pub fn missing_after(&self) -> Option<Missing> {
        let mut state = self.state();
        let missing = state.stream.as_ref().and_then(|stream| {
            let is_known = state.is_missing();
            let (epoch, after) = (stream.epoch.clone(), stream.head);
            (is_known || state.in_doubt).then_some(Missing { epoch, after, is_known })
        });
        state.in_doubt &= missing.is_none();
        state.filling = missing.is_some();
        missing
    }

    /// Takes messages that were read from the engine in this life of the store, before what [`Room::learn`] was told last.
    pub fn fill(&self, epoch: &Epoch, messages: Vec<Arc<Message>>) {
        let mut state = self.state();
        if state.stream.as_ref().is_none_or(|stream| stream.epoch != *epoch) {
            return;
        }
        for message in messages {
            if state.stream.as_ref().is_some_and(|stream| message.seq > stream.head) {
                state.ahead.insert(message.seq, Heard { message, roster: 0 });
            }
            state.advance(self.conv);
        }
    }

    /// The stream cannot be continued: everyone here is closed with [`CloseCode::STATE_LOST`].
    pub fn give_up(&self) {
        let mut state = self.state();
        state.filling = false;
        for member in &state.members {
            member.subscription.session.outbox.close(CloseCode::STATE_LOST);
        }
    }

    /// The store has a new life: everyone is told to open again.
    pub fn reset(&self, epoch: &Epoch) {
        let mut state = self.state();
        if state.stream.as_ref().is_some_and(|stream| stream.epoch != *epoch) {
            state.close_all(self.conv, epoch, None);
        }
    }

    /// Tells the user's other sessions, and the other user of a direct chat.
    pub fn acked(&self, user: &UserName, acked: &AckSet, origin: &SessionId) {
        let state = self.state();
        let (mut own, mut others) = (None, None);
        for member in &state.members {
            let session = &member.subscription.session;
            let is_own = session.user == *user;
            if session.id == *origin || (!is_own && !matches!(*self.place, Place::Direct(..))) {
                continue;
            }
            let cached = if is_own { &mut own } else { &mut others };
            let frame = cached.get_or_insert_with(|| {
                let ranges = is_own.then(|| acked.ranges.clone());
                let (conv, user, up_to) = (self.conv, user.clone(), acked.up_to);
                encode::push(&Push::Acked(AckedPush { conv, user, up_to, ranges }))
            });
            session.outbox.push(frame.clone());
        }
    }

    /// The direct chat is this user's from now on, so that the other one may know of their presence; `true`: that one has it open here.
    pub fn becomes_mutual(&self, user: &UserName) -> bool {
        let mut state = self.state();
        let is_other = |member: &Member| member.subscription.session.user != *user;
        let concerns =
            matches!(*self.place, Place::Direct(..)) && state.members.iter().any(is_other);
        state.mutual |= concerns;
        concerns
    }

    /// Tells the other user of a direct chat that both know.
    pub fn presence(&self, user: &UserName, online: bool) {
        let state = self.state();
        if !state.mutual {
            return;
        }
        let (conv, frame_user) = (self.conv, user.clone());
        let frame = encode::push(&Push::Presence(PresencePush { conv, user: frame_user, online }));
        for member in &state.members {
            if member.subscription.session.user != *user {
                member.subscription.session.outbox.push(frame.clone());
            }
        }
    }
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
