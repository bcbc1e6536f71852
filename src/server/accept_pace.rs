//! How fast newcomers are let in.

use tokio::time::{Duration, Instant, sleep};

use crate::chat::{Bucket, Rate};

/// What may come at once after a pause, as a time in which it would have come one after the other.
const BURST: Duration = Duration::from_secs(1);

/// Paces the accepts of one listener: when everybody comes back at once, those that are here are still served, and the kernel keeps the others waiting
/// in its queue, where they cost nothing.
#[derive(Debug)]
pub(super) struct AcceptPace {
    rate: Option<Rate>,
    bucket: Bucket,
    began: Instant,
}

impl AcceptPace {
    /// So many in a second; `None`: as many as come.
    pub(super) fn new(per_s: Option<u64>) -> Self {
        Self { rate: Rate::new(per_s, BURST), bucket: Bucket::default(), began: Instant::now() }
    }

    /// Waits until the next may be accepted.
    pub(super) async fn ready(&self) {
        if let Some(rate) = self.rate {
            let wait = self.bucket.wait(rate, 1, self.began.elapsed());
            if !wait.is_zero() {
                sleep(wait).await;
            }
        }
    }

    /// One was accepted.
    pub(super) fn took(&mut self) {
        if let Some(rate) = self.rate {
            self.bucket.take(rate, 1, self.began.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seconds_for(pace: &mut AcceptPace, count: u32) -> f64 {
        let begun = Instant::now();
        for _ in 0..count {
            pace.ready().await;
            pace.took();
        }
        begun.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_a_storm_is_spread() {
        let mut pace = AcceptPace::new(Some(100));
        assert_eq!(seconds_for(&mut pace, 100).await, 0.0);
        let storm = seconds_for(&mut pace, 300).await;
        assert!((2.9..=3.4).contains(&storm), "{storm}");
        assert_eq!(seconds_for(&mut AcceptPace::new(None), 10_000).await, 0.0);
    }
}
