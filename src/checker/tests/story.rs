//! Histories told line by line.

use super::second_judge::{HEART, is_linearizable};
use crate::checker::verdict::Outcome;
use crate::checker::{Anomaly, judge};
use crate::history::{
    Act, Asked, Event, Failure, Function, Item, OpenSeen, ReadAsked, ReadKind, Seen,
};
use crate::model::Seq;
use crate::protocol::ErrorCode;

/// A history being told. Times of messages are ten times their number unless said otherwise.
#[derive(Debug, Clone)]
pub struct Story {
    pub events: Vec<Event>,
    pub epoch: &'static str,
    pub conv: &'static str,
    next_process: u64,
    next_chain: u64,
    who: Vec<(u64, u64, String, String)>,
}

/// Message `seq` of `from`.
pub fn m(seq: u64, cid: &str, from: &str) -> Item {
    let digest = format!("C/{cid}");
    Item { seq: Seq(seq), cid: cid.into(), digest, ts: seq * 10, late: false, from: from.into() }
}

/// The same at another time, late.
pub fn late(seq: u64, cid: &str, from: &str, ts: u64) -> Item {
    Item { ts, late: true, ..m(seq, cid, from) }
}

/// What a whole open of these answers, nothing acknowledged.
pub fn opened(head: u64, user: &str, items: &[Item]) -> OpenSeen {
    let unread: Vec<&Item> = items.iter().filter(|item| item.from != user).collect();
    OpenSeen {
        epoch: "e".into(),
        head: Seq(head),
        items: items.to_vec(),
        late: Some(Vec::new()),
        late_more: false,
        acked_up_to: Seq(0),
        acked_ranges: Vec::new(),
        unread: unread.len(),
        unread_more: false,
        unread_late: unread.iter().filter(|item| item.late).count(),
        unread_before: Some(0),
        gap: Some(false),
        complete: items.len() as u64 == head,
        recovered: None,
    }
}

impl Story {
    pub fn new() -> Self {
        let (events, who) = (Vec::new(), Vec::new());
        // Whoever begins reads beside it counts chains from 0.
        Self { events, epoch: "e", conv: "C", next_process: 0, next_chain: 1 << 32, who }
    }

    pub fn line(&mut self, process: u64, session: u64, user: &str, conv: &str, act: Act) {
        let index = self.events.len() as u64;
        self.events.push(Event {
            index,
            time_ns: index * 10,
            process,
            session: Some(session),
            node: Some("n".into()),
            user: Some(user.into()),
            conv: Some(conv.into()),
            act,
        });
    }

    /// `user` is a name, and a number where it is not the first session: `ann`, `ann2`.
    pub fn begin(&mut self, user: &str, asked: Asked) -> u64 {
        let process = self.next_process;
        self.next_process += 1;
        let session = session(user);
        let name = user.trim_end_matches(char::is_numeric).to_owned();
        let conv = self.conv.to_owned();
        self.who.push((process, session, name.clone(), conv.clone()));
        self.line(process, session, &name, &conv, Act::Invoke { asked });
        process
    }

    fn end(&mut self, process: u64, act: Act) {
        let (_, session, user, conv) = self.who[process as usize].clone();
        self.line(process, session, &user, &conv, act);
    }

    pub fn ok(&mut self, process: u64, seen: Seen) {
        self.end(process, Act::Ok { seen });
    }

    pub fn fail(&mut self, process: u64, code: ErrorCode) {
        let error = Failure { code: Some(code), message: "no".into() };
        self.end(process, Act::Fail { f: Function::Send, error });
    }

    pub fn unknown(&mut self, process: u64) {
        let error = Failure { code: None, message: "?".into() };
        self.end(process, Act::Info { f: Function::Send, error });
    }

    pub fn sends(&mut self, user: &str, cid: &str, ts: u64) -> u64 {
        let (cid, digest) = (cid.to_owned(), format!("{}/{cid}", self.conv));
        self.begin(user, Asked::Send { cid, digest, ts: Some(ts) })
    }

    pub fn answered(&mut self, process: u64, item: &Item) {
        let (seq, ts, late, epoch) = (item.seq, item.ts, item.late, self.epoch.to_owned());
        self.ok(process, Seen::Send { seq, ts, late, dup: false, epoch });
    }

    pub fn wrote(&mut self, item: &Item) {
        let process = self.sends(&item.from.clone(), &item.cid, item.ts);
        self.answered(process, item);
    }

