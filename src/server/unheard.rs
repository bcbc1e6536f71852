//! The HTTP connections of a listener, which make room for newcomers.

use std::collections::VecDeque;

use tokio::task::AbortHandle;

/// Entries of connections that have ended, before they are looked for.
const ENDED_MAX: usize = 1_024;

/// Connections that were not upgraded yet, in the order in which they came.
///
/// An honest client says what it wants within milliseconds. So where all places are taken it is the oldest that gives way: whoever holds places by saying nothing, or by
/// saying it slowly, loses them first, and every newcomer is heard.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    connections: VecDeque<AbortHandle>,
}

impl Unheard {
    /// One more.
    pub(super) fn add(&mut self, connection: AbortHandle, open: usize) {
        self.connections.push_back(connection);
        if self.connections.len() > 2 * open + ENDED_MAX {
            self.connections.retain(|connection| !connection.is_finished());
        }
    }

    /// Ends the oldest that is still there; `false`: there is none.
    pub(super) fn end_oldest(&mut self) -> bool {
        while let Some(oldest) = self.connections.pop_front() {
            if !oldest.is_finished() {
                oldest.abort();
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_goes_first_and_the_ended_are_forgotten() {
        let mut unheard = Unheard::default();
        let mut tasks = Vec::new();
        for _ in 0..3 {
            let task = tokio::spawn(std::future::pending::<()>());
            unheard.add(task.abort_handle(), 3);
            tasks.push(task);
        }
        tasks[0].abort();
        assert!((&mut tasks[0]).await.unwrap_err().is_cancelled());
        assert!(unheard.end_oldest());
        assert!((&mut tasks[1]).await.unwrap_err().is_cancelled());
        assert!(!tasks[2].is_finished());
        for _ in 0..2 * ENDED_MAX {
            let task = tokio::spawn(async {});
            let handle = task.abort_handle();
            task.await.unwrap();
            unheard.add(handle, 1);
        }
        assert!(unheard.connections.len() <= ENDED_MAX + 2);
        assert!(unheard.end_oldest() && !unheard.end_oldest());
    }
}
