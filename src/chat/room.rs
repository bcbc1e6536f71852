//! One conversation on one node: fans each message out once, in order, to whoever has it open.
//!
//! Hints come in any order, doubled or not at all. The room follows `seq`: it holds back what is
//! ahead, drops what is behind, and asks to be filled from the engine when something stays missing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::SessionHandle;
use super::flaw::{self, Flaw};
use super::subscription::Subscription;
use super::{Frame, encode};
#[cfg(feature = "faults")]
use crate::faults::before_push;
use crate::model::{AckSet, ConvId, Epoch, Message, Place, Roster, Seq, SessionId, UserName};
use crate::protocol::{
    AckedPush, CloseCode, MembersPush, MsgPush, PresencePush, Push, RemovedPush, ResetPush,
};

/// Hints held back while an earlier one is missing; beyond, they are read from the engine instead.
const AHEAD_MAX: usize = 1_024;
/// Messages held for a session whose `open` is not answered yet; beyond, it reads again.
const JOINING_MAX: usize = 1_024;

/// A conversation that at least one session of this node has open.
#[derive(Debug)]
pub struct Room {
    conv: ConvId,
    place: Arc<Place>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the stream stands; unknown until the first `open` is answered.
    stream: Option<Stream>,
    /// Who is in the group, as far as it is known here; none elsewhere, and without a stream.
    roster: Option<Arc<Roster>>,
    /// Hints above the head that wait for an earlier one, or for the roster.
    ahead: BTreeMap<Seq, Heard>,
    /// The highest number heard of, held or not.
    highest_heard: Seq,
    /// The life of the store that hints belong to which came before the stream was known.
    early: Option<Epoch>,
    /// Hints may have been missed: the engine must be asked whether there is more.
    in_doubt: bool,
    filling: bool,
    members: Vec<Member>,
    mutual: bool,
}

/// A message that was told.
#[derive(Debug)]
struct Heard {
    message: Arc<Message>,
    /// The roster that it was stored under, or a later one: with an older one it must not be fanned out.
    roster: u64,
}

#[derive(Debug)]
struct Stream {
    epoch: Epoch,
    /// Everything up to here was fanned out.
    head: Seq,
}

#[derive(Debug)]
struct Member {
    subscription: Arc<Subscription>,
    position: Position,
}

#[derive(Debug)]
enum Position {
    /// Its `open` is being answered: what is fanned out meanwhile waits here.
    Joining {
        /// Held messages follow this number; unknown until the stream is.
        base: Option<Seq>,
        held: Vec<Arc<Message>>,
        overflow: bool,
        /// Where an earlier `open` of the same session stood, in case this one fails.
        was: Option<Seq>,
    },
    /// Next to be pushed.
    Live(Seq),
}

/// What a room needs after taking a hint.
#[derive(Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// Something is missing, or may be: call [`Room::missing_after`] in a while, read, and [`Room::fill`]. Said once until filled.
    Fill,
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
        if state.ahead.len() < AHEAD_MAX || head.is_some_and(|head| message.seq == head.next()) {
            state.ahead.insert(message.seq, Heard { message, roster });
        }
        state.advance(self.conv);
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

impl State {
    /// Whether a hint is of the life that is streamed here. Another one is never delivered; the next read of the engine settles it.
    /// Before there is a stream, hints of the life that was heard of last are kept.
    fn is_of_life(&mut self, epoch: &Epoch) -> bool {
        if flaw::has(Flaw::MixesEpochs) {
            return true;
        }
        if let Some(stream) = &self.stream {
            return stream.epoch == *epoch;
        }
        let earlier = self.early.replace(epoch.clone());
        if earlier.is_some_and(|earlier| earlier != *epoch) {
            self.forget_hints();
            // Those may have been of the life that the stream will be of.
            self.in_doubt = true;
        }
        true
    }

    fn forget_hints(&mut self) {
        self.ahead.clear();
        self.highest_heard = Seq::ZERO;
    }

    fn begin(&mut self, epoch: Epoch, head: Seq) {
        if self.early.take().is_some_and(|early| early != epoch) {
            self.forget_hints();
        }
        self.stream = Some(Stream { epoch, head });
        for member in &mut self.members {
            if let Position::Joining { base, .. } = &mut member.position {
                base.get_or_insert(head);
            }
        }
    }

    fn reset(&mut self, conv: ConvId, epoch: &Epoch, head: Seq, keep: &Arc<Subscription>) {
        self.close_all(conv, epoch, Some(keep));
        self.begin(epoch.clone(), head);
    }

