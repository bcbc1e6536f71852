//! One client of the run: what it does, decided by the seed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use super::DriveOptions;
use super::cast::{Cast, Sent, User};
use super::session::{Pending, Session, plain_open};
use crate::client::{Address, ClientError};
use crate::clock::unix_ms;
use crate::harness::content::ContentMaker;
use crate::harness::{own_cid, text_message};
use crate::history::{ReadKind, Recorder};
use crate::model::{Cid, ConvId, Epoch, INTEGER_MAX, LIMITS, Seq};
use crate::protocol::{self, ErrorCode, Reply, Resume};

/// Bytes of a content: its header, and some that vary.
const CONTENT_BYTES: usize = 160;

/// Most sends that are written before the first answer is waited for.
const BURST_MAX: usize = 6;

/// The pause between two tries to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);

/// How much an actor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Until it has sent so many messages, without a pause.
    Messages(u64),
    /// For so long.
    Time {
        /// From when it is in on.
        length: Duration,
        /// The mean pause between two things that it does.
        pace: Duration,
    },
}

/// What every actor of a run shares.
#[derive(Debug)]
pub struct Stage {
    /// Who and where.
    pub cast: Cast,
    /// The nodes.
    pub addresses: Vec<Address>,
    /// Where everything is written down.
    pub recorder: Arc<Recorder>,
    /// How long one connect may take.
    pub connect_timeout: Duration,
    /// How long somebody tries to connect, over and over and to each node by turns, before he gives up.
    pub patience: Duration,
    /// What contents are made of.
    pub contents: ContentMaker,
}

impl Stage {
    /// A stage whose contents vary with `seed`.
    pub fn new(cast: Cast, addresses: Vec<Address>, options: &DriveOptions) -> Self {
        Self {
            cast,
            addresses,
            recorder: Recorder::new(),
            connect_timeout: options.connect_timeout,
            patience: options.patience,
            contents: ContentMaker::new(CONTENT_BYTES, options.seed),
        }
    }
}

/// One client.
pub struct Actor {
    stage: Arc<Stage>,
    number: usize,
    user: usize,
    random: SmallRng,
    cancel: CancellationToken,
    session: Session,
    connects: usize,
    /// Sends begun.
    sent: u64,
    /// The last new send, and whether its cid was used in two conversations already.
    last: Option<(usize, Cid, bool)>,
}

