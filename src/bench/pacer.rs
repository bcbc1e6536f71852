//! When the next chunk of messages of a closed loop is meant to start.

use std::time::{Duration, Instant};

/// The next piece starts when the one before is complete: "the most it can do". A stall slows the
/// load down with the server, so the latencies are those of this load only, and reports say so.
#[derive(Debug)]
pub struct ClosedLoop {
    until: Until,
}

/// When a closed loop ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After so many pieces.
    Pieces(u64),
    /// No piece starts after this time.
    Time(Instant),
}

impl ClosedLoop {
    /// A loop that ends with `pieces`.
    pub fn pieces(pieces: u64) -> Self {
        Self { until: Until::Pieces(pieces) }
    }

    /// A loop that starts nothing later than `duration` after `start`.
    pub fn duration(start: Instant, duration: Duration) -> Self {
        Self { until: Until::Time(start + duration) }
    }

    /// The intended start of the next piece of work, or `None` when there is no more to do.
    /// `now` is when the previous piece was complete.
    pub fn next_start(&mut self, now: Instant) -> Option<Instant> {
        match &mut self.until {
            Until::Pieces(0) => None,
            Until::Pieces(left) => {
                *left -= 1;
                Some(now)
            }
            Until::Time(end) => (now < *end).then_some(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_loop_starts_at_once_and_ends_as_asked() {
        let now = Instant::now();
        let mut counted = ClosedLoop::pieces(2);
        let starts: Vec<_> = (0..3).map(|_| counted.next_start(now)).collect();
        assert_eq!(starts, [Some(now), Some(now), None]);
        let mut timed = ClosedLoop::duration(now, Duration::from_secs(1));
        assert_eq!(timed.next_start(now), Some(now));
        assert_eq!(timed.next_start(now + Duration::from_secs(1)), None);
    }
}
