//! Where the stream of a room stands, what was heard of it, and who is on it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use metrics::Counter;

use super::directory::SessionHandle;
use super::flaw::{self, Flaw};
use super::subscription::Subscription;
use super::{Frame, encode};
#[cfg(feature = "faults")]
use crate::faults::before_push;
use crate::model::{ConvId, Epoch, Message, Roster, Seq};
#[cfg(not(feature = "faults"))]
use crate::model::{SessionId, UserName};
use crate::protocol::{MembersPush, Push, RemovedPush, ResetPush};

/// Messages held for a session whose `open` is not answered yet; beyond, it reads again.
const JOINING_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct State {
    /// Where the stream stands; unknown until the first `open` is answered.
    pub(super) stream: Option<Stream>,
    /// Who is in the group, as far as it is known here; none elsewhere, and without a stream.
    pub(super) roster: Option<Arc<Roster>>,
    /// Hints above the head that wait for an earlier one, or for the roster.
    pub(super) ahead: BTreeMap<Seq, Heard>,
    /// The highest number heard of, held or not.
    pub(super) highest_heard: Seq,
    /// The life of the store that hints belong to which came before the stream was known.
    pub(super) early: Option<Epoch>,
    /// Hints may have been missed: the engine must be asked whether there is more.
    pub(super) in_doubt: bool,
    pub(super) filling: bool,
    pub(super) members: Vec<Member>,
    pub(super) mutual: bool,
}

/// A message that was told.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) message: Arc<Message>,
    /// The roster that it was stored under, or a later one: with an older one it must not be fanned out.
    pub(super) roster: u64,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) epoch: Epoch,
    /// Everything up to here was fanned out.
    pub(super) head: Seq,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) subscription: Arc<Subscription>,
    pub(super) position: Position,
}

#[derive(Debug)]
pub(super) enum Position {
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

impl State {
    /// Whether a hint is of the life that is streamed here. Another one is never delivered; the next read of the engine settles it.
    /// Before there is a stream, hints of the life that was heard of last are kept.
    pub(super) fn is_of_life(&mut self, epoch: &Epoch) -> bool {
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

    pub(super) fn forget_hints(&mut self) {
        self.ahead.clear();
        self.highest_heard = Seq::ZERO;
    }

    pub(super) fn begin(&mut self, epoch: Epoch, head: Seq) {
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

    pub(super) fn reset(
        &mut self,
        conv: ConvId,
        epoch: &Epoch,
        head: Seq,
        keep: &Arc<Subscription>,
    ) {
        self.close_all(conv, epoch, Some(keep));
        self.begin(epoch.clone(), head);
    }

    pub(super) fn close_all(
        &mut self,
        conv: ConvId,
        epoch: &Epoch,
        keep: Option<&Arc<Subscription>>,
    ) {
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

    pub(super) fn roster_version(&self) -> u64 {
        self.roster.as_ref().map_or(0, |roster| roster.version)
    }

    /// Takes a roster that is newer than the one that is known: closes the group to those who have left, and tells the others.
    pub(super) fn learn(&mut self, conv: ConvId, roster: &Arc<Roster>) {
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
    pub(super) fn advance(&mut self, conv: ConvId) {
        while let (Some(stream), Some((seq, heard))) = (&self.stream, self.ahead.first_key_value())
        {
            if *seq > stream.head.next() && !flaw::has(Flaw::SkipsAhead) {
                break;
            }
            if !self.knows_roster(heard.roster) {
                break;
            }
            let Some((_, heard)) = self.ahead.pop_first() else { break };
            self.fan_out(conv, &heard.message);
        }
    }

    /// Whether a message stored under this version of the roster may be fanned out: somebody may have been removed before it was stored.
    fn knows_roster(&self, version: u64) -> bool {
        self.roster.is_none() || version <= self.roster_version() || flaw::has(Flaw::IgnoresRosters)
    }

    /// Fans out a message that was told, if it is the next one and nothing waits: what most are. Any other is given back.
    pub(super) fn fan_out_next(&mut self, conv: ConvId, heard: Heard) -> Option<Heard> {
        let is_next =
            self.stream.as_ref().is_some_and(|stream| heard.message.seq == stream.head.next());
        if !is_next || !self.ahead.is_empty() || !self.knows_roster(heard.roster) {
            return Some(heard);
        }
        self.fan_out(conv, &heard.message);
        None
    }

    /// Tells everyone who is to have it, unless it was told before.
    fn fan_out(&mut self, conv: ConvId, message: &Arc<Message>) {
        let Some(stream) = self.stream.as_mut().filter(|stream| message.seq > stream.head) else {
            return;
        };
        stream.head = message.seq;
        let mut frame = None;
        for member in &mut self.members {
            match &mut member.position {
                Position::Live(next) if message.seq >= *next => {
                    *next = message.seq.next();
                    if member.subscription.wants(message) {
                        let frame = frame.get_or_insert_with(|| msg_frame(conv, message));
                        push_msg(&member.subscription.session, conv, message, frame.clone());
                    }
                }
                Position::Live(_) => {}
                Position::Joining { held, overflow, .. } => {
                    if flaw::has(Flaw::HoldsNothing) {
                        continue;
                    }
                    if held.len() < JOINING_MAX {
                        held.push(Arc::clone(message));
                    } else {
                        *overflow = true;
                    }
                }
            }
        }
    }

    /// More was heard of than was fanned out.
    pub(super) fn is_missing(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| self.highest_heard > stream.head)
    }

    pub(super) fn need_fill(&mut self) -> Need {
        let doubts = self.in_doubt && self.stream.is_some();
        let needs = (doubts || self.is_missing()) && !flaw::has(Flaw::FillsNothing);
        if needs && !self.filling {
            self.filling = true;
            return Need::Fill;
        }
        Need::Nothing
    }
}

pub(super) fn push_msg(session: &SessionHandle, conv: ConvId, message: &Message, frame: Frame) {
    for frame in before_push((&session.id, &session.user), conv, message, frame) {
        session.outbox.push(frame);
    }
}

/// The seam of the deliberate faults, which would be repaired anywhere before: here it does nothing.
#[cfg(not(feature = "faults"))]
fn before_push(_: (&SessionId, &UserName), _: ConvId, _: &Message, frame: Frame) -> [Frame; 1] {
    [frame]
}

pub(super) fn msg_frame(conv: ConvId, message: &Message) -> Frame {
    /// Looked up once, with the first message.
    static ENCODED: LazyLock<Counter> =
        LazyLock::new(|| metrics::counter!("chatctl_messages_encoded_total"));
    ENCODED.increment(1);
    encode::msg(conv, message)
}
