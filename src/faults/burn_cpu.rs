//! A server that is slower by a known amount.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::thread_cpu;
use crate::distribution::{Distribution, Hint, HintSink, StartError};
use crate::model::ConvId;

/// CPU time that is wasted on each appended message, at most a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BurnCpu {
    us: u32,
}

impl BurnCpu {
    /// The longest: beyond it, nothing is measured but this.
    const US_MAX: u32 = 1_000_000;

    /// `None` for nothing and for more than a second.
    pub fn new(us: u32) -> Option<Self> {
        (1..=Self::US_MAX).contains(&us).then_some(Self { us })
    }

    /// Wastes it, on this thread. Its own time, so that a machine that is busy elsewhere changes nothing.
    fn burn(self) {
        let end = thread_cpu() + Duration::from_micros(u64::from(self.us));
        while thread_cpu() < end {
            std::hint::spin_loop();
        }
    }
}

impl fmt::Display for BurnCpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.us)
    }
}

/// A bus around an honest one. Each appended message is published once, by the node that appended it.
pub struct BurningDistribution {
    bus: Arc<dyn Distribution>,
    burn: BurnCpu,
}

impl BurningDistribution {
    /// Burns before each message is told.
    pub fn new(bus: Arc<dyn Distribution>, burn: BurnCpu) -> Self {
        Self { bus, burn }
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
            self.burn.burn();
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
    fn a_burn_costs_what_it_says() {
        let before = thread_cpu();
        BurnCpu::new(3_000).unwrap().burn();
        let burnt = thread_cpu() - before;
        assert!((3_000..3_500).contains(&burnt.as_micros()), "{burnt:?}");
        assert_eq!((BurnCpu::new(0), BurnCpu::new(1_000_001)), (None, None));
    }
}