    fn close_all(&mut self, conv: ConvId, epoch: &Epoch, keep: Option<&Arc<Subscription>>) {
        let frame = encode::push(&Push::Reset(ResetPush { conv, epoch: epoch.clone() }));
        self.members.retain(|member| {
            // Sessions that are still joining read the new life themselves.
            if keep.is_some_and(|keep| Arc::ptr_eq(keep, &member.subscription))
                || matches!(member.position, Position::Joining { was: None, .. })
            {
                return true;
            }
            member.subscription.close();
            member.subscription.session.outbox.push(frame.clone());
            false
        });
        // What was held for them is of the life that is over.
        for member in &mut self.members {
            member.position =
                Position::Joining { base: None, held: Vec::new(), overflow: false, was: None };
        }
        self.forget_hints();
        (self.stream, self.roster) = (None, None);
    }

    fn roster_version(&self) -> u64 {
        self.roster.as_ref().map_or(0, |roster| roster.version)
    }

    /// Takes a roster that is newer than the one that is known: closes the group to those who have left, and tells the others.
    fn learn(&mut self, conv: ConvId, roster: &Arc<Roster>) {
        if self.roster.as_ref().is_some_and(|known| known.version >= roster.version) {
            return;
        }
        let removed = encode::push(&Push::Removed(RemovedPush { conv }));
        self.members.retain_mut(|member| {
            let Member { subscription, position } = member;
            let (stays, ended) = match position {
                Position::Live(_) => {
                    let stays = subscription.is_of(roster);
                    (stays, !stays)
                }
                // Its own `open` is being answered, and asks for itself; an earlier one has ended.
                Position::Joining { was, .. } => {
                    let is_member = roster.membership(&subscription.session.user).is_some();
                    (true, !is_member && was.take().is_some())
                }
            };
            if !stays {
                subscription.close();
            }
            if ended {
                subscription.session.outbox.push(removed.clone());
            }
            stays
        });
        if let Some(known) = self.roster.replace(Arc::clone(roster)) {
            let left = roster.left_since(&known).map(|user| (user, false));
            let joined = roster.joined_since(&known).map(|user| (user, true));
            for (user, joined) in left.chain(joined) {
                let user = user.clone();
                let frame = encode::push(&Push::Members(MembersPush { conv, user, joined }));
                for member in &self.members {
                    if matches!(member.position, Position::Live(_)) {
                        member.subscription.session.outbox.push(frame.clone());
                    }
                }
            }
        }
    }

    /// Fans out what follows the head without a gap.
    fn advance(&mut self, conv: ConvId) {
        let roster_version = self.roster_version();
        let is_group = self.roster.is_some();
        let Some(stream) = &mut self.stream else { return };
        while let Some(entry) = self.ahead.first_entry() {
            if *entry.key() > stream.head.next() && !flaw::has(Flaw::SkipsAhead) {
                break;
            }
            // Somebody may have been removed before it was stored.
            if is_group && entry.get().roster > roster_version && !flaw::has(Flaw::IgnoresRosters) {
                break;
            }
            let message = entry.remove().message;
            if message.seq <= stream.head {
                continue;
            }
            stream.head = message.seq;
            let mut frame = None;
            for member in &mut self.members {
                match &mut member.position {
                    Position::Live(next) if message.seq >= *next => {
                        *next = message.seq.next();
                        if member.subscription.wants(&message) {
                            let frame = frame.get_or_insert_with(|| msg_frame(conv, &message));
                            push_msg(&member.subscription.session, conv, &message, frame.clone());
                        }
                    }
                    Position::Live(_) => {}
                    Position::Joining { held, overflow, .. } => {
                        if flaw::has(Flaw::HoldsNothing) {
                            continue;
                        }
                        if held.len() < JOINING_MAX {
                            held.push(Arc::clone(&message));
                        } else {
                            *overflow = true;
                        }
                    }
                }
            }
        }
    }

    /// More was heard of than was fanned out.
    fn is_missing(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| self.highest_heard > stream.head)
    }

    fn need_fill(&mut self) -> Need {
        let doubts = self.in_doubt && self.stream.is_some();
        let needs = (doubts || self.is_missing()) && !flaw::has(Flaw::FillsNothing);
        if needs && !self.filling {
            self.filling = true;
            return Need::Fill;
        }
        Need::Nothing
    }
}

fn push_msg(session: &SessionHandle, conv: ConvId, message: &Message, frame: Frame) {
    for frame in before_push((&session.id, &session.user), conv, message, frame) {
        session.outbox.push(frame);
    }
}

/// The seam of the deliberate faults, which would be repaired anywhere before: here it does nothing.
#[cfg(not(feature = "faults"))]
fn before_push(_: (&SessionId, &UserName), _: ConvId, _: &Message, frame: Frame) -> [Frame; 1] {
    [frame]
}

fn msg_frame(conv: ConvId, message: &Arc<Message>) -> Frame {
    metrics::counter!("chatctl_messages_encoded_total").increment(1);
    encode::push(&Push::Msg(MsgPush { conv, message: Arc::clone(message) }))
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