    /// Ann writes 1..=count as c1, c2, …
    pub fn ann_wrote(&mut self, count: u64) -> Vec<Item> {
        let items: Vec<Item> = (1..=count).map(|n| m(n, &format!("c{n}"), "ann")).collect();
        items.iter().for_each(|item| self.wrote(item));
        items
    }

    pub fn reading(
        &mut self,
        user: &str,
        kind: ReadKind,
        is_final: bool,
        pages: &[&[Item]],
        done: bool,
    ) {
        let chain = self.next_chain;
        self.next_chain += 1;
        for (page, items) in pages.iter().enumerate() {
            let complete = done && page + 1 == pages.len();
            let asked =
                ReadAsked { kind: kind.clone(), limit: 200, page: page as u64, chain, is_final };
            let process = self.begin(user, Asked::Read(asked));
            self.ok(
                process,
                Seen::Read { epoch: self.epoch.into(), items: items.to_vec(), complete },
            );
        }
    }

    /// A whole read by number.
    pub fn read(&mut self, user: &str, items: &[Item]) {
        self.reading(user, ReadKind::After { after_seq: Seq(0) }, false, &[items], true);
    }

    pub fn newest_first(&mut self, user: &str, pages: &[&[Item]], done: bool) {
        let kind = ReadKind::Range { from: 0, to: u64::MAX, descending: true };
        self.reading(user, kind, false, pages, done);
    }

    pub fn read_late(&mut self, user: &str, items: &[Item]) {
        self.reading(user, ReadKind::Late {}, false, &[items], true);
    }

    /// The final read.
    pub fn ends(&mut self, items: &[Item]) {
        self.reading("zed", ReadKind::After { after_seq: Seq(0) }, true, &[items], true);
    }

    pub fn open_with(&mut self, user: &str, resume: Option<u64>, echo: bool, seen: OpenSeen) {
        let resume = resume.map(|seq| ("e".to_owned(), Seq(seq)));
        let process = self.begin(user, Asked::Open { limit: 10, resume, echo, push: true });
        self.ok(process, Seen::Open(Box::new(seen)));
    }

    pub fn open(&mut self, user: &str, seen: OpenSeen) {
        self.open_with(user, None, true, seen);
    }

    pub fn leave(&mut self, user: &str) {
        let process = self.begin(user, Asked::Leave {});
        self.ok(process, Seen::Leave {});
    }

    pub fn ack(&mut self, user: &str, up_to: u64, shown: u64) {
        let process = self.begin(user, Asked::Ack { up_to: Some(Seq(up_to)), ranges: vec![] });
        self.ok(process, Seen::Ack { up_to: Seq(shown), ranges: vec![] });
    }

    pub fn invites(&mut self, user: &str, whom: &str) -> u64 {
        self.begin(user, Asked::Invite { user: whom.to_owned() })
    }

    pub fn removes(&mut self, user: &str, whom: &str) -> u64 {
        self.begin(user, Asked::Remove { user: whom.to_owned() })
    }

    pub fn removed(&mut self, user: &str, whom: &str) {
        let process = self.removes(user, whom);
        self.ok(process, Seen::Remove {});
    }

    pub fn pushed(&mut self, user: &str, item: &Item) {
        let name = user.trim_end_matches(char::is_numeric);
        let conv = self.conv;
        let seen = Seen::Recv { epoch: self.epoch.into(), item: item.clone() };
        self.line(1_000_000, session(user), name, conv, Act::Ok { seen });
    }
}

pub fn session(user: &str) -> u64 {
    user.bytes().fold(0, |number, byte| number * 256 + u64::from(byte))
}

/// Tells, and judges: exactly this is wrong.
#[track_caller]
pub fn trips(anomaly: Anomaly, tell: impl FnOnce(&mut Story)) {
    let mut story = Story::new();
    tell(&mut story);
    let verdict = judge(&story.events);
    let names: Vec<Anomaly> = verdict.anomalies.iter().map(|broken| broken.name).collect();
    assert_eq!(names, [anomaly], "{verdict}");
    assert_eq!(verdict.outcome, Outcome::Invalid);
    assert!(!verdict.anomalies[0].examples[0].lines.is_empty(), "an excerpt proves it");
    if HEART.contains(&anomaly) {
        assert!(!is_linearizable(&story.events), "the second judge sees {anomaly:?} too");
    }
}

/// Tells, and judges: all is well.
#[track_caller]
pub fn is_fine(tell: impl FnOnce(&mut Story)) {
    let mut story = Story::new();
    tell(&mut story);
    let verdict = judge(&story.events);
    assert_eq!(verdict.outcome, Outcome::Valid, "{verdict}");
    assert!(is_linearizable(&story.events), "the second judge agrees");
}
