//! Whether a session is too fast, and since when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::rate::{Bucket, Rate, RateLimits};
use crate::protocol::{CloseCode, ErrorBody, ErrorCode};

/// How far ahead of the exact time a refused command may be told to come again, so that many refused at once come one after
/// the other.
const QUEUE_MAX: Duration = Duration::from_secs(1);

/// So many refusals are made good by one command that is let in: a client that comes again when it was told to, with
/// everything it has, is never closed.
const FORGIVEN: u32 = 4;

/// Without a refusal for this long, a session was not too fast.
const PAUSE: Duration = Duration::from_secs(1);

/// What a command takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// It stores a message, or changes a group.
    pub is_send: bool,
    /// It asks for a page: what was replied counts for it.
    pub is_page: bool,
    /// Bytes of its frame.
    pub bytes: usize,
}

/// A command that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooFast {
    /// The answer.
    pub error: ErrorBody,
    /// It has gone on for too long: close with this.
    pub close: Option<CloseCode>,
}

/// The buckets of one session. A refused command takes nothing out of them.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    commands: Lane,
    messages: Lane,
    incoming_bytes: Lane,
    flood: Flood,
}

/// A bucket, and until when its content was promised to those that were refused.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    bucket: Bucket,
    promised: Bucket,
}

/// A limit in the words of its message and of its metric.
struct Limit {
    name: &'static str,
    text: &'static str,
}

const COMMANDS: Limit = Limit { name: "commands", text: "too many commands in a second" };
const MESSAGES: Limit = Limit { name: "messages", text: "too many messages in a second" };
const INCOMING: Limit = Limit { name: "incoming_bytes", text: "too many bytes in a second" };
const REPLIES: Limit =
    Limit { name: "reply_bytes", text: "too many bytes were asked for in a second" };

impl Pace {
    /// Full buckets.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            commands: Lane::default(),
            messages: Lane::default(),
            incoming_bytes: Lane::default(),
            flood: Flood::default(),
        }
    }

    /// Takes what a command demands out of the buckets, or nothing at all.
    pub fn admit(
        &mut self,
        limits: &RateLimits,
        demand: Demand,
        replied: Option<&ReplyMeter>,
        now: Instant,
    ) -> Result<(), TooFast> {
        let at = now - self.began;
        let bytes = demand.bytes as u64;
        let messages = limits.messages.filter(|_| demand.is_send);
        let replied = replied.filter(|_| demand.is_page);
        let lanes = [
            (&COMMANDS, limits.commands, &mut self.commands, 1),
            (&MESSAGES, messages, &mut self.messages, 1),
            (&INCOMING, limits.incoming_bytes, &mut self.incoming_bytes, bytes),
        ];
        let mut worst: Option<(&Limit, Duration)> = None;
        let mut is_worse = |limit, wait: Duration| {
            if !wait.is_zero() && worst.is_none_or(|(_, longest)| wait > longest) {
                worst = Some((limit, wait));
            }
        };
        for (limit, rate, lane, cost) in &lanes {
            is_worse(*limit, rate.map_or(Duration::ZERO, |rate| lane.bucket.wait(rate, *cost, at)));
        }
        is_worse(&REPLIES, replied.map_or(Duration::ZERO, |replied| replied.wait(now)));
        let Some((limit, mut wait)) = worst else {
            for (_, rate, lane, cost) in lanes {
                if let Some(rate) = rate {
                    lane.bucket.take(rate, cost, at);
                }
            }
            self.flood.admitted();
            return Ok(());
        };
        for (_, rate, lane, cost) in lanes {
            if let Some(rate) = rate {
                wait = wait.max(lane.promise(rate, cost, at));
            }
        }
        metrics::counter!("chatctl_rate_limited_total", "limit" => limit.name).increment(1);
        let error = ErrorBody::new(ErrorCode::RateLimited, limit.text);
        let retry_after_ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let close = self.flood.refused(at, limits.sustained).then_some(CloseCode::RATE);
        Err(TooFast { error: error.retry_after_ms(retry_after_ms), close })
    }

    /// Counts a control frame, which is answered or ignored but cannot be refused, as a command.
    pub fn control(&mut self, limits: &RateLimits, now: Instant) -> Option<CloseCode> {
        self.admit(limits, Demand::default(), None, now).err()?.close
    }
}

impl Lane {
    /// The wait of a command that is refused: zero if this lane has room for it, else a time of its own behind those that were
    /// refused before.
    fn promise(&mut self, rate: Rate, cost: u64, at: Duration) -> Duration {
        let exact = self.bucket.wait(rate, cost, at);
        if exact.is_zero() {
            return exact;
        }
        let full_at = self.bucket.full_at().max(at);
        let mut queue =
            Bucket::at(self.promised.full_at().clamp(full_at, full_at.saturating_add(QUEUE_MAX)));
        let wait = queue.wait(rate, cost, at);
        queue.take(rate, cost, at);
        self.promised = queue;
        wait
    }
}

/// How long a session has asked for much more than it gets.
#[derive(Debug, Clone, Copy, Default)]
struct Flood {
    /// Refusals that nothing has made good yet.
    unforgiven: u32,
    since: Duration,
    last: Duration,
}

impl Flood {
    fn admitted(&mut self) {
        self.unforgiven = self.unforgiven.saturating_sub(FORGIVEN);
    }

    /// Whether that was too long.
    fn refused(&mut self, at: Duration, sustained: Duration) -> bool {
        if self.unforgiven == 0 || at - self.last >= PAUSE {
            (self.unforgiven, self.since) = (0, at);
        }
        self.unforgiven = self.unforgiven.saturating_add(1);
        self.last = at;
        at - self.since >= sustained
    }
}

/// What was replied to a session, as a bucket that replies may overdraw: how large one is shows when it is made.
#[derive(Debug)]
pub struct ReplyMeter {
    rate: Option<Rate>,
    began: Instant,
    full_at_ns: AtomicU64,
}

impl ReplyMeter {
    /// A full bucket; `None`: no limit.
    pub fn new(rate: Option<Rate>) -> Self {
        Self { rate, began: Instant::now(), full_at_ns: AtomicU64::new(0) }
    }

    /// Takes a reply out of it.
    pub fn replied(&self, bytes: usize) {
        if self.rate.is_some() {
            self.charge_at(bytes, self.began.elapsed());
        }
    }

    fn charge_at(&self, bytes: usize, now: Duration) {
        let Some(rate) = self.rate else { return };
        let taken = |full_at_ns| {
            let mut bucket = Bucket::at(Duration::from_nanos(full_at_ns));
            bucket.take(rate, bytes as u64, now);
            u64::try_from(bucket.full_at().as_nanos()).ok()
        };
        // It cannot fail: a bucket counts nanoseconds in 64 bits.
        let _ = self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
    }

    /// How long it is overdrawn.
    fn wait(&self, now: Instant) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let full_at = Duration::from_nanos(self.full_at_ns.load(Ordering::Relaxed));
        Bucket::at(full_at).wait(rate, 0, now.saturating_duration_since(self.began))
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
