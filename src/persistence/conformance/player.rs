//! Plays a schedule against an engine and the specification.

use std::sync::Arc;

use futures_util::future::join_all;
use proptest::test_runner::{Config, TestError, TestRng, TestRunner};

use super::append::CLOCK_SKEW_MS;
use super::judge;
use super::model::{Clock, Conversation, Model};
use super::schedule::{Below, From, GROUP, ROOM_USERS, Size, Step, Time, Who, schedule};
use super::subject::{Ending, Factory, PAST, Room, Subject, roster};
use crate::clock::unix_ms;
use crate::model::{Epoch, GroupAct, LIMITS, Message, Order, Place, Seq, UserName};
use crate::persistence::{
    AckOutcome, AckRequest, Append, AppendOutcome, GroupOutcome, GroupRequest, OpenQuery,
    RangeQuery, Stored,
};

/// Plays as many random schedules as asked against one engine; the smallest that fails is in the error.
pub fn play_many(
    factory: impl Factory,
    schedules: u32,
    shrinks: u32,
    rng: TestRng,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let subject = std::cell::RefCell::new(Some(runtime.block_on(Subject::new(factory))));
    let config = Config {
        cases: schedules,
        max_shrink_iters: shrinks,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new_with_rng(config, rng).run(&schedule(), |steps| {
        let mut player = Player::new(subject.take().expect("given back"));
        // In a task, so that the engine comes back from a schedule that fails.
        let play = async {
            for step in &steps {
                player.play(step).await;
            }
        };
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(play);
        }));
        subject.replace(player.subject);
        played.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            proptest::test_runner::TestCaseError::fail(text.unwrap_or_default())
        })
    });
    outcome.map_err(|error| match error {
        TestError::Fail(reason, steps) => {
            format!("{reason}\nthe smallest schedule that fails: {steps:#?}")
        }
        TestError::Abort(reason) => reason.to_string(),
    })
}

