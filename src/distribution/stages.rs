//! The stages of a delivery, each with its own times, so that a slow one can be named.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use metrics::Histogram;

/// A part of the way from a send to another client's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From taking the frame to being durable.
    Stored,
    /// From being durable to the bus's word that it has the hint.
    Told,
    /// From being durable to reaching another node, by the clocks of both: between machines it is as exact as they agree.
    Travelled,
    /// From being queued for a session to being in its socket, of the first frame of each write.
    Written,
}

impl Stage {
    /// Counts one time; `/metrics` shows `chatctl_delivery_stage_seconds` by stage.
    pub fn record(self, took: Duration) {
        const NAME: &str = "chatctl_delivery_stage_seconds";
        /// Looked up once, with the first message: whoever records is there from the start of the server.
        static HISTOGRAMS: OnceLock<[Histogram; 4]> = OnceLock::new();
        let histograms = HISTOGRAMS.get_or_init(|| {
            ["stored", "told", "travelled", "written"]
                .map(|stage| metrics::histogram!(NAME, "stage" => stage))
        });
        histograms[self as usize].record(took.as_secs_f64());
    }

    /// Counts the time since a stamp of some node; nothing where there is none.
    pub fn record_since(self, stamp_us: u64) {
        if stamp_us != 0 {
            self.record(Duration::from_micros(wall_clock_us().saturating_sub(stamp_us)));
        }
    }
}

/// Now, µs since 1970.
pub fn wall_clock_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
