//! A correct server in memory, with clients that overlap, time out, retry, page, resume and acknowledge:
//! the histories it makes are valid by construction.

use std::collections::HashMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::story::{Story, session};
use crate::history::{Act, Asked, Event, Item, OpenSeen, ReadAsked, ReadKind, Seen};
use crate::model::{AckSet, Seq};

const USERS: [&str; 3] = ["ann", "bob", "cay"];

struct Pending {
    process: u64,
    asked: Asked,
    answer: Option<Seen>,
}

struct Client {
    name: String,
    user: &'static str,
    pending: Vec<Pending>,
    /// Next number to push, and whether own ones are pushed.
    stream: Option<(u64, bool)>,
    seen: u64,
    paging: Option<(ReadAsked, Option<Item>)>,
    mine: Vec<String>,
}

struct Simulation {
    random: SmallRng,
    story: Story,
    log: Vec<Item>,
    acked: HashMap<&'static str, AckSet>,
    clients: Vec<Client>,
    /// Sends whose client gave up, and which may yet be stored.
    adrift: Vec<(&'static str, Asked)>,
    next_cid: u64,
    next_client: u64,
    next_chain: u64,
}

/// A valid history of about `steps` lines, on one node.
pub fn history(seed: u64, steps: usize) -> Vec<Event> {
    history_on(1, seed, steps)
}

/// The same with its sessions spread over so many nodes of one store, and final reads on each.
pub fn history_on(nodes: u64, seed: u64, steps: usize) -> Vec<Event> {
    let mut simulation = Simulation {
        random: SmallRng::seed_from_u64(seed),
        story: Story::new(),
        log: Vec::new(),
        acked: HashMap::new(),
        clients: Vec::new(),
        adrift: Vec::new(),
        next_cid: 0,
        next_client: 0,
        next_chain: 0,
    };
    for at in 0..6 {
        simulation.connect(USERS[at % 3], 0);
    }
    for _ in 0..steps {
        simulation.step();
    }
    simulation.finish();
    for event in &mut simulation.story.events {
        event.node = event.session.map(|session| format!("n{}", session % nodes));
    }
    for node in 0..nodes {
        let begun = simulation.story.events.len();
        let log = simulation.log.clone();
        simulation.story.ends(&log);
        for event in &mut simulation.story.events[begun..] {
            event.node = Some(format!("n{node}"));
        }
    }
    simulation.story.events
}

impl Simulation {
    fn connect(&mut self, user: &'static str, seen: u64) {
        let name = format!("{user}{}", self.next_client);
        self.next_client += 1;
        let (pending, mine) = (Vec::new(), Vec::new());
        self.clients.push(Client { name, user, pending, stream: None, seen, paging: None, mine });
    }

    fn step(&mut self) {
        let at = self.random.random_range(0..self.clients.len());
        match self.random.random_range(0..10) {
            0..3 => self.begin(at),
            3..6 => self.apply(at),
            6..8 => self.reply(at),
            8 => self.push(at),
            _ if self.random.random_ratio(1, 8) => self.give_up(at),
            _ => {
                if let Some((user, asked)) = self.adrift.pop() {
                    self.effect(user, &asked);
                }
            }
        }
    }

    fn begin(&mut self, at: usize) {
        let sending = |pending: &Pending| matches!(pending.asked, Asked::Send { .. });
        let client = &self.clients[at];
        let only_sends = client.pending.iter().all(sending);
        if !only_sends || client.pending.len() > 2 {
            return;
        }
        let choice = self.random.random_range(0..10);
        if !client.pending.is_empty() && choice >= 4 {
            return;
        }
        let asked = match choice {
            0..4 => self.send_of(at),
            4 => {
                let resume =
                    self.random.random_bool(0.5).then(|| ("e".to_owned(), Seq(client.seen)));
                let (limit, echo, push) = (
                    self.random.random_range(0..6),
                    self.random.random_bool(0.7),
                    self.random.random_bool(0.9),
                );
                Asked::Open { limit, resume, echo, push }
            }
            5 if self.acked.contains_key(client.user) => {
                let head = self.log.len() as u64;
                let up_to = Some(Seq(self.random.random_range(0..=head)));
                let lo = self.random.random_range(0..=head);
                let ranges = if lo > 0 { vec![(Seq(lo), Seq(lo + 1))] } else { Vec::new() };
                Asked::Ack { up_to: up_to.filter(|_| self.random.random_bool(0.3)), ranges }
            }
            6 => Asked::Leave {},
            7..10 if self.acked.contains_key(client.user) => match client.paging.clone() {
                Some((asked, _)) => Asked::Read(ReadAsked { page: asked.page + 1, ..asked }),
                None => self.read_of(),
            },
            _ => return,
        };
        let client = &mut self.clients[at];
        if matches!(asked, Asked::Open { .. } | Asked::Ack { .. }) {
            client.paging = None;
        }
        if let Asked::Send { cid, .. } = &asked {
            client.mine.push(cid.clone());
        }
        let process = self.story.begin(&client.name, asked.clone());
        client.pending.push(Pending { process, asked, answer: None });
    }

