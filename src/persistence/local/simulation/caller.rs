//! Those who ask a simulated engine, and what they are answered.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::world::{Life, Promise};
use crate::harness::content::{ContentMaker, message_digest};
use crate::history::simulated::{TracedOperation, TracedSession, item_of};
use crate::history::{Asked, Failure, OpenSeen, ReadAsked, ReadKind, Seen};
use crate::model::{AckError, Cid, ConvId, MessageType, Place, Seq, UserName};
use crate::persistence::local::request::{AckDecision, Request};
use crate::persistence::local::tables::Miss;
use crate::persistence::local::{LocalLog, read_tables};
use crate::persistence::log;
use crate::persistence::{
    AckRequest, Append, AppendOutcome, EngineError, OpenQuery, OpenView, Opened, RangeQuery,
};
use crate::protocol::ErrorCode;

/// One who asks.
pub struct Caller {
    /// What its messages are named by.
    name: String,
    user: UserName,
    places: Vec<Arc<Place>>,
    contents: ContentMaker,
    session: Option<TracedSession>,
    /// What the session has open: nobody acknowledges before.
    opened: BTreeSet<ConvId>,
    asked: Vec<(TracedOperation, Waits)>,
    sent: Vec<Append>,
    /// When it asks next, µs.
    pub wakes_at_us: u64,
}

type Answer<T> = oneshot::Receiver<Result<T, EngineError>>;

enum Waits {
    Append(Append, Answer<AppendOutcome>),
    Ack(Answer<AckDecision>),
    Join(OpenQuery, Answer<bool>),
}

