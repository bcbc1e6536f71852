//! Random schedules of calls, each answer compared with the specification's.

use proptest::collection::vec;
use proptest::prelude::*;

/// The rooms of a schedule: who may be there.
pub const ROOM_USERS: [&[usize]; 4] = [&[0, 1], &[0], &[0, 1, 2], &[0, 1, 2]];

/// The room of [`ROOM_USERS`] that is a group.
pub const GROUP: usize = 3;

/// Somebody in a room; both are taken modulo what there is.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    /// A room of [`ROOM_USERS`].
    pub room: usize,
    /// One of its users.
    pub user: usize,
}

/// The time of a message.
#[derive(Debug, Clone, Copy)]
pub enum Time {
    /// This much after a fixed time in the past; few values, so that many are equal.
    Past(u64),
    /// The highest so far.
    Highest,
    /// One below the highest so far.
    JustLate,
    /// The engine's.
    Stamped,
    /// Ahead, but within what is allowed.
    Ahead,
    /// Too far ahead.
    TooFarAhead,
}

/// The content of a message.
#[derive(Debug, Clone, Copy)]
pub enum Size {
    /// A few bytes.
    Small,
    /// The largest content.
    Large,
    /// The largest content, six times as large in JSON.
    Escaping,
}

/// A message number, relative to the head: this many below it, negative for above.
pub type Below = i64;

/// Where an open resumes.
#[derive(Debug, Clone, Copy)]
pub enum From {
    /// Not at all.
    Nowhere,
    /// In this epoch.
    Here(Below),
    /// In another.
    OtherEpoch(Below),
}

/// One call, or a few that belong together.
#[derive(Debug, Clone)]
pub enum Step {
    /// A new message.
    Append(Who, Time, Size),
    /// Many new messages, called at once; their times repeat with this period.
    Bulk(Who, u64, u64, Size),
    /// A stored message again, with another time.
    Retry(Who, Below, Time),
    /// The `cid` of a stored message with another content.
    Conflict(Who, Below, Time),
    /// Open with a limit.
    Open(Who, usize, From),
    /// All pages of a history read between two times, descending or not, a message inserted after
    /// each of the first pages.
    History {
        who: Who,
        ends: Option<(u64, u64)>,
        descending: bool,
        limit: usize,
        inserts: Vec<Time>,
    },
    /// One page that starts at any place.
    Beyond { who: Who, descending: bool, start: (u64, u64), limit: usize },
    /// By number.
    After(Who, Below, usize),
    /// All pages of unread late messages.
    UnreadLate(Who, Below, usize),
    /// Acknowledge; ranges by their upper end and length.
    Ack(Who, Option<Below>, Vec<(Below, u64)>),
    /// The user's index and a summary.
    List(Who),
    /// Somebody does something to the group, perhaps to another.
    Regroup { by: usize, what: u8, whom: usize },
    /// A new life, where the store survives.
    Reopen { closed: bool },
}

fn who() -> impl Strategy<Value = Who> {
    // The notes less often than the others.
    (prop_oneof![3 => Just(0), 1 => Just(1), 3 => Just(2), 3 => Just(GROUP)], 0..3usize)
        .prop_map(|(room, user)| Who { room, user })
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        12 => (0..20u64).prop_map(Time::Past),
        3 => Just(Time::Highest),
        3 => Just(Time::JustLate),
        2 => Just(Time::Stamped),
        1 => Just(Time::Ahead),
        1 => Just(Time::TooFarAhead),
    ]
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![10 => Just(Size::Small), 1 => Just(Size::Large), 2 => Just(Size::Escaping)]
}

fn below() -> impl Strategy<Value = Below> {
    prop_oneof![6 => 0..12i64, 3 => 0..150i64, 1 => -2..0i64]
}

fn limit() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..12usize, 1 => 50..=200usize]
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        3 => Just(From::Nowhere),
        2 => below().prop_map(From::Here),
        1 => below().prop_map(From::OtherEpoch),
    ]
}

fn history() -> impl Strategy<Value = Step> {
    let ends = prop::option::of((0..20u64, 0..20u64))
        .prop_map(|ends| ends.map(|(one, other)| (one.min(other), one.max(other))));
    (who(), ends, any::<bool>(), limit(), vec(time(), 0..4)).prop_map(
        |(who, ends, descending, limit, inserts)| Step::History {
            who,
            ends,
            descending,
            limit,
            inserts,
        },
    )
}

/// One call.
fn step() -> impl Strategy<Value = Step> {
    let ranges = vec((below(), 1..8u64), 0..4);
    prop_oneof![
        12 => (who(), time(), size()).prop_map(|(who, time, size)| Step::Append(who, time, size)),
        2 => (who(), 20..160u64, 1..30u64)
            .prop_map(|(who, count, period)| Step::Bulk(who, count, period, Size::Small)),
        1 => (who(), 5..30u64, 1..9u64)
            .prop_map(|(who, count, period)| Step::Bulk(who, count, period, Size::Escaping)),
        3 => (who(), below(), time()).prop_map(|(who, at, time)| Step::Retry(who, at, time)),
        1 => (who(), below(), time()).prop_map(|(who, at, time)| Step::Conflict(who, at, time)),
        8 => (who(), prop_oneof![1 => Just(0), 4 => limit()], from())
            .prop_map(|(who, limit, from)| Step::Open(who, limit, from)),
        3 => history(),
        2 => (who(), any::<bool>(), (0..20u64, 0..200u64), limit()).prop_map(
            |(who, descending, start, limit)| Step::Beyond { who, descending, start, limit }
        ),
        2 => (who(), below(), limit()).prop_map(|(who, at, limit)| Step::After(who, at, limit)),
        3 => (who(), prop_oneof![Just(1_000), below()], limit())
            .prop_map(|(who, at, limit)| Step::UnreadLate(who, at, limit)),
        6 => (who(), prop::option::of(below()), ranges)
            .prop_map(|(who, up_to, ranges)| Step::Ack(who, up_to, ranges)),
        2 => who().prop_map(Step::List),
        4 => (0..3usize, 0..7u8, 0..3usize)
            .prop_map(|(by, what, whom)| Step::Regroup { by, what, whom }),
        1 => any::<bool>().prop_map(|closed| Step::Reopen { closed }),
    ]
}

/// A whole schedule.
pub fn schedule() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..50)
}
