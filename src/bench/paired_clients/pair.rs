//! Two clients that talk to each other, and what is known of their conversation.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::delivery_checker::DeliveryChecker;
use super::super::pacer::ClosedLoop;
use super::super::page_checker::PageChecker;
use super::super::recorder::RunRecord;
use super::books::Books;
use super::chatter::Chatter;
use super::options::{Load, PairedClientsOptions, Volume};
use super::phase::Phase;
use super::tally::Tally;
use crate::client::ClientError;
use crate::model::LIMITS;

/// Messages of one side while a conversation is filled.
const FILL_CHUNK: u64 = 1_024;

/// A pair under way.
pub(super) struct Pair {
    pub(super) one: Chatter,
    pub(super) other: Chatter,
    pub(super) books: Books,
    pub(super) chunk: u64,
    volume: Volume,
    /// Messages that the conversation holds before anything counts.
    fill_to: u64,
    in_flight: usize,
    pub(super) delivery_wait: Duration,
    /// Messages, for the progress.
    pub(super) done: Arc<AtomicU64>,
    /// Intended times that wait for room on their side.
    pub(super) waiting: [VecDeque<Instant>; 2],
    /// Where more of them come from; none in a closed loop.
    pub(super) due: Option<mpsc::Receiver<Instant>>,
}

/// A pair that has talked.
pub(super) struct Parted {
    /// What it did.
    pub(super) tally: Tally,
    /// Both clients, still connected unless that is how it ended.
    pub(super) clients: [Chatter; 2],
}

/// Why a pair stops early.
pub(super) enum Stop {
    /// One of the two connections is over.
    Broken(String),
    /// Its two clients disagree about what conversation they are in.
    Apart,
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Pair {
    /// Two chatters that have the same conversation open; `done` counts messages for the progress.
    pub(super) fn new(
        one: Chatter,
        other: Chatter,
        options: &PairedClientsOptions,
        done: Arc<AtomicU64>,
        due: Option<mpsc::Receiver<Instant>>,
    ) -> Self {
        let is_open = matches!(options.load, Load::Open { .. });
        Self {
            books: Books::new(
                PageChecker::new(one.conv, options.read_limit),
                is_open,
                options.nemesis.is_some(),
            ),
            one,
            other,
            chunk: options.chunk,
            volume: options.volume,
            fill_to: options.fill_each(),
            in_flight: options.in_flight,
            delivery_wait: options.delivery_wait(),
            done,
            waiting: Default::default(),
            due,
        }
    }

    /// Runs until there is no more to do, the connection breaks, or `cancel`; what was under way at a
    /// cancel is not judged. Both clients stay connected.
    pub(super) async fn run(
        mut self,
        phase: &Phase,
        record: &RunRecord,
        cancel: &CancellationToken,
    ) -> Parted {
        let lines = [&self.one, &self.other].map(|chatter| Arc::clone(&chatter.line));
        let stopped = tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(()),
            _ = async { tokio::join!(lines[0].keep(), lines[1].keep()) } => Ok(()),
            result = self.talk(phase, record) => result,
        };
        lines.iter().for_each(|line| line.tell(&mut self.books.tally));
        self.take_delivery_times();
        let counts_at = phase.measured_from().unwrap_or_else(Instant::now);
        for joined in [self.one.joined, self.other.joined] {
            self.books.connected(joined, counts_at);
        }
        record.merge(&mut self.books.recorder);
        self.books.tally.dropped += self.undone();
        match stopped {
            Ok(()) => {}
            Err(Stop::Broken(why)) => self.books.tally.broke(why),
            Err(Stop::Apart) => {
                let names = format!("{} and {}", self.one.user, self.other.user);
                self.books.tally.broke(format!("{names} were given different conversations"));
                self.books.tally.correctness.misrouted += 1;
            }
        }
        let judges =
            [self.one.inbox.finish(), self.other.inbox.finish(), self.books.pages.finish()];
        for counts in judges {
            self.books.tally.correctness.add(&counts);
        }
        Parted { tally: self.books.tally, clients: [self.one, self.other] }
    }

    /// Intended messages that will not be sent any more.
    fn undone(&mut self) -> u64 {
        let mut undone = self.waiting.iter().map(VecDeque::len).sum::<usize>() as u64;
        if let Some(due) = &mut self.due {
            due.close();
            while due.try_recv().is_ok() {
                undone += 1;
            }
        }
        undone
    }

