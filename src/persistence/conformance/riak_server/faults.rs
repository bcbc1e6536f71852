//! What goes wrong on purpose.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::replicas::REPLICAS;

/// Strikes every so many times; never at 0.
#[derive(Debug, Default)]
struct Every {
    period: AtomicU64,
    count: AtomicU64,
}

impl Every {
    fn set(&self, period: u64) {
        self.count.store(0, Ordering::SeqCst);
        self.period.store(period, Ordering::SeqCst);
    }

    fn strikes(&self) -> bool {
        let period = self.period.load(Ordering::SeqCst);
        period > 0 && (self.count.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(period)
    }
}

/// The faults of a server, none at first. Each can be switched while it runs, and each counts for itself.
#[derive(Debug)]
pub struct Faults {
    lost_replies: Every,
    cut_writes: Every,
    cut_to: AtomicUsize,
    delays: Every,
    delay_ms: AtomicU64,
    refuses: AtomicBool,
    paused: watch::Sender<bool>,
    down: [AtomicBool; REPLICAS],
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            lost_replies: Every::default(),
            cut_writes: Every::default(),
            cut_to: AtomicUsize::new(0),
            delays: Every::default(),
            delay_ms: AtomicU64::new(0),
            refuses: AtomicBool::new(false),
            paused: watch::Sender::new(false),
            down: Default::default(),
        }
    }
}

impl Faults {
    /// Every n-th PUT is done, then the connection is closed without an answer; 0 for none.
    pub fn lose_reply_every(&self, period: u64) {
        self.lost_replies.set(period);
    }

    /// Every n-th PUT reaches only so many replicas, chosen by lot, and is answered 503; 0 for none. One that fails its condition reaches
    /// none, and is answered as ever.
    pub fn cut_write_every(&self, period: u64, replicas: usize) {
        self.cut_to.store(replicas, Ordering::SeqCst);
        self.cut_writes.set(period);
    }

    /// Every n-th request, of whatever kind, is done at once and answered late; 0 for none.
    pub fn delay_every(&self, period: u64, delay: Duration) {
        let delay_ms = delay.as_millis().try_into().unwrap_or(u64::MAX);
        self.delay_ms.store(delay_ms, Ordering::SeqCst);
        self.delays.set(period);
    }

    /// Every request is answered 503, and nothing is done.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Connections are accepted, requests read, and nothing is done or answered. When it ends all of them are done, also those whose
    /// asker has gone: as it is with a process that was stopped.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// One of three replicas, by its index, answers nothing and misses what is written, until it is up again.
    pub fn take_replica_down(&self, index: usize, down: bool) {
        self.down[index].store(down, Ordering::SeqCst);
    }

    /// The replicas that are up.
    pub(super) fn up(&self) -> Vec<usize> {
        (0..REPLICAS).filter(|index| !self.down[*index].load(Ordering::SeqCst)).collect()
    }

    /// To be asked once for each PUT.
    pub(super) fn loses_reply(&self) -> bool {
        self.lost_replies.strikes()
    }

    /// To be asked once for each PUT: how many replicas it reaches, where not all.
    pub(super) fn cuts_to(&self) -> Option<usize> {
        self.cut_writes.strikes().then(|| self.cut_to.load(Ordering::SeqCst))
    }

    /// To be asked once for each request.
    pub(super) fn delays(&self) -> Option<Duration> {
        self.delays.strikes().then(|| Duration::from_millis(self.delay_ms.load(Ordering::SeqCst)))
    }

    pub(super) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::SeqCst)
    }

    pub(super) async fn resumed(&self) {
        // The sender is this value's own, and so is there.
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
    }
}