impl Caller {
    /// One who has asked nothing yet.
    pub fn new(name: &str, user: UserName, places: Vec<Arc<Place>>, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            user,
            places,
            contents: ContentMaker::new(100, seed),
            session: None,
            opened: BTreeSet::new(),
            asked: Vec::new(),
            sent: Vec::new(),
            wakes_at_us: 0,
        }
    }

    /// Comes to a new process.
    pub fn arrive(&mut self, life: &Life, durability: &str) {
        let session = life.trace.session(self.user.as_str(), &life.name, durability);
        for place in &self.places {
            session.knows(place.conv_id(), &life.epoch_name);
        }
        self.session = Some(session);
        self.opened.clear();
    }

    /// The process is gone: what was not answered never will be.
    pub fn leave(&mut self) {
        let Some(session) = self.session.take() else { return };
        for (operation, _) in self.asked.drain(..) {
            session.info(operation, Failure { code: None, message: "gone".to_owned() });
        }
        session.closed(None, false);
    }

    /// Asks something. What is to be written goes to `inbox`.
    pub fn ask(&mut self, life: &Life, dice: &mut SmallRng, now_ms: u64) -> Vec<Request> {
        let place = Arc::clone(&self.places[dice.random_range(0..self.places.len())]);
        let conv = place.conv_id();
        match dice.random_range(0..10) {
            0..5 => {
                let count = dice.random_range(1..=4);
                (0..count).map(|_| self.append(&place, dice, now_ms)).collect()
            }
            5 if self.opened.contains(&conv) => vec![self.ack(conv, life, dice)],
            5 | 6 => vec![self.open(place, dice)],
            _ => {
                self.read(conv, life, dice, false);
                Vec::new()
            }
        }
    }

    /// Reads all of everything.
    pub fn read_everything(&mut self, life: &Life, dice: &mut SmallRng) {
        for conv in self.places.iter().map(|place| place.conv_id()).collect::<Vec<_>>() {
            self.read(conv, life, dice, true);
        }
    }

    /// Takes the answers that are here.
    pub fn hear(&mut self, life: &Life) -> Vec<Promise> {
        let Some(session) = &self.session else { return Vec::new() };
        let (mut promises, mut still) = (Vec::new(), Vec::new());
        for (operation, mut waits) in std::mem::take(&mut self.asked) {
            match waits.try_answer(life) {
                None => still.push((operation, waits)),
                Some(Ok((seen, promise))) => {
                    if let Waits::Join(query, _) = &waits {
                        self.opened.insert(query.conv);
                    }
                    session.ok(operation, seen);
                    promises.extend(promise);
                }
                Some(Err(failure)) if failure.code.is_some_and(ErrorCode::is_definite) => {
                    session.fail(operation, failure);
                }
                Some(Err(failure)) => session.info(operation, failure),
            }
        }
        self.asked = still;
        promises
    }

    fn begin(&self, conv: ConvId, asked: Asked) -> TracedOperation {
        self.session.as_ref().unwrap().invoke(Some(conv), asked)
    }

    fn append(&mut self, place: &Arc<Place>, dice: &mut SmallRng, now_ms: u64) -> Request {
        let conv = place.conv_id();
        let earlier: Vec<&Append> = self.sent.iter().filter(|sent| sent.conv == conv).collect();
        let again = (!earlier.is_empty() && dice.random_bool(0.3))
            .then(|| earlier[dice.random_range(0..earlier.len())].clone());
        let append = again.unwrap_or_else(|| {
            let number = self.sent.len();
            let cid = Cid::new(&format!("{}-{number}", self.name)).unwrap();
            let ts = match dice.random_range(0..10) {
                0..3 => None,
                3..7 => Some(now_ms),
                _ => Some(now_ms - dice.random_range(0..200)),
            };
            Append {
                conv,
                place: Arc::clone(place),
                sender: self.user.clone(),
                content: self.contents.make(conv, &self.user, &cid, number as u64),
                cid,
                kind: MessageType::new("text").unwrap(),
                ts,
                future_skew_ms_max: 1_000,
                restored: None,
            }
        });
        self.sent.push(append.clone());
        let digest = message_digest(append.kind.as_str(), &append.content);
        let cid = append.cid.as_str().to_owned();
        let operation = self.begin(conv, Asked::Send { cid, digest, ts: append.ts });
        let (answer, receiver) = oneshot::channel();
        self.asked.push((operation, Waits::Append(append.clone(), receiver)));
        Request::Append(append, answer)
    }

    fn ack(&mut self, conv: ConvId, life: &Life, dice: &mut SmallRng) -> Request {
        let head = life.read(conv, &[], |log| Ok(log.head()));
        let mut some = || Seq(dice.random_range(0..=head.0 + 1));
        let (one, other) = (some(), some());
        let range = (Seq(one.0.min(other.0).max(1)), Seq(one.0.max(other.0) + 1));
        let (up_to, ranges) = match range.0 < range.1 && dice.random() {
            true => (None, vec![range]),
            false => (Some(one), Vec::new()),
        };
        let operation = self.begin(conv, Asked::Ack { up_to, ranges: ranges.clone() });
        let (answer, receiver) = oneshot::channel();
        self.asked.push((operation, Waits::Ack(receiver)));
        let (user, up_to) = (self.user.clone(), up_to.unwrap_or_default());
        Request::Ack(AckRequest { conv, user, up_to, ranges }, answer)
    }

    fn open(&mut self, place: Arc<Place>, dice: &mut SmallRng) -> Request {
        let (conv, limit) = (place.conv_id(), dice.random_range(0..=12));
        let asked = Asked::Open { limit, resume: None, echo: true, push: false };
        let operation = self.begin(conv, asked);
        let (answer, receiver) = oneshot::channel();
        let user = self.user.clone();
        let query = OpenQuery { conv, place: Arc::clone(&place), user, limit, resume: None };
        self.asked.push((operation, Waits::Join(query, receiver)));
        Request::Join(conv, place, self.user.clone(), answer)
    }

    fn read(&mut self, conv: ConvId, life: &Life, dice: &mut SmallRng, is_final: bool) {
        let kind = match dice.random_range(0..3) {
            _ if is_final => ReadKind::After { after_seq: Seq::ZERO },
            0 => ReadKind::Range { from: 0, to: u64::MAX, descending: true },
            1 => ReadKind::After { after_seq: Seq(dice.random_range(0..40)) },
            _ => ReadKind::Late {},
        };
        let limit = if is_final { usize::MAX } else { dice.random_range(1..=30) };
        let (page, chain) = (0, self.session.as_ref().unwrap().new_chain());
        let asked = ReadAsked { kind: kind.clone(), limit, page, chain, is_final };
        let operation = self.begin(conv, Asked::Read(asked));
        let user = self.user.clone();
        let (items, complete) = life.read(conv, std::slice::from_ref(&user), |log| {
            Ok(match kind {
                ReadKind::Range { from, to, .. } => {
                    let order = crate::model::Order::Desc;
                    let query = RangeQuery { conv, from, to, order, start: None, limit };
                    let page = log.range(&query)?;
                    (page.items, !page.more)
                }
                ReadKind::After { after_seq } => {
                    let page = log::after(log, after_seq, limit)?;
                    (page.items, !page.more)
                }
                ReadKind::Late {} => {
                    let page = log::unread_late(log, &user, Seq::ZERO, limit)?;
                    (page.items, page.next.is_none())
                }
            })
        });
        let items = items.iter().map(|message| item_of(message)).collect();
        let seen = Seen::Read { epoch: String::new(), items, complete };
        self.session.as_ref().unwrap().ok(operation, seen);
    }
}

