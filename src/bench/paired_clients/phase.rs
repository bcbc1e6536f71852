//! Where a run is: warming up, or measured.

use std::sync::OnceLock;
use std::time::Instant;

/// Shared by all pairs of a run.
#[derive(Debug, Default)]
pub(super) struct Phase {
    measured_from: OnceLock<Instant>,
}

impl Phase {
    /// From `from` on, what is done counts.
    pub(super) fn measure(&self, from: Instant) {
        // A run is measured once.
        let _ = self.measured_from.set(from);
    }

    /// When that is; `None`: the run warms up.
    pub(super) fn measured_from(&self) -> Option<Instant> {
        self.measured_from.get().copied()
    }
}