    fn send_of(&mut self, at: usize) -> Asked {
        let user = self.clients[at].user;
        let retry = self.random.random_bool(0.2);
        let known: Vec<&str> = self
            .clients
            .iter()
            .filter(|client| client.user == user)
            .flat_map(|client| &client.mine)
            .map(String::as_str)
            .collect();
        let cid = if retry && !known.is_empty() {
            known[self.random.random_range(0..known.len())].to_owned()
        } else {
            self.next_cid += 1;
            format!("{user}{}", self.next_cid)
        };
        let ts = self.next_cid + self.random.random_range(0..8);
        Asked::Send { digest: format!("C/{cid}"), cid, ts: Some(ts) }
    }

    fn read_of(&mut self) -> Asked {
        self.next_chain += 1;
        let kind = match self.random.random_range(0..4) {
            // Often from the first one on: all of it.
            0 => {
                let after_seq = self.random.random_range(0_u64..10).saturating_sub(4);
                ReadKind::After { after_seq: Seq(after_seq) }
            }
            1 => ReadKind::Late {},
            2 => ReadKind::Range {
                from: self.random.random_range(0..9),
                to: 10 + self.random.random_range(0..90),
                descending: self.random.random_bool(0.5),
            },
            _ => ReadKind::Range { from: 0, to: u64::MAX, descending: true },
        };
        // Such a read ends, though there is always more to read.
        let larger = if kind == (ReadKind::After { after_seq: Seq::ZERO }) { 8 } else { 1 };
        let limit = larger * self.random.random_range(1..7);
        Asked::Read(ReadAsked { kind, limit, page: 0, chain: self.next_chain, is_final: false })
    }

    fn apply(&mut self, at: usize) {
        let Some(next) = self.clients[at].pending.iter().position(|one| one.answer.is_none())
        else {
            return;
        };
        let (user, asked) = (self.clients[at].user, self.clients[at].pending[next].asked.clone());
        let answer = match &asked {
            Asked::Read(asked) => self.page(at, asked),
            _ => self.effect(user, &asked),
        };
        if matches!(asked, Asked::Open { .. } | Asked::Leave {}) {
            self.clients[at].stream = None;
        }
        self.clients[at].pending[next].answer = Some(answer);
    }

    fn effect(&mut self, user: &'static str, asked: &Asked) -> Seen {
        let head = Seq(self.log.len() as u64);
        match asked {
            Asked::Send { cid, digest, ts } => {
                let found =
                    self.log.iter().find(|item| item.cid == *cid && item.from == user).cloned();
                let dup = found.is_some();
                let item = found.unwrap_or_else(|| {
                    let ts = ts.unwrap_or(0);
                    let late = self.log.iter().any(|before| before.ts > ts);
                    let item = Item {
                        seq: head.next(),
                        cid: cid.clone(),
                        digest: digest.clone(),
                        ts,
                        late,
                        from: user.into(),
                    };
                    self.log.push(item.clone());
                    item
                });
                Seen::Send { seq: item.seq, ts: item.ts, late: item.late, dup, epoch: "e".into() }
            }
            Asked::Ack { up_to, ranges } => {
                let set = self.acked.entry(user).or_default();
                *set = set
                    .merged(up_to.unwrap_or_default(), ranges, head, 1_000)
                    .unwrap_or_else(|_| set.clone());
                Seen::Ack { up_to: set.up_to, ranges: set.ranges.clone() }
            }
            Asked::Open { limit, resume, .. } => {
                let acked = self.acked.entry(user).or_insert_with(|| AckSet::up_to(head)).clone();
                Seen::Open(Box::new(self.opened(
                    user,
                    &acked,
                    *limit,
                    resume.as_ref().map(|(_, seq)| *seq),
                )))
            }
            _ => Seen::Leave {},
        }
    }

