//! A device of a simulated user: what somebody does with a chat.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use tokio::time::sleep;

use super::connection::{Connection, Sights};
use super::weather::between;
use super::world::World;
use crate::harness::content::ContentMaker;
use crate::harness::seeds::dice;
use crate::history::{Asked, ReadAsked, ReadKind, asked_of_open, asked_of_send, read_of};
use crate::model::{Cid, ConvId, INTEGER_MAX, MessageType, Place, Seq, UserName};
use crate::protocol::{self, Command, Leave, List, Open, Reply, Resume, To};

const CONTENT_BYTES: usize = 100;
/// Pages of a final read: more than there can be.
const PAGES_MAX: u64 = 1_000;

/// One device.
pub struct Device {
    world: Arc<World>,
    name: String,
    user: UserName,
    dice: SmallRng,
    places: Vec<Arc<Place>>,
    sights: Sights,
    contents: ContentMaker,
    /// Everything that it ever sent.
    sent: Vec<protocol::Send>,
    /// Ahead of the right time, ms.
    offset_ms: i64,
    is_slow: bool,
}

impl Device {
    /// A device of `user`; its name is its own.
    pub fn new(world: &Arc<World>, name: &str, user: &UserName) -> Self {
        let mut dice = dice(world.seed, name);
        let places = world.places.iter().filter(|place| is_of(place, user)).cloned().collect();
        let (offset_ms, is_slow) = (dice.random_range(-3_000..=3_000), dice.random_bool(0.2));
        Self {
            world: Arc::clone(world),
            name: name.to_owned(),
            user: user.clone(),
            dice,
            places,
            sights: Arc::new(Mutex::new(BTreeMap::new())),
            contents: ContentMaker::new(CONTENT_BYTES, world.seed),
            sent: Vec::new(),
            offset_ms,
            is_slow,
        }
    }

    /// Lives until the world calms down; the last connection stays.
    pub async fn live(mut self) -> Option<Connection> {
        while !self.world.weather.is_calm() {
            let Some(connection) = self.dial().await else {
                sleep(Duration::from_millis(200)).await;
                continue;
            };
            for _ in 0..self.dice.random_range(5..40) {
                if self.world.weather.is_calm() || connection.is_over() {
                    break;
                }
                self.act(&connection).await;
                sleep(Duration::from_millis(between(&mut self.dice, 0..=600))).await;
            }
            if self.world.weather.is_calm() {
                return Some(connection).filter(|connection| !connection.is_over());
            }
            connection.hang_up();
        }
        None
    }

    async fn dial(&mut self) -> Option<Connection> {
        let node = self.world.some_node(&mut self.dice)?;
        Connection::dial(&self.world, &node, &self.user, &self.sights, self.is_slow).await
    }

    /// Connects to a node of a calm world, opens everything and says something everywhere.
    pub async fn come_back(&mut self, at: usize) -> Connection {
        let node = self.world.node(at).unwrap();
        let connection =
            Connection::dial(&self.world, &node, &self.user, &self.sights, false).await.unwrap();
        for place in self.places.clone() {
            self.open(&connection, &place, true).await;
            let send = self.new_send(place.conv_id());
            self.send(&connection, vec![send]).await;
        }
        connection
    }

    /// Reads all of everything.
    pub async fn read_everything(&mut self, connection: &Connection) {
        for place in self.places.clone() {
            let kind = ReadKind::After { after_seq: Seq::ZERO };
            self.read(connection, place.conv_id(), kind, 50, PAGES_MAX, true).await;
        }
    }

    async fn act(&mut self, connection: &Connection) {
        let place = Arc::clone(&self.places[self.dice.random_range(0..self.places.len())]);
        let conv = place.conv_id();
        let known = self.sights.lock().unwrap().get(&conv).filter(|sight| sight.is_open).cloned();
        let Some(known) = known else {
            self.open(connection, &place, false).await;
            return;
        };
        match self.dice.random_range(0..100) {
            0..45 => {
                let count = between(&mut self.dice, 1..=5);
                let sends = (0..count).map(|_| self.some_send(conv)).collect();
                self.send(connection, sends).await;
            }
            45..60 => {
                let kind = self.some_reading(known.seq);
                let limit = self.dice.random_range(1..=20);
                let pages = self.dice.random_range(1..=6);
                self.read(connection, conv, kind, limit, pages, false).await;
            }
            60..72 => self.open(connection, &place, false).await,
            72..87 => self.ack(connection, conv, known.seq).await,
            87..91 => {
                let leave = Command::Leave(Leave { conv });
                connection.call(Some(conv), Asked::Leave {}, leave).await;
            }
            91..95 => {
                let list = Command::List(List { limit: 10, cursor: None });
                connection.call(None, Asked::List { first_page: true }, list).await;
            }
            95..98 if matches!(*place, Place::Group(_)) => self.regroup(connection, conv).await,
            _ => sleep(Duration::from_millis(between(&mut self.dice, 0..=2_000))).await,
        }
    }

    /// The owner of the group stays; others come and go.
    async fn regroup(&mut self, connection: &Connection, conv: ConvId) {
        let whom = ["bob", "cay"][self.dice.random_range(0..2)];
        let (user, whom) = (UserName::new(whom).unwrap(), whom.to_owned());
        let other = protocol::Other { conv, user };
        let (asked, command) = match (self.user.as_str(), self.dice.random_range(0..3)) {
            ("ann", 0) => (Asked::Remove { user: whom }, Command::Remove(other)),
            ("bob" | "cay", 0) => (Asked::Quit {}, Command::Quit(protocol::Quit { conv })),
            _ => (Asked::Invite { user: whom }, Command::Invite(other)),
        };
        connection.call(Some(conv), asked, command).await;
    }