    async fn talk(&mut self, phase: &Phase, record: &RunRecord) -> Result<(), Stop> {
        let filling = phase.filling();
        if self.one.conv != self.other.conv {
            return Err(Stop::Apart);
        }
        self.fill().await?;
        drop(filling);
        phase.until_talk().await;
        match self.due.is_some() {
            true => self.talk_as_due(record).await?,
            false => self.talk_in_turns(phase, record).await?,
        }
        tokio::try_join!(self.one.drain(), self.other.drain())?;
        Ok(())
    }

    /// Sends until the conversation holds what it should; nobody reads meanwhile.
    async fn fill(&mut self) -> Result<(), Stop> {
        let mut missing = self.fill_to.saturating_sub(self.one.head);
        while missing > 0 {
            let count = missing.min(FILL_CHUNK);
            self.one.in_flight = LIMITS.in_flight_max;
            let sent =
                self.one.send_chunk(count, Instant::now(), &self.other.inbox, &mut self.books);
            sent.await?;
            self.settle().await?;
            if self.books.tally.given_up > 0 {
                let errors: Vec<&str> =
                    self.books.tally.errors.keys().map(String::as_str).collect();
                let why = format!("filling was refused: {}", errors.join(", "));
                return Err(Stop::Broken(why));
            }
            self.done.fetch_add(count, Ordering::Relaxed);
            std::mem::swap(&mut self.one, &mut self.other);
            missing -= count;
        }
        for chatter in [&mut self.one, &mut self.other] {
            chatter.in_flight = self.in_flight;
        }
        // What it took is nobody's latency.
        self.books.recorder.clear();
        Ok(())
    }

    /// The closed loop: chunk, deliveries, pages, roles swapped, again.
    async fn talk_in_turns(&mut self, phase: &Phase, record: &RunRecord) -> Result<(), Stop> {
        while phase.measured_from().is_none() {
            self.both_turns(self.chunk, Instant::now(), record).await?;
        }
        let measured_from = phase.measured_from().unwrap_or_else(Instant::now);
        let (mut pacer, mut left) = match self.volume {
            Volume::MessagesPerClient(messages) => {
                (ClosedLoop::pieces(messages.div_ceil(self.chunk)), Some(messages))
            }
            Volume::DurationMs(ms) => {
                (ClosedLoop::duration(measured_from, Duration::from_millis(ms)), None)
            }
        };
        while let Some(intended) = pacer.next_start(Instant::now()) {
            let count = left.map_or(self.chunk, |left| left.min(self.chunk));
            self.both_turns(count, intended, record).await?;
            left = left.map(|left| left - count);
        }
        Ok(())
    }

    async fn both_turns(
        &mut self,
        count: u64,
        intended: Instant,
        record: &RunRecord,
    ) -> Result<(), Stop> {
        self.turn(count, intended).await?;
        std::mem::swap(&mut self.one, &mut self.other);
        self.turn(count, Instant::now()).await?;
        std::mem::swap(&mut self.one, &mut self.other);
        record.merge(&mut self.books.recorder);
        Ok(())
    }

    /// `one` sends a chunk, `other` receives all of it, both read a page.
    async fn turn(&mut self, count: u64, intended: Instant) -> Result<(), Stop> {
        self.one.send_chunk(count, intended, &self.other.inbox, &mut self.books).await?;
        self.settle().await?;
        self.read_pages().await?;
        self.done.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until `other` has received everything, or too long.
    async fn settle(&mut self) -> Result<(), Stop> {
        let settled = self.other.inbox.settle(self.delivery_wait).await;
        // What a broken connection did not receive is not lost: nobody was there.
        if let Some(why) = self.other.broken().await {
            return Err(Stop::Broken(why));
        }
        if !settled {
            self.other.inbox.with(DeliveryChecker::expire);
        }
        self.take_delivery_times();
        Ok(())
    }

    /// As [`settle`](Self::settle), of both.
    pub(super) async fn settle_both(&mut self) -> Result<(), Stop> {
        for _ in 0..2 {
            self.settle().await?;
            std::mem::swap(&mut self.one, &mut self.other);
        }
        Ok(())
    }

    /// Both read the newest page, one after the other.
    pub(super) async fn read_pages(&mut self) -> Result<(), Stop> {
        for reader in [self.one.page_reader(), self.other.page_reader()] {
            let total = self.books.pages.total();
            let read = reader.read(Instant::now(), total).await;
            self.books.read(read)?;
        }
        Ok(())
    }

    pub(super) fn take_delivery_times(&mut self) {
        for inbox in [&self.one.inbox, &self.other.inbox] {
            for time in inbox.with(DeliveryChecker::take_times) {
                self.books.delivered(time);
            }
        }
    }
}
