//! Two clients that talk to each other: chunk, deliveries, pages, roles swapped, again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::super::delivery_checker::DeliveryChecker;
use super::super::pacer::Pacer;
use super::super::page_checker::PageChecker;
use super::super::recorder::{Recorder, RunRecord};
use super::DELIVERY;
use super::chatter::Chatter;
use super::options::{PairedClientsOptions, Volume};
use super::tally::Tally;
use crate::client::ClientError;

/// Two clients that talk to each other, and what is known of their conversation.
pub(super) struct Pair {
    one: Chatter,
    other: Chatter,
    pages: PageChecker,
    recorder: Recorder,
    tally: Tally,
    chunk: u64,
    /// Messages that each side still sends; `None`: as long as the pacer says.
    left_each: Option<u64>,
    delivery_wait: Duration,
    done: Arc<AtomicU64>,
}

/// Why a pair stops early.
enum Stop {
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
    ) -> Self {
        let left_each = match options.volume {
            Volume::MessagesPerClient(messages) => Some(messages),
            Volume::DurationMs(_) => None,
        };
        Self {
            pages: PageChecker::new(one.conv, options.read_limit),
            one,
            other,
            recorder: Recorder::new(),
            tally: Tally::default(),
            chunk: options.chunk,
            left_each,
            delivery_wait: options.delivery_wait(),
            done,
        }
    }

    /// Runs until the pacer has no more, the connection breaks, or `cancel`; what was under way at a
    /// cancel is not judged.
    pub(super) async fn run(
        mut self,
        mut pacer: Box<dyn Pacer>,
        record: &RunRecord,
        cancel: &CancellationToken,
    ) -> Tally {
        let stopped = tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(()),
            result = self.talk(&mut *pacer, record) => result,
        };
        self.take_delivery_times();
        record.merge(&mut self.recorder);
        match stopped {
            Ok(()) => {}
            Err(Stop::Broken(why)) => self.tally.broke(why),
            Err(Stop::Apart) => {
                let names = format!("{} and {}", self.one.user, self.other.user);
                self.tally.broke(format!("{names} were given different conversations"));
                self.tally.correctness.misrouted += 1;
            }
        }
        for counts in [self.one.inbox.finish(), self.other.inbox.finish(), self.pages.finish()] {
            self.tally.correctness.add(&counts);
        }
        tokio::join!(self.one.close(), self.other.close());
        self.tally
    }

    async fn talk(&mut self, pacer: &mut dyn Pacer, record: &RunRecord) -> Result<(), Stop> {
        if self.one.conv != self.other.conv {
            return Err(Stop::Apart);
        }
        while let Some(intended) = pacer.next_start(Instant::now()) {
            let count = self.left_each.map_or(self.chunk, |left| left.min(self.chunk));
            self.turn(count, intended).await?;
            std::mem::swap(&mut self.one, &mut self.other);
            self.turn(count, Instant::now()).await?;
            std::mem::swap(&mut self.one, &mut self.other);
            self.left_each = self.left_each.map(|left| left - count);
            record.merge(&mut self.recorder);
        }
        tokio::try_join!(self.one.drain(), self.other.drain())?;
        Ok(())
    }

    /// `one` sends a chunk, `other` receives all of it, both read a page.
    async fn turn(&mut self, count: u64, intended: Instant) -> Result<(), Stop> {
        let Self { one, other, pages, recorder, tally, .. } = self;
        one.send_chunk(count, intended, &other.inbox, pages, recorder, tally).await?;
        let settled = other.inbox.settle(self.delivery_wait).await;
        // What a broken connection did not receive is not lost: nobody was there.
        if let Some(why) = other.broken().await {
            return Err(Stop::Broken(why));
        }
        if !settled {
            other.inbox.with(DeliveryChecker::expire);
        }
        for reader in [&*one, &*other] {
            if let Some(page) = reader.read_page(recorder, tally).await? {
                pages.judge(&page);
            }
        }
        self.take_delivery_times();
        self.done.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    fn take_delivery_times(&mut self) {
        for inbox in [&self.one.inbox, &self.other.inbox] {
            for time in inbox.with(DeliveryChecker::take_times) {
                self.recorder.record(DELIVERY, time.received_at, time.latency);
            }
        }
    }
}