type Heard = Result<(Seen, Option<Promise>), Failure>;

impl Waits {
    fn try_answer(&mut self, life: &Life) -> Option<Heard> {
        match self {
            Self::Append(append, answer) => Some(match answered(answer)? {
                Ok(AppendOutcome::Stored(stored)) => {
                    let (message, dup) = (&stored.message, stored.dup);
                    let (seq, ts, late) = (message.seq, message.ts, message.late);
                    let seen = Seen::Send { seq, ts, late, dup, epoch: String::new() };
                    let promise = Promise {
                        conv: append.conv,
                        from: append.sender.clone(),
                        cid: append.cid.clone(),
                        seq,
                        dup,
                    };
                    Ok((seen, Some(promise)))
                }
                Ok(AppendOutcome::Conflict) => Err(refused(ErrorCode::Conflict)),
                Ok(AppendOutcome::NotMember) => Err(refused(ErrorCode::NotFound)),
                Ok(AppendOutcome::TsInFuture) => Err(refused(ErrorCode::TsInFuture)),
                Ok(AppendOutcome::NotNext) => unreachable!("nothing is restored here"),
                Err(failure) => Err(failure),
            }),
            Self::Ack(answer) => Some(match answered(answer)? {
                Ok(Ok(acked)) => Ok((Seen::Ack { up_to: acked.up_to, ranges: acked.ranges }, None)),
                Ok(Err(AckError::AboveHead)) => Err(refused(ErrorCode::AckAboveHead)),
                Ok(Err(AckError::TooManyRanges)) => Err(refused(ErrorCode::Limit)),
                Err(failure) => Err(failure),
            }),
            Self::Join(query, answer) => Some(match answered(answer)? {
                Ok(_) => Ok((open(life, query), None)),
                Err(failure) => Err(failure),
            }),
        }
    }
}

fn answered<T>(answer: &mut Answer<T>) -> Option<Result<T, Failure>> {
    match answer.try_recv() {
        Ok(Ok(value)) => Some(Ok(value)),
        Ok(Err(error)) => Some(Err(refused(match error.is_definite() {
            true => ErrorCode::Unavailable,
            false => ErrorCode::Internal,
        }))),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Closed) => Some(Err(refused(ErrorCode::Internal))),
    }
}

fn refused(code: ErrorCode) -> Failure {
    Failure { code: Some(code), message: String::new() }
}

fn open(life: &Life, query: &OpenQuery) -> Seen {
    let mut users = vec![query.user.clone()];
    users.extend(query.place.peer_of(&query.user).cloned());
    let opened = life.read(query.conv, &users, |log| log::open(log, query, &life.epoch));
    let Opened { head, acked, unread, view, .. } = opened;
    let OpenView::Page { items, older, late, late_next } = view else {
        panic!("nobody resumes here")
    };
    let items_of = |messages: &[Arc<crate::model::Message>]| {
        messages.iter().map(|message| item_of(message)).collect::<Vec<_>>()
    };
    Seen::Open(Box::new(OpenSeen {
        epoch: life.epoch_name.clone(),
        head,
        items: items_of(&items),
        late: Some(items_of(&late)),
        late_more: late_next.is_some(),
        acked_up_to: acked.up_to,
        acked_ranges: acked.ranges,
        unread: unread.unread.count,
        unread_more: unread.unread.more,
        unread_late: unread.late,
        unread_before: Some(unread.before),
        gap: Some(unread.before > 0),
        complete: !older,
        recovered: None,
    }))
}

impl Life {
    /// Reads as the engine does.
    fn read<T>(
        &self,
        conv: ConvId,
        users: &[UserName],
        read: impl Fn(&LocalLog<'_>) -> Result<T, Miss>,
    ) -> T {
        match self.recents.peek(conv, |recent| read(recent)) {
            Ok(value) => value,
            Err(_) => read_tables(&*self.tables, &self.recents, conv, users, read).unwrap(),
        }
    }
}
