//! How much may come in a second: a token bucket in one number.

use std::time::Duration;

use crate::model::OperatorLimits;

/// So much in a second on average, and what may come at once beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: u64,
    /// Time in which a full bucket fills.
    burst: Duration,
}

impl Rate {
    /// `None`: no limit.
    pub fn new(per_second: Option<u64>, burst: Duration) -> Option<Self> {
        let per_second = per_second.filter(|&per_second| per_second > 0)?;
        Some(Self { per_second, burst })
    }

    /// Time in which as much as `cost` flows in.
    fn time(&self, cost: u64) -> Duration {
        let nanos = u128::from(cost) * 1_000_000_000 / u128::from(self.per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The rates of a session; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Commands.
    pub commands: Option<Rate>,
    /// Sends; they count as commands, too.
    pub messages: Option<Rate>,
    /// Bytes of commands.
    pub incoming_bytes: Option<Rate>,
    /// Bytes of replies.
    pub reply_bytes: Option<Rate>,
    /// Too fast for this long ends the session.
    pub sustained: Duration,
}

impl From<&OperatorLimits> for RateLimits {
    fn from(limits: &OperatorLimits) -> Self {
        let burst = Duration::from_millis(limits.rate_burst_ms.unwrap_or_default());
        let rate = |per_second| Rate::new(per_second, burst);
        Self {
            commands: rate(limits.commands_per_s_max),
            messages: rate(limits.messages_per_s_max),
            incoming_bytes: rate(limits.incoming_bytes_per_s_max),
            reply_bytes: rate(limits.reply_bytes_per_s_max),
            sustained: limits.rate_sustained_ms.map_or(Duration::MAX, Duration::from_millis),
        }
    }
}

/// A token bucket, kept as the moment at which it is full again (the *theoretical arrival time* of the GCRA, ITU-T I.371): 8
/// bytes, no timer, and the time to wait falls out of it. Times count from any fixed moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at_ns: u64,
}

impl Bucket {
    /// One that is full at this time.
    pub fn at(full_at: Duration) -> Self {
        Self { full_at_ns: nanos(full_at) }
    }

    /// When it is full again.
    pub fn full_at(self) -> Duration {
        Duration::from_nanos(self.full_at_ns)
    }

    /// How long `cost` must still wait; zero: it may be taken now. What is larger than the bucket waits until it is full.
    pub fn wait(self, rate: Rate, cost: u64, now: Duration) -> Duration {
        let cost = rate.time(cost);
        let full_at = self.full_at().max(now).saturating_add(cost);
        full_at.saturating_sub(now.saturating_add(rate.burst.max(cost)))
    }

    /// Takes `cost` out, whatever is in it.
    pub fn take(&mut self, rate: Rate, cost: u64, now: Duration) {
        *self = Self::at(self.full_at().max(now).saturating_add(rate.time(cost)));
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rate(per_second: u64, burst_ms: u64) -> Rate {
        Rate::new(Some(per_second), Duration::from_millis(burst_ms)).unwrap()
    }

    #[test]
    fn none_and_zero_are_no_limit() {
        assert_eq!(Rate::new(None, MS), None);
        assert_eq!(Rate::new(Some(0), MS), None);
    }

    #[test]
    fn what_was_taken_flows_back() {
        let (rate, mut bucket) = (rate(100, 50), Bucket::default());
        for taken in 0..5 {
            assert_eq!(bucket.wait(rate, 1, Duration::ZERO), Duration::ZERO, "{taken}");
            bucket.take(rate, 1, Duration::ZERO);
        }
        assert_eq!(bucket.wait(rate, 1, Duration::ZERO), 10 * MS);
        assert_eq!(bucket.wait(rate, 1, 9 * MS), MS);
        assert_eq!(bucket.wait(rate, 1, 10 * MS), Duration::ZERO);
        assert_eq!(bucket.wait(rate, 5, 49 * MS), MS);
        assert_eq!(bucket.wait(rate, 5, 50 * MS), Duration::ZERO);
        // It holds no more than its burst, however long nothing came.
        let late = 1_000_000 * MS;
        assert_eq!(bucket.wait(rate, 5, late), Duration::ZERO);
        bucket.take(rate, 5, late);
        assert_eq!(bucket.wait(rate, 1, late), 10 * MS);
    }

    #[test]
    fn what_is_larger_than_the_bucket_waits_until_it_is_full() {
        let (rate, mut bucket) = (rate(10, 200), Bucket::default());
        assert_eq!(bucket.wait(rate, 100, Duration::ZERO), Duration::ZERO);
        bucket.take(rate, 1, Duration::ZERO);
        assert_eq!(bucket.wait(rate, 100, Duration::ZERO), 100 * MS);
        assert_eq!(bucket.wait(rate, 100, 100 * MS), Duration::ZERO);
    }

    proptest! {
        /// Against the plain model: a level that flows back, in whole units of a nanosecond's share.
        #[test]
        fn it_is_a_token_bucket(
            per_second in 1..2_000u64,
            burst_ms in 1..3_000u64,
            asked in prop::collection::vec((0..2_000_000_000u64, 1..50u64), 1..60),
        ) {
            let rate = rate(per_second, burst_ms);
            let mut bucket = Bucket::default();
            let capacity = u128::from(burst_ms) * 1_000_000;
            let (mut level, mut now, mut last) = (capacity, 0u64, 0u64);
            for (after, cost) in asked {
                now += after;
                level = (level + u128::from(now - last)).min(capacity);
                last = now;
                let need = rate.time(cost).as_nanos();
                let is_let_in = level >= need.min(capacity);
                let at = Duration::from_nanos(now);
                let wait = bucket.wait(rate, cost, at);
                prop_assert_eq!(wait.is_zero(), is_let_in);
                // Exact: then it is let in, a nanosecond earlier it is not.
                prop_assert!(bucket.wait(rate, cost, at + wait).is_zero());
                if !wait.is_zero() {
                    let early = at + wait - Duration::from_nanos(1);
                    prop_assert!(!bucket.wait(rate, cost, early).is_zero());
                }
                if is_let_in && need <= capacity {
                    level -= need;
                    bucket.take(rate, cost, at);
                }
            }
        }
    }
}
