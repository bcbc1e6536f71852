//! A server that is slower by a known amount.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::thread_cpu;
use crate::distribution::{Distribution, Hint, HintSink, StartError};
use crate::model::ConvId;

/// CPU time that is wasted on each appended message, 1 ns to 1 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BurnCpu {
    ns: u32,
}

/// Rounds that one calibration takes, some milliseconds.
const CALIBRATION_ROUNDS: u64 = 1_000_000;
/// The fastest of so many calibrations is that of an undisturbed core.
const CALIBRATIONS: usize = 5;

impl BurnCpu {
    /// In µs, with fractions; `None` for nothing and for more than a second.
    pub fn from_us(us: f64) -> Option<Self> {
        let ns = (us * 1_000.0).round();
        (1.0..=1e9).contains(&ns).then_some(Self { ns: ns as u32 })
    }

    /// Rounds of work that take this long here. Work and not a time on the clock: it grows and shrinks with the speed of
    /// the cores, as the server's own work does, and asking for the CPU time of a thread takes a µs itself.
    fn rounds(self) -> u64 {
        let fastest = (0..CALIBRATIONS).map(|_| {
            let before = thread_cpu();
            work(CALIBRATION_ROUNDS);
            thread_cpu().saturating_sub(before)
        });
        let fastest_ns = fastest.min().unwrap_or_default().as_nanos().max(1) as f64;
        (f64::from(self.ns) * CALIBRATION_ROUNDS as f64 / fastest_ns) as u64
    }
}

fn work(rounds: u64) {
    let mut state = 1_u64;
    for _ in 0..rounds {
        // A linear congruential generator (Knuth's MMIX): each round waits for the one before.
        state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

impl fmt::Display for BurnCpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", f64::from(self.ns) / 1_000.0)
    }
}

/// A bus around an honest one. Each appended message is published once, by the node that appended it.
pub struct BurningDistribution {
    bus: Arc<dyn Distribution>,
    rounds: u64,
}

impl BurningDistribution {
    /// Burns before each message is told.
    pub fn new(bus: Arc<dyn Distribution>, burn: BurnCpu) -> Self {
        Self { bus, rounds: burn.rounds() }
    }
}

#[async_trait]
impl Distribution for BurningDistribution {
    fn name(&self) -> &'static str {
        self.bus.name()
    }

    async fn start(&self, sink: Arc<dyn HintSink>) -> Result<(), StartError> {
        self.bus.start(sink).await
    }

    fn publish(&self, hint: Hint) {
        if matches!(hint, Hint::Message(_)) {
            work(self.rounds);
        }
        self.bus.publish(hint);
    }

    fn opened(&self, conv: ConvId) {
        self.bus.opened(conv);
    }

    fn closed(&self, conv: ConvId) {
        self.bus.closed(conv);
    }

    async fn close(&self) {
        self.bus.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burn_costs_about_what_it_says() {
        let burn = BurnCpu::from_us(2_000.0).unwrap();
        let rounds = burn.rounds();
        let before = thread_cpu();
        work(rounds);
        let burnt = thread_cpu() - before;
        // A core that is busy with its other thread is slower than the fastest calibration.
        assert!((1_500..10_000).contains(&burnt.as_micros()), "{burnt:?}");
    }

    #[test]
    fn a_burn_is_more_than_nothing_and_at_most_a_second() {
        assert_eq!(BurnCpu::from_us(2.5).unwrap().to_string(), "2.5");
        for wrong in [0.0, -1.0, 1_000_001.0, f64::NAN, f64::INFINITY] {
            assert_eq!(BurnCpu::from_us(wrong), None, "{wrong}");
        }
    }
}
