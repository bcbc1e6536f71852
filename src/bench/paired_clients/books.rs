//! What a pair writes down: times, counts, and what its pages must show.

use std::time::{Duration, Instant};

use super::super::delivery_checker::{DeliveryTime, SentAt};
use super::super::page_checker::PageChecker;
use super::super::recorder::Recorder;
use super::reading::PageRead;
use super::tally::Tally;
use super::{CONNECT, DELIVERY, DELIVERY_SERVICE, READ, READ_SERVICE, WRITE, WRITE_SERVICE};
use crate::client::ClientError;

/// The books of one pair.
pub(super) struct Books {
    pub(super) pages: PageChecker,
    pub(super) recorder: Recorder,
    pub(super) tally: Tally,
    /// Whether times from the real begin are kept beside those from the intended one: in a closed loop they are the same.
    keeps_service: bool,
    /// Whether a page is timed from when it was first asked for, also where that had to be repeated.
    keeps_waits: bool,
}

impl Books {
    /// Empty ones.
    pub(super) fn new(pages: PageChecker, keeps_service: bool, keeps_waits: bool) -> Self {
        let (recorder, tally) = (Recorder::new(), Tally::default());
        Self { pages, recorder, tally, keeps_service, keeps_waits }
    }

    /// A client was connected in this time; it is told with the first samples of the run.
    pub(super) fn connected(&mut self, took: Duration, counts_at: Instant) {
        self.recorder.record_late(CONNECT, counts_at, counts_at, took);
    }

    /// A send was answered.
    pub(super) fn written(&mut self, sent: SentAt, received_at: Instant) {
        self.times(WRITE, WRITE_SERVICE, sent, received_at);
    }

    /// A message was delivered.
    pub(super) fn delivered(&mut self, time: DeliveryTime) {
        self.times(DELIVERY, DELIVERY_SERVICE, time.sent, time.received_at);
    }

    /// A page was asked for; an error when the connection is over.
    pub(super) fn read(&mut self, read: PageRead) -> Result<(), ClientError> {
        read.errors.iter().for_each(|error| self.tally.error(error));
        match read.result {
            Ok(Some((page, asked_at, received_at))) => {
                // Without a schedule a repetition is timed from itself, unless the wait for it is what is measured.
                let intended =
                    if self.keeps_service || self.keeps_waits { read.intended } else { asked_at };
                let sent = SentAt { intended, really: asked_at };
                self.times(READ, READ_SERVICE, sent, received_at);
                self.tally.reads += 1;
                self.pages.judge(&page, read.total);
                Ok(())
            }
            Ok(None) => {
                self.tally.reads_failed += 1;
                Ok(())
            }
            Err(error) => {
                self.tally.error(&error);
                Err(error)
            }
        }
    }

    fn times(&mut self, response: usize, service: usize, sent: SentAt, until: Instant) {
        let SentAt { intended, really } = sent;
        let took = |from| until.saturating_duration_since(from);
        self.recorder.record_late(response, intended, until, took(intended));
        if self.keeps_service {
            self.recorder.record_late(service, intended, until, took(really));
        }
    }
}
