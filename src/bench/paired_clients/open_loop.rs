//! The open loop of a pair: it sends when it should, whatever is still unanswered.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{MissedTickBehavior, interval};

use super::super::delivery_checker::SentAt;
use super::super::recorder::RunRecord;
use super::pair::{Pair, Stop};
use super::sending::attempt;

/// Intended times that are taken at once.
const TAKEN_MAX: usize = 64;

/// How often samples are merged at the latest …
const MERGE_BEAT: Duration = Duration::from_millis(200);

/// … and with how many at the latest.
const MERGE_SAMPLES: usize = 1_024;

impl Pair {
    /// Sends each message when it is due, the two sides in turn, at most `in_flight` of each unanswered: what is due beyond that
    /// waits, and its time runs. After each chunk somebody reads the newest page. Ends when no more comes, all is answered and
    /// delivered.
    pub(super) async fn talk_as_due(&mut self, record: &RunRecord) -> Result<(), Stop> {
        let inboxes = [&self.one.inbox, &self.other.inbox].map(std::sync::Arc::clone);
        let readers = [self.one.page_reader(), self.other.page_reader()];
        let mut unanswered = [FuturesUnordered::new(), FuturesUnordered::new()];
        let mut reading = FuturesUnordered::new();
        let mut reads_due = VecDeque::<Instant>::new();
        let (mut due, mut is_open) = (Vec::with_capacity(TAKEN_MAX), true);
        let (mut messages, mut reads) = (0_u64, 0_usize);
        let mut beat = interval(MERGE_BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let sides = self.waiting.iter_mut().zip(&mut unanswered);
            let chatters = [(&mut self.one, &inboxes[1]), (&mut self.other, &inboxes[0])];
            for ((waiting, unanswered), (chatter, peer)) in sides.zip(chatters) {
                let room = chatter.in_flight.saturating_sub(unanswered.len());
                let count = room.min(waiting.len());
                if count > 0 {
                    let really = Instant::now();
                    let sent = waiting.drain(..count);
                    let sent = sent.map(|intended| SentAt { intended, really }).collect();
                    let attempts = chatter.begin(sent, peer, &mut self.books).await?;
                    unanswered.extend(attempts.into_iter().map(attempt));
                    self.done.fetch_add(count as u64, Ordering::Relaxed);
                }
            }
            if let Some(intended) = reads_due.front().copied().filter(|_| reading.is_empty()) {
                reads_due.pop_front();
                let reader = readers[reads % 2].clone();
                reads += 1;
                reading.push(reader.read(intended, self.books.pages.total()));
            }
            let is_waiting = self.waiting.iter().any(|side| !side.is_empty());
            let is_busy = unanswered.iter().any(|side| !side.is_empty()) || !reading.is_empty();
            if !is_open && !is_waiting && !is_busy {
                break;
            }
            let [first, second] = &mut unanswered;
            let receiver = self.due.as_mut().filter(|_| is_open && !is_waiting);
            let next = async {
                match receiver {
                    Some(receiver) => receiver.recv_many(&mut due, TAKEN_MAX).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                count = next => {
                    is_open = count > 0;
                    for intended in due.drain(..) {
                        self.waiting[(messages % 2) as usize].push_back(intended);
                        messages += 1;
                        if messages.is_multiple_of(self.chunk) {
                            reads_due.push_back(intended);
                        }
                    }
                }
                Some(attempted) = first.next() => {
                    let again = self.one.answered(attempted, &inboxes[1], &mut self.books)?;
                    first.extend(again.map(attempt));
                }
                Some(attempted) = second.next() => {
                    let again = self.other.answered(attempted, &inboxes[0], &mut self.books)?;
                    second.extend(again.map(attempt));
                }
                Some(read) = reading.next() => self.books.read(read)?,
                _ = beat.tick() => self.merge(record),
            }
            if self.books.recorder.len() > MERGE_SAMPLES {
                self.merge(record);
            }
        }
        self.settle_both().await?;
        self.read_pages().await?;
        self.merge(record);
        Ok(())
    }

    fn merge(&mut self, record: &RunRecord) {
        self.take_delivery_times();
        record.merge(&mut self.books.recorder);
    }
}