/// How many schedules: `CHATCTL_SCHEDULES`, or a number that is quick.
#[expect(clippy::disallowed_methods, reason = "a setting of the test, not of the program")]
pub fn schedules_asked() -> u32 {
    const QUICK: u32 = 60;
    std::env::var("CHATCTL_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(QUICK)
}

/// Shares of so many schedules for players at work at once: the engines wait more than they work.
pub fn shares(schedules: u32) -> impl Iterator<Item = u32> {
    const PLAYERS_MAX: u32 = 32;
    /// Below it a player costs more than it saves.
    const SHARE_MIN: u32 = 30;
    let players = (schedules / SHARE_MIN).clamp(1, PLAYERS_MAX);
    (0..players).map(move |player| (schedules + player) / players)
}

struct Player {
    subject: Option<Subject>,
    model: Model,
    users: Vec<UserName>,
    rooms: Vec<Room>,
}

impl Player {
    fn new(mut subject: Subject) -> Self {
        subject.forget_names();
        let users: Vec<UserName> = ["ann", "bob", "eve"].map(|name| subject.user(name)).into();
        let rooms = vec![
            Room::direct(&users[0], &users[1]),
            Room::direct(&users[0], &users[0]),
            subject.channel("all"),
            subject.group(),
        ];
        let of_room = |room: &Room| (room.conv, subject.engine.epoch(room.conv));
        let mut model = Model::new(subject.engine.epoch(rooms[0].conv));
        model.epochs = rooms.iter().map(of_room).collect();
        Self { subject: Some(subject), model, users, rooms }
    }

    fn subject(&self) -> &Subject {
        self.subject.as_ref().expect("only taken to reopen")
    }

    fn at(&self, who: Who) -> (Room, UserName) {
        let members = ROOM_USERS[who.room];
        (self.rooms[who.room].clone(), self.users[members[who.user % members.len()]].clone())
    }

    fn conversation(&self, room: &Room) -> Conversation {
        self.model.conversation(room.conv)
    }

    /// The number that is so far below the head.
    fn seq(&self, room: &Room, below: Below) -> Seq {
        Seq(self.conversation(room).head().0.saturating_add_signed(-below))
    }

    fn ts(&self, room: &Room, time: Time) -> Option<u64> {
        let highest_ts = self.conversation(room).highest_ts();
        match time {
            Time::Past(offset) => Some(PAST + offset),
            Time::Highest => Some(highest_ts),
            Time::JustLate => Some(highest_ts.saturating_sub(1)),
            Time::Stamped => None,
            Time::Ahead => Some(unix_ms() + LIMITS.future_skew_ms_max / 2),
            Time::TooFarAhead => Some(unix_ms() + 100 * LIMITS.future_skew_ms_max),
        }
    }

    async fn play(&mut self, step: &Step) {
        match step {
            Step::Append(who, time, size) => {
                let append = self.new_message(*who, *time, *size);
                self.append_all(vec![append]).await;
            }
            Step::Bulk(who, count, period, size) => {
                let appends = (0..*count)
                    .map(|index| self.new_message(*who, Time::Past(index % period), *size));
                let appends = appends.collect();
                self.append_all(appends).await;
            }
            Step::Retry(who, below, time) => self.append_again(*who, *below, *time, "").await,
            Step::Conflict(who, below, time) => self.append_again(*who, *below, *time, "!").await,
            Step::Open(who, limit, from) => self.open(*who, *limit, *from).await,
            Step::History { who, ends, descending, limit, inserts } => {
                let order = if *descending { Order::Desc } else { Order::Asc };
                let (from, to) = ends.map_or((0, u64::MAX), |(from, to)| (PAST + from, PAST + to));
                let query =
                    RangeQuery { from, to, order, limit: *limit, ..self.at(*who).0.history() };
                self.history(*who, query, inserts).await;
            }
            Step::Beyond { who, descending, start, limit } => {
                let order = if *descending { Order::Desc } else { Order::Asc };
                let (start, limit) = (Some((PAST + start.0, Seq(start.1))), *limit);
                self.range(&RangeQuery { order, start, limit, ..self.at(*who).0.history() }).await;
            }
            Step::After(who, below, limit) => {
                let (room, _) = self.at(*who);
                let after = self.seq(&room, *below);
                let elsewhere = &self.subject().elsewhere;
                let following = elsewhere.after(room.conv, after, *limit).await.expect("a page");
                assert_eq!(following.epoch, elsewhere.epoch(room.conv));
                let expected = self.conversation(&room).after(after, *limit);
                judge::page(&following.page, &expected);
            }
            Step::UnreadLate(who, below, limit) => self.unread_late(*who, *below, *limit).await,
            Step::Ack(who, up_to, ranges) => self.ack(*who, *up_to, ranges).await,
            Step::List(who) => self.list(*who).await,
            Step::Regroup { by, what, whom } => self.regroup(*by, *what, *whom).await,
            Step::Reopen { closed } => self.reopen(*closed).await,
        }
    }

    fn new_message(&self, who: Who, time: Time, size: Size) -> Append {
        let (room, user) = self.at(who);
        let content = match size {
            Size::Small => "hello".to_owned(),
            Size::Large => "x".repeat(LIMITS.content_bytes_max),
            Size::Escaping => "\u{1}".repeat(LIMITS.content_bytes_max),
        };
        Append { content, ..room.message(&user, self.ts(&room, time)) }
    }

    async fn append_again(&mut self, who: Who, below: Below, time: Time, suffix: &str) {
        let (room, _) = self.at(who);
        let seq = self.seq(&room, below);
        let messages = self.conversation(&room).messages;
        let Some(message) = messages.iter().find(|message| message.seq == seq) else { return };
        let content = format!("{}{suffix}", message.content);
        let ts = self.ts(&room, time);
        let append = room.named(&message.from, message.cid.as_str(), &content, ts);
        self.append_all(vec![append]).await;
    }

    /// Appends, called one after the other and awaited together.
    async fn append_all(&mut self, appends: Vec<Append>) {
        let started = unix_ms();
        let calls: Vec<_> =
            appends.iter().map(|append| self.subject().engine.append(append.clone())).collect();
        let outcomes = join_all(calls).await;
        let ended = unix_ms();
        let now = started - CLOCK_SKEW_MS..=ended + CLOCK_SKEW_MS;
        for (append, outcome) in appends.iter().zip(outcomes) {
            let outcome = outcome.expect("the engine works");
            // The clock is the engine's: its reading is taken, if it can be one.
            let clock = match &outcome {
                AppendOutcome::Stored(Stored { message, dup: false, .. }) => {
                    assert!(now.contains(&message.at), "committed at {}, now {now:?}", message.at);
                    let highest_ts = self.model.conversation(append.conv).highest_ts();
                    assert!(
                        append.ts.is_some()
                            || message.ts == highest_ts
                            || now.contains(&message.ts),
                        "stamped {}, now {now:?}, highest {highest_ts}",
                        message.ts
                    );
                    Clock { at: message.at, stamp: message.ts }
                }
                _ => Clock { at: ended, stamp: ended },
            };
            let expected = self.model.append(append, clock);
            match (&outcome, &expected) {
                (AppendOutcome::Stored(actual), AppendOutcome::Stored(expected)) => {
                    same_stored(actual, expected);
                }
                (AppendOutcome::Conflict, AppendOutcome::Conflict)
                | (AppendOutcome::TsInFuture, AppendOutcome::TsInFuture)
                | (AppendOutcome::NotMember, AppendOutcome::NotMember) => {}
                _ => panic!("{outcome:?} for {expected:?}"),
            }
        }
    }

    async fn open(&mut self, who: Who, limit: usize, from: From) {
        let (room, user) = self.at(who);
        let resume = match from {
            From::Nowhere => None,
            From::Here(below) => Some((self.model.epoch_of(room.conv), self.seq(&room, below))),
            From::OtherEpoch(below) => Some((Epoch::generate(), self.seq(&room, below))),
        };
        let query = OpenQuery { resume, ..room.opening(&user, limit) };
        let opened = self.subject().elsewhere.open(query.clone()).await.expect("opened");
        let expected = self.model.open(&query);
        judge::opened(&opened, &expected, &self.conversation(&room), &user);
    }

    async fn range(&self, query: &RangeQuery) -> (Vec<Arc<Message>>, bool) {
        let page = self.subject().elsewhere.range(query.clone()).await.expect("a page");
        judge::page(&page, &self.model.conversation(query.conv).range(query));
        (page.items, page.more)
    }

    async fn history(&mut self, who: Who, mut query: RangeQuery, inserts: &[Time]) {
        let (room, _) = self.at(who);
        let before = self.conversation(&room).messages;
        let mut inserts = inserts.iter();
        let mut seen = Vec::new();
        loop {
            let (items, more) = self.range(&query).await;
            query.start = items.last().map(|message| message.position()).or(query.start);
            seen.extend(items);
            if !more {
                break;
            }
            if let Some(time) = inserts.next() {
                let append = self.new_message(who, *time, Size::Small);
                self.append_all(vec![append]).await;
            }
        }
        for message in before {
            let is_asked = (query.from..=query.to).contains(&message.ts);
            let count = seen.iter().filter(|other| other.seq == message.seq).count();
            assert_eq!(count, usize::from(is_asked), "skipped or repeated: {}", message.seq);
        }
    }

    /// In a channel only after the first open: before it nobody says what is unread.
    fn may_count_unread(&self, room: &Room, user: &UserName) -> bool {
        room.place.participants().next().is_some()
            || self.conversation(room).acked.contains_key(user)
    }

    async fn unread_late(&self, who: Who, below: Below, limit: usize) {
        let (room, user) = self.at(who);
        if !self.may_count_unread(&room, &user) {
            return;
        }
        let conversation = self.conversation(&room);
        let mut after = Some(self.seq(&room, below));
        while let Some(from) = after {
            let page = self.subject().elsewhere.unread_late(room.conv, &user, from, limit).await;
            let page = page.expect("a page");
            judge::late_page(&page, &conversation, &user, from, limit);
            assert!(page.next.is_none_or(|next| next > from), "paging must get on");
            after = page.next;
        }
    }

    async fn ack(&mut self, who: Who, up_to: Option<Below>, ranges: &[(Below, u64)]) {
        let (room, user) = self.at(who);
        // Only who has opened acknowledges.
        if !self.conversation(&room).acked.contains_key(&user) {
            return;
        }
        let up_to = up_to.map_or(Seq::ZERO, |below| self.seq(&room, below));
        let ranges = ranges.iter().map(|&(below, length)| {
            let hi = self.seq(&room, below).next().max(Seq(2));
            (Seq(hi.0.saturating_sub(length).max(1)), hi)
        });
        let request =
            AckRequest { conv: room.conv, user: user.clone(), up_to, ranges: ranges.collect() };
        let outcome = self.subject().engine.ack(request.clone()).await.expect("the engine works");
        let expected = self.model.ack(&request);
        let conversation = self.conversation(&room);
        match (&outcome, &expected) {
            (AckOutcome::Merged { acked, unread }, AckOutcome::Merged { unread: exact, .. }) => {
                judge::acked(acked, &conversation, &user);
                judge::unread_count(*unread, *exact, &conversation, &user);
            }
            (AckOutcome::AboveHead, AckOutcome::AboveHead)
            | (AckOutcome::TooManyRanges, AckOutcome::TooManyRanges) => {}
            _ => panic!("{outcome:?} for {expected:?}"),
        }
    }

    async fn list(&self, who: Who) {
        let (room, user) = self.at(who);
        let mine = self.subject().elsewhere.mine(&user).await.expect("an index");
        let key = |mine: Vec<crate::persistence::Mine>| {
            let mut entries: Vec<_> =
                mine.into_iter().map(|entry| (entry.conv, entry.place, entry.at)).collect();
            entries.sort();
            entries
        };
        assert_eq!(key(mine), key(self.model.mine(&user)));
        if self.may_count_unread(&room, &user) {
            let summary = self.subject().elsewhere.summary(room.conv, &user).await;
            let summary = summary.expect("a summary");
            let conversation = self.conversation(&room);
            let expected = conversation.summary(&user);
            assert_eq!(summary.newest, expected.newest);
            // Who has written in a direct chat was there, which the specification derives.
            if !matches!(*room.place, Place::Direct(..)) {
                let is_joined = summary.acked_up_to.is_some();
                assert_eq!(is_joined, expected.acked_up_to.is_some());
            }
            judge::unread_count(summary.unread, expected.unread, &conversation, &user);
        }
    }

    async fn regroup(&mut self, by: usize, what: u8, whom: usize) {
        let (room, whom) = (self.rooms[GROUP].clone(), self.users[whom].clone());
        let act = match what {
            0 => GroupAct::Create,
            1..=3 => GroupAct::Invite(whom),
            4..=5 => GroupAct::Remove(whom),
            _ => GroupAct::Quit,
        };
        let (conv, place) = (room.conv, Arc::clone(&room.place));
        let request = GroupRequest { conv, place, by: self.users[by].clone(), act };
        let outcome = self.subject().engine.regroup(request.clone()).await.expect("it works");
        match (&outcome, &self.model.regroup(&request)) {
            (
                GroupOutcome::Done { now, became },
                GroupOutcome::Done { now: expected, became: expected_became },
            ) => {
                assert_eq!((&now.roster, &now.epoch), (&expected.roster, &expected.epoch));
                assert_eq!(became, expected_became);
            }
            (GroupOutcome::Refused(refusal), GroupOutcome::Refused(expected)) => {
                assert_eq!(refusal, expected);
            }
            (_, expected) => panic!("{outcome:?} for {expected:?}"),
        }
        let elsewhere = &self.subject().elsewhere;
        assert_eq!(roster(elsewhere, &room).await, self.model.roster(room.conv));
    }

    async fn reopen(&mut self, closed: bool) {
        if !self.subject().survives() {
            return;
        }
        let ending = if closed { Ending::Closed } else { Ending::Abandoned };
        let subject = self.subject.take().expect("given back");
        self.subject = Some(subject.reopen(ending).await);
        for room in &self.rooms {
            let epoch = self.subject().engine.epoch(room.conv);
            assert_eq!(epoch, self.model.epoch_of(room.conv));
        }
    }
}

fn same_stored(actual: &Stored, expected: &Stored) {
    assert_eq!(actual.message, expected.message);
    assert_eq!((actual.dup, &actual.epoch), (expected.dup, &expected.epoch));
    assert_eq!(actual.roster, expected.roster);
    let (mut became, mut expected_became) = (actual.became.clone(), expected.became.clone());
    became.sort();
    expected_became.sort();
    assert_eq!(became, expected_became);
}