    async fn open(&mut self, connection: &Connection, place: &Place, is_plain: bool) {
        let conv = place.conv_id();
        let known = self.sights.lock().unwrap().get(&conv).cloned();
        let resume = known.filter(|_| self.dice.random_bool(0.5)).map(|sight| {
            // A client may have lost some of the end of what it had.
            let seq = Seq(sight.seq.0.saturating_sub(between(&mut self.dice, 0..=4)));
            Resume { epoch: sight.epoch, seq }
        });
        let to = match place {
            Place::Channel(name) => To::Channel(name.clone()),
            Place::Group(id) => To::Group(id.clone()),
            place => To::User(place.peer_of(&self.user).unwrap().clone()),
        };
        let open = Open {
            to,
            limit: self.dice.random_range(0..=12),
            resume,
            echo: is_plain || self.dice.random_bool(0.7),
            push: is_plain || self.dice.random_bool(0.9),
        };
        connection.call(Some(conv), asked_of_open(&open), Command::Open(open)).await;
    }

    fn new_send(&mut self, conv: ConvId) -> protocol::Send {
        let number = self.sent.len();
        let cid = Cid::new(&format!("{}-{number}", self.name)).unwrap();
        let content = self.contents.make(conv, &self.user, &cid, number as u64);
        let now = self.world.clock.unix_ms().saturating_add_signed(self.offset_ms);
        let ts = match self.dice.random_range(0..100) {
            0..30 => None,
            30..70 => Some(now),
            70..96 => Some(now - between(&mut self.dice, 0..=20_000)),
            _ => Some(now + 20_000),
        };
        let kind = MessageType::new("text").unwrap();
        let send = protocol::Send { conv, cid, kind, content, ts };
        self.sent.push(send.clone());
        send
    }

    /// A new message, one again, or another under the name of one.
    fn some_send(&mut self, conv: ConvId) -> protocol::Send {
        let earlier: Vec<&protocol::Send> =
            self.sent.iter().rev().filter(|send| send.conv == conv).take(6).collect();
        if earlier.is_empty() || self.dice.random_bool(0.75) {
            return self.new_send(conv);
        }
        let again = earlier[self.dice.random_range(0..earlier.len())].clone();
        if self.dice.random_bool(0.1) {
            let variation = self.dice.random_range(1_000..2_000);
            let content = self.contents.make(conv, &self.user, &again.cid, variation);
            return protocol::Send { content, ..again };
        }
        again
    }

    /// Sends all at once, then waits for the answers.
    async fn send(&mut self, connection: &Connection, sends: Vec<protocol::Send>) {
        let mut answers = Vec::new();
        for send in sends {
            let asked = asked_of_send(&send);
            answers.push(connection.ask(Some(send.conv), Some(asked), Command::Send(send)));
        }
        for answer in answers {
            answer.end().await;
        }
    }

    fn some_reading(&mut self, head: Seq) -> ReadKind {
        let now = self.world.clock.unix_ms();
        let descending = self.dice.random();
        match self.dice.random_range(0..5) {
            0 => ReadKind::Range { from: 0, to: INTEGER_MAX, descending },
            1 => {
                let from = now - between(&mut self.dice, 0..=15_000);
                let to = from + self.dice.random_range(0..=10_000);
                ReadKind::Range { from, to, descending }
            }
            2 | 3 => ReadKind::After { after_seq: Seq(self.dice.random_range(0..=head.0)) },
            _ => ReadKind::Late {},
        }
    }

    async fn read(
        &mut self,
        connection: &Connection,
        conv: ConvId,
        kind: ReadKind,
        limit: usize,
        pages: u64,
        is_final: bool,
    ) {
        let (chain, mut cursor) = (connection.new_chain(), None);
        for page in 0..pages {
            let asked = ReadAsked { kind: kind.clone(), limit, page, chain, is_final };
            let read = Command::Read(read_of(conv, &asked, cursor.take()));
            match connection.call(Some(conv), Asked::Read(asked), read).await {
                Some(Reply::Read(reply)) if reply.next.is_some() => cursor = reply.next,
                _ => return,
            }
            if !is_final {
                sleep(Duration::from_millis(between(&mut self.dice, 0..=100))).await;
            }
        }
    }

    async fn ack(&mut self, connection: &Connection, conv: ConvId, head: Seq) {
        let above = if self.dice.random_bool(0.05) { 2 } else { 0 };
        let mut some = || Seq(self.dice.random_range(0..=head.0 + above));
        let up_to = Some(some());
        let (one, other) = (some(), some());
        let range = (Seq(one.0.min(other.0).max(1)), Seq(one.0.max(other.0) + 1));
        let wants_ranges = self.dice.random_bool(0.4) && range.0 < range.1;
        let (up_to, ranges) = match wants_ranges {
            true => (None, vec![range]),
            false => (up_to, Vec::new()),
        };
        let asked = Asked::Ack { up_to, ranges: ranges.clone() };
        let ranges = (!ranges.is_empty()).then_some(ranges);
        let ack = protocol::Ack { conv, up_to, ranges };
        connection.call(Some(conv), asked, Command::Ack(ack)).await;
    }
}

fn is_of(place: &Place, user: &UserName) -> bool {
    !matches!(place, Place::Direct(..)) || place.participants().any(|member| member == user)
}