    fn opened(&self, user: &str, acked: &AckSet, limit: usize, resume: Option<Seq>) -> OpenSeen {
        let head = Seq(self.log.len() as u64);
        let unread: Vec<&Item> =
            self.log.iter().filter(|item| item.from != user && !acked.contains(item.seq)).collect();
        let bridge = resume.filter(|seq| *seq <= head);
        let mut sorted = self.log.clone();
        sorted.sort_by_key(|item| (item.ts, item.seq));
        let items = match bridge {
            Some(seq) => self.log[seq.0 as usize..].to_vec(),
            None => sorted[sorted.len().saturating_sub(limit)..].to_vec(),
        };
        let oldest = items.first().map(|item| (item.ts, item.seq));
        let beside = |item: &&&Item| item.late && !items.contains(item);
        let late: Vec<Item> = unread.iter().filter(beside).map(|item| (*item).clone()).collect();
        let older =
            |item: &&&Item| !item.late && oldest.is_none_or(|oldest| (item.ts, item.seq) < oldest);
        let before = unread.iter().filter(older).count();
        OpenSeen {
            epoch: "e".into(),
            head,
            late: bridge.is_none().then_some(late),
            late_more: false,
            acked_up_to: acked.up_to,
            acked_ranges: acked.ranges.clone(),
            unread: unread.len().min(99),
            unread_more: unread.len() > 99,
            unread_late: unread.iter().filter(|item| item.late).count().min(99),
            unread_before: bridge.is_none().then_some(before.min(99)),
            gap: bridge.is_none().then_some(before > 0),
            complete: bridge.is_some() || items.len() == self.log.len(),
            recovered: resume.map(|_| bridge.is_some()),
            items,
        }
    }

    fn page(&self, at: usize, asked: &ReadAsked) -> Seen {
        let client = &self.clients[at];
        let last = client.paging.as_ref().and_then(|(_, last)| last.clone());
        let mut all: Vec<Item> = match asked.kind {
            ReadKind::After { after_seq } => self
                .log
                .iter()
                .filter(|item| {
                    item.seq > after_seq && last.as_ref().is_none_or(|last| item.seq > last.seq)
                })
                .cloned()
                .collect(),
            ReadKind::Late {} => {
                let acked = &self.acked[client.user];
                self.log
                    .iter()
                    .filter(|item| {
                        item.late
                            && item.from != client.user
                            && !acked.contains(item.seq)
                            && last.as_ref().is_none_or(|last| item.seq > last.seq)
                    })
                    .cloned()
                    .collect()
            }
            ReadKind::Range { from, to, descending } => {
                let mut all: Vec<Item> = self
                    .log
                    .iter()
                    .filter(|item| (from..=to).contains(&item.ts))
                    .cloned()
                    .collect();
                all.sort_by_key(|item| (item.ts, item.seq));
                if descending {
                    all.reverse();
                }
                let beyond = |item: &Item| {
                    last.as_ref().is_none_or(|last| {
                        let (one, other) = ((item.ts, item.seq), (last.ts, last.seq));
                        if descending { one < other } else { one > other }
                    })
                };
                all.retain(beyond);
                all
            }
        };
        let complete = all.len() <= asked.limit;
        all.truncate(asked.limit);
        Seen::Read { epoch: "e".into(), items: all, complete }
    }

    fn reply(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(done) = client.pending.iter().position(|one| one.answer.is_some()) else { return };
        let Pending { process, asked, answer } = client.pending.remove(done);
        let Some(answer) = answer else { return };
        match (&asked, &answer) {
            (Asked::Open { push, echo, .. }, Seen::Open(seen)) => {
                client.stream = push.then_some((seen.head.0 + 1, *echo));
                client.seen = client.seen.max(seen.head.0);
            }
            (Asked::Read(asked), Seen::Read { items, complete, .. }) => {
                let last = items.last().cloned();
                client.paging = (!complete && last.is_some()).then(|| (asked.clone(), last));
            }
            _ => {}
        }
        self.story.ok(process, answer);
    }

    fn push(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some((next, echo)) = &mut client.stream else { return };
        let Some(item) = self.log.get(*next as usize - 1) else { return };
        *next += 1;
        if *echo || item.from != client.user || !client.mine.contains(&item.cid) {
            client.seen = client.seen.max(item.seq.0);
            self.story.pushed(&client.name, item);
        }
    }

    /// The connection breaks: what was under way may have happened or may yet.
    fn give_up(&mut self, at: usize) {
        let client = self.clients.swap_remove(at);
        for pending in client.pending {
            self.story.unknown(pending.process);
            if pending.answer.is_none()
                && !matches!(pending.asked, Asked::Read(_))
                && self.random.random_bool(0.5)
            {
                self.adrift.push((client.user, pending.asked));
            }
        }
        let seen = Seen::Close { code: None, by_us: true };
        self.story.line(1_000_000, session(&client.name), client.user, "C", Act::Ok { seen });
        self.connect(client.user, client.seen);
    }

    fn finish(&mut self) {
        for at in 0..self.clients.len() {
            while !self.clients[at].pending.is_empty() {
                self.apply(at);
                self.reply(at);
            }
        }
        let process = self.story.sends("dan", "last", 1);
        let answer = self.effect(
            "dan",
            &Asked::Send { cid: "last".into(), digest: "C/last".into(), ts: Some(1) },
        );
        self.story.ok(process, answer);
        for at in 0..self.clients.len() {
            for _ in 0..self.log.len() {
                self.push(at);
            }
        }
    }
}
