//! Which parts a node reads that reads only what is open on it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::distribution::parts::part_of;
use crate::model::ConvId;

/// A part is read for this long after the last of its conversations was closed: people come back.
const KEPT: Duration = Duration::from_secs(60);

/// Counts what is open in each part.
#[derive(Debug)]
pub struct Interest {
    partitions: u32,
    /// Read whether anything is open in it or not.
    always: u32,
    parts: Mutex<HashMap<u32, Part>>,
    wake: Notify,
}

#[derive(Debug)]
struct Part {
    open: usize,
    /// When the last one was closed.
    idle_since: Instant,
}

impl Interest {
    /// Nothing but `always`, yet.
    pub fn new(partitions: u32, always: u32) -> Self {
        Self { partitions, always, parts: Mutex::default(), wake: Notify::new() }
    }

    fn parts(&self) -> MutexGuard<'_, HashMap<u32, Part>> {
        // No code under this lock can panic half-way through a change.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A conversation was opened here.
    pub fn opened(&self, conv: ConvId) {
        let mut parts = self.parts();
        let part = part_of(conv, self.partitions);
        let found = parts.entry(part).or_insert_with(|| {
            self.wake.notify_one();
            Part { open: 0, idle_since: Instant::now() }
        });
        found.open += 1;
    }

    /// It was closed again.
    pub fn closed(&self, conv: ConvId) {
        let mut parts = self.parts();
        if let Some(found) = parts.get_mut(&part_of(conv, self.partitions)) {
            found.open = found.open.saturating_sub(1);
            found.idle_since = Instant::now();
        }
    }

    /// The parts to be read now; what was idle for long is not among them any more.
    pub fn wanted(&self, now: Instant) -> BTreeSet<u32> {
        let mut parts = self.parts();
        parts.retain(|_, part| {
            part.open > 0 || now.saturating_duration_since(part.idle_since) < KEPT
        });
        parts.keys().copied().chain([self.always]).collect()
    }

    /// Waits until a part is opened that was not wanted.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelName, Place};

    #[tokio::test]
    async fn a_part_is_wanted_while_something_is_open_and_a_minute_longer() {
        let interest = Interest::new(1 << 20, 0);
        let convs =
            ["a", "b"].map(|name| Place::Channel(ChannelName::new(name).unwrap()).conv_id());
        let part = part_of(convs[0], 1 << 20);
        let now = Instant::now();
        assert_eq!(interest.wanted(now), [0].into());
        interest.opened(convs[0]);
        interest.opened(convs[0]);
        interest.changed().await;
        interest.closed(convs[0]);
        let hour = now + Duration::from_secs(3_600);
        assert_eq!(interest.wanted(hour), [0, part].into(), "one is open");
        interest.closed(convs[0]);
        interest.closed(convs[1]);
        assert_eq!(interest.wanted(Instant::now()), [0, part].into());
        assert_eq!(interest.wanted(Instant::now() + KEPT), [0].into());
        interest.opened(convs[0]);
        assert_eq!(interest.wanted(hour), [0, part].into());
    }
}
