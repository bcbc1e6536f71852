//! Where a run is: being filled, warming up, or measured.

use std::sync::OnceLock;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Shared by all pairs of a run.
#[derive(Debug)]
pub(super) struct Phase {
    /// A permit for each pair that is filled, or will not be.
    filled: Semaphore,
    may_talk: CancellationToken,
    measured_from: OnceLock<Instant>,
}

impl Phase {
    /// Nobody is filled, and nothing counts.
    pub(super) fn new() -> Self {
        let (filled, may_talk) = (Semaphore::new(0), CancellationToken::new());
        Self { filled, may_talk, measured_from: OnceLock::new() }
    }

    /// A pair is being filled, until what is returned is dropped, for whatever reason.
    pub(super) fn filling(&self) -> Filling<'_> {
        Filling(self)
    }

    /// Waits until so many pairs are.
    pub(super) async fn all_filled(&self, pairs: usize) {
        let pairs = u32::try_from(pairs).unwrap_or(u32::MAX);
        // Never closed.
        let _ = self.filled.acquire_many(pairs).await;
    }

    /// Lets pairs talk.
    pub(super) fn talk(&self) {
        self.may_talk.cancel();
    }

    /// Waits until they may.
    pub(super) async fn until_talk(&self) {
        self.may_talk.cancelled().await;
    }

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

/// See [`Phase::filling`].
pub(super) struct Filling<'a>(&'a Phase);

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.0.filled.add_permits(1);
    }
}