impl Actor {
    /// Connects client `number`.
    pub async fn enter(
        stage: Arc<Stage>,
        number: usize,
        seed: u64,
        cancel: CancellationToken,
    ) -> Result<Self, ClientError> {
        let user = number % stage.cast.users.len();
        let random = SmallRng::seed_from_u64(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9));
        let session = connect(&stage, user, number).await?;
        let (sent, last) = (0, None);
        Ok(Self { stage, number, user, random, cancel, session, connects: 1, sent, last })
    }

    /// Does as much as is asked for, everything between one send and the next; its session at the end.
    pub async fn play(mut self, amount: Amount) -> Result<Session, ClientError> {
        for venue in self.me().venues.clone() {
            self.open(venue).await;
        }
        let begun = Instant::now();
        let messages = match amount {
            Amount::Messages(messages) => messages,
            Amount::Time { .. } => u64::MAX,
        };
        while self.sent < messages && !self.cancel.is_cancelled() {
            if let Amount::Time { length, pace } = amount {
                if begun.elapsed() >= length {
                    break;
                }
                tokio::time::sleep(pace.mul_f64(self.random.random_range(0.0..2.0))).await;
            }
            if self.session.is_closed() {
                self.reconnect().await?;
            }
            let venue = self.any_venue();
            match self.random.random_range(0..100) {
                0..43 => self.burst(venue, messages).await,
                43..46 => self.regroup().await,
                46..57 => self.page(venue).await,
                57..64 => self.read_after(venue).await,
                64..71 => self.read_late(venue).await,
                71..78 => self.ack_up_to(venue).await,
                78..85 => self.ack_ranges(venue).await,
                85..89 => self.list().await,
                89..93 => self.open_in_some_way(venue).await,
                93..95 => self.leave(venue).await,
                _ => self.cut_in_the_middle(venue).await?,
            }
        }
        if self.session.is_closed() {
            self.reconnect().await?;
        }
        self.settle_some().await;
        for venue in self.me().venues.clone() {
            self.ensure_open(venue).await;
        }
        Ok(self.session)
    }

    fn me(&self) -> &User {
        &self.stage.cast.users[self.user]
    }

    fn any_venue(&mut self) -> usize {
        let venues = &self.stage.cast.users[self.user].venues;
        venues[self.random.random_range(0..venues.len())]
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn conv(&self, venue: usize) -> Option<ConvId> {
        self.stage.cast.venues[venue].conv.get().copied()
    }

    /// The conversation, if it is open in this session.
    async fn ensure_open(&mut self, venue: usize) -> Option<ConvId> {
        if let Some(conv) = self.conv(venue)
            && self.session.stream(conv).is_some()
        {
            return Some(conv);
        }
        self.open(venue).await
    }

    async fn open(&mut self, venue: usize) -> Option<ConvId> {
        let limit = self.random.random_range(0..12);
        let to = self.stage.cast.venues[venue].to(&self.me().name)?;
        self.open_as(venue, plain_open(to, limit)).await
    }

    async fn open_as(&mut self, venue: usize, open: protocol::Open) -> Option<ConvId> {
        let reply = self.session.open(self.conv(venue), open).await?;
        Some(*self.stage.cast.venues[venue].conv.get_or_init(|| reply.conv))
    }

    async fn open_in_some_way(&mut self, venue: usize) {
        let Some(to) = self.stage.cast.venues[venue].to(&self.me().name) else { return };
        let limit = self.random.random_range(0..20);
        let (echo, push) = (!self.chance(25), !self.chance(15));
        self.open_as(venue, protocol::Open { to, limit, resume: None, echo, push }).await;
    }

    async fn burst(&mut self, venue: usize, messages: u64) {
        let Some(conv) = self.ensure_open(venue).await else { return };
        let room = usize::try_from(messages - self.sent).unwrap_or(BURST_MAX);
        let count = self.random.random_range(1..=BURST_MAX.min(room));
        for pending in self.begin_burst(venue, conv, count).await {
            self.end_send(pending).await;
        }
    }

    async fn begin_burst(
        &mut self,
        venue: usize,
        conv: ConvId,
        count: usize,
    ) -> Vec<(Sent, Pending)> {
        let mut pending = Vec::with_capacity(count);
        for _ in 0..count {
            let sent = self.next_send(venue, conv);
            let begun = self.session.begin_send(&sent.send).await;
            pending.push((sent, begun));
        }
        self.sent += count as u64;
        pending
    }

    async fn end_send(&mut self, (sent, pending): (Sent, Pending)) {
        match pending.end().await {
            Ok(Reply::Send(reply)) => {
                self.me().settle(&sent.send);
                let ts_last = &self.stage.cast.venues[sent.venue].ts_last;
                ts_last.fetch_max(reply.ts, Ordering::Relaxed);
            }
            Err(ClientError::Refused(error))
                if error.code == ErrorCode::TsInFuture && self.chance(50) =>
            {
                // A refused send leaves its cid free.
                let mut again = sent;
                again.send.ts = Some(unix_ms());
                self.me().remember(again.clone());
                let pending = self.session.begin_send(&again.send).await;
                if pending.end().await.is_ok() {
                    self.me().settle(&again.send);
                }
            }
            _ => {}
        }
    }

    /// A new message, one again, or another under a cid that is taken.
    fn next_send(&mut self, venue: usize, conv: ConvId) -> Sent {
        if self.chance(16) {
            let repeat = !self.chance(30);
            let here = |sent: &Sent| sent.venue == venue && (repeat || sent.is_settled);
            let known: Vec<Sent> = self.me().sent().into_iter().filter(here).collect();
            if !known.is_empty() {
                let mut sent = known[self.random.random_range(0..known.len())].clone();
                if !repeat {
                    let variation = self.random.random_range(1_000_000..2_000_000);
                    sent.send.content = self.content(conv, &sent.send.cid, variation);
                } else if self.chance(30) {
                    // The ts of a retry is ignored.
                    sent.send.ts = Some(unix_ms() - 5_000);
                }
                return sent;
            }
        }
        let twin = match &self.last {
            Some((other, cid, false)) if *other != venue => Some(cid.clone()),
            _ => None,
        };
        let twin = twin.filter(|_| self.random.random_range(0..100) < 4);
        let is_twin = twin.is_some();
        let fresh =
            format!("a{}-{}-{}", self.number, self.sent, self.random.random_range(0..1_000_000));
        let cid = twin.unwrap_or_else(|| own_cid(&fresh));
        self.last = Some((venue, cid.clone(), is_twin));
        let content = self.content(conv, &cid, self.sent);
        let ts = self.some_ts(venue);
        let send = text_message(conv, cid, content, ts);
        let sent = Sent { venue, send, is_settled: false };
        // One too far ahead is refused; its cid is used again only for the same content.
        if ts.is_none_or(|ts| ts <= unix_ms() + LIMITS.future_skew_ms_max / 2) {
            self.me().remember(sent.clone());
        }
        sent
    }

    fn content(&self, conv: ConvId, cid: &Cid, variation: u64) -> String {
        self.stage.contents.make(conv, &self.me().name, cid, variation)
    }

    fn some_ts(&mut self, venue: usize) -> Option<u64> {
        let now = unix_ms();
        match self.random.random_range(0..100) {
            0..25 => None,
            25..55 => Some(now),
            55..70 => Some(self.stage.cast.equal_ts(venue, now)),
            70..93 => Some(now.saturating_sub(self.random.random_range(1..20_000))),
            93..97 => Some(now + self.random.random_range(1..1_500)),
            _ => Some(now + 10 * LIMITS.future_skew_ms_max),
        }
    }

    async fn page(&mut self, venue: usize) {
        let Some(conv) = self.ensure_open(venue).await else { return };
        let now = unix_ms();
        let (from, to) = match self.random.random_range(0..4) {
            0 => (now - 10_000, now - 1_000),
            1 => (now - 3_000, INTEGER_MAX),
            _ => (0, INTEGER_MAX),
        };
        let kind = ReadKind::Range { from, to, descending: self.chance(50) };
        let (limit, pages) = (self.random.random_range(1..9), self.random.random_range(1..6));
        self.session.read(conv, kind, limit, pages, false).await;
    }

    async fn read_after(&mut self, venue: usize) {
        let Some(conv) = self.ensure_open(venue).await else { return };
        let after_seq = Seq(self.random.random_range(0..=self.head(conv).0 + 2));
        let limit = self.random.random_range(1..20);
        let pages = self.random.random_range(1..5);
        self.session.read(conv, ReadKind::After { after_seq }, limit, pages, false).await;
    }

    async fn read_late(&mut self, venue: usize) {
        let Some(conv) = self.ensure_open(venue).await else { return };
        let (limit, pages) = (self.random.random_range(1..10), self.random.random_range(1..6));
        self.session.read(conv, ReadKind::Late {}, limit, pages, false).await;
    }

    fn head(&self, conv: ConvId) -> Seq {
        self.session.stream(conv).map(|stream| stream.head).unwrap_or_default()
    }

    async fn ack_up_to(&mut self, venue: usize) {
        let Some(conv) = self.ensure_open(venue).await else { return };
        let head = self.head(conv).0;
        // Now and then above the head: refused, and nothing changes.
        let up_to = if self.chance(8) { head + 10_000 } else { self.random.random_range(0..=head) };
        self.session.ack(conv, Some(Seq(up_to)), Vec::new()).await;
    }

    async fn ack_ranges(&mut self, venue: usize) {
        let Some(conv) = self.ensure_open(venue).await else { return };
        let head = self.head(conv).0;
        if head == 0 {
            return;
        }
        let ranges = (0..self.random.random_range(1..4)).map(|_| {
            let lo = self.random.random_range(1..=head);
            (Seq(lo), Seq(self.random.random_range(lo..=head) + 1))
        });
        let ranges = ranges.collect();
        self.session.ack(conv, None, ranges).await;
    }

    async fn list(&mut self) {
        let limit = self.random.random_range(1..4);
        self.session.list(limit, 4).await;
    }

    async fn leave(&mut self, venue: usize) {
        if let Some(conv) = self.conv(venue).filter(|&conv| self.session.stream(conv).is_some()) {
            self.session.leave(conv).await;
        }
    }

    /// Changes who is in a group, or tries to: its owner removes and invites, others invite, quit, and are refused.
    async fn regroup(&mut self) {
        let stage = Arc::clone(&self.stage);
        let is_group = |venue: &&usize| stage.cast.venues[**venue].is_group;
        let Some(&venue) = stage.cast.users[self.user].venues.iter().find(is_group) else { return };
        let members = &stage.cast.venues[venue].members;
        let whom = members[self.random.random_range(0..members.len())];
        if whom == members[0] || self.ensure_open(venue).await.is_none() {
            return;
        }
        let Some(conv) = self.conv(venue) else { return };
        let user = stage.cast.users[whom].name.clone();
        let (is_owner, dice) = (self.user == members[0], self.random.random_range(0..100));
        match (is_owner, dice) {
            (true, 0..50) | (false, 85..) => self.session.remove(conv, user).await,
            (false, 60..85) => self.session.quit(conv).await,
            _ => self.session.invite(conv, user).await,
        }
    }

    /// Drops the socket with commands under way, then comes back and goes on where it was.
    async fn cut_in_the_middle(&mut self, venue: usize) -> Result<(), ClientError> {
        let Some(conv) = self.ensure_open(venue).await else { return Ok(()) };
        let (count, wait) = (self.random.random_range(0..4), self.random.random_range(0..4_000));
        let pending = self.begin_burst(venue, conv, count).await;
        // Before, while or after the server reads them.
        if wait > 500 {
            tokio::time::sleep(Duration::from_micros(wait)).await;
        }
        let streams: Vec<_> = self
            .me()
            .venues
            .clone()
            .into_iter()
            .filter_map(|venue| Some((venue, self.session.stream(self.conv(venue)?)?)))
            .collect();
        // The new connection first: the server has both for a moment.
        let turn = self.number + self.connects;
        let (next, tries) =
            connect_patiently(&self.stage, self.user, turn, Some(&self.cancel)).await?;
        self.connects += tries;
        std::mem::replace(&mut self.session, next).cut();
        let unanswered: Vec<_> = pending.iter().map(|(sent, _)| sent.clone()).collect();
        for pending in pending {
            self.end_send(pending).await;
        }
        for (venue, stream) in streams {
            let resume = match self.random.random_range(0..10) {
                0..6 => Some(Resume { epoch: stream.epoch, seq: stream.head }),
                6 => Some(Resume { epoch: stream.epoch, seq: Seq(stream.head.0 + 5_000) }),
                7 => Epoch::new("of-another-life")
                    .ok()
                    .map(|epoch| Resume { epoch, seq: stream.head }),
                8 => Some(Resume { epoch: stream.epoch, seq: Seq(stream.head.0 / 2) }),
                _ => None,
            };
            let Some(to) = self.stage.cast.venues[venue].to(&self.me().name) else { continue };
            self.open_as(venue, protocol::Open { resume, ..plain_open(to, 10) }).await;
        }
        for sent in unanswered {
            if self.chance(50) {
                self.retry(sent).await;
            }
        }
        Ok(())
    }

    async fn retry(&mut self, sent: Sent) {
        if self.ensure_open(sent.venue).await.is_some() {
            let pending = self.session.begin_send(&sent.send).await;
            if let Ok(Reply::Send(_)) = pending.end().await {
                self.me().settle(&sent.send);
            }
        }
    }

    /// Learns what became of half of the sends of which nobody knows; the others stay unknown.
    async fn settle_some(&mut self) {
        let unsettled = self.me().sent().into_iter().filter(|sent| !sent.is_settled);
        for sent in unsettled.collect::<Vec<_>>() {
            if self.chance(50) {
                self.retry(sent).await;
            }
        }
    }

    async fn reconnect(&mut self) -> Result<(), ClientError> {
        let turn = self.number + self.connects;
        let (session, tries) =
            connect_patiently(&self.stage, self.user, turn, Some(&self.cancel)).await?;
        self.connects += tries;
        self.session = session;
        Ok(())
    }
}

/// A session of a user, from the first node that lets it in, `turn` first; and how many were asked.
async fn connect_patiently(
    stage: &Stage,
    user: usize,
    turn: usize,
    cancel: Option<&CancellationToken>,
) -> Result<(Session, usize), ClientError> {
    let begun = Instant::now();
    let mut tries = 0;
    loop {
        let connected = connect(stage, user, turn + tries).await;
        tries += 1;
        match connected {
            Ok(session) => return Ok((session, tries)),
            Err(error)
                if begun.elapsed() >= stage.patience
                    || cancel.is_some_and(CancellationToken::is_cancelled) =>
            {
                return Err(error);
            }
            Err(_) => tokio::time::sleep(CONNECT_PAUSE).await,
        }
    }
}

/// A session of a user; `turn` chooses the node.
pub async fn connect(stage: &Stage, user: usize, turn: usize) -> Result<Session, ClientError> {
    let address = &stage.addresses[turn % stage.addresses.len()];
    let name = &stage.cast.users[user].name;
    Session::connect(&stage.recorder, address, name, stage.connect_timeout).await
}
