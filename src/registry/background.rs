//! The task behind a registry or a lease: told to say goodbye, ended by force when it does not, and with its owner.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How long a goodbye may take.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// Work that goes on until its owner closes or drops it.
pub struct Background {
    tasks: TaskTracker,
    /// Ends the work once everything is told.
    closing: CancellationToken,
    /// Ends the work where nobody calls `close`.
    stop: CancellationToken,
    _guard: DropGuard,
}

impl Default for Background {
    fn default() -> Self {
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        Self { tasks, closing, stop, _guard: guard }
    }
}

impl Background {
    /// Begins work that is handed what tells it to say goodbye. Boxed: it holds a whole connection.
    pub fn spawn<F>(&self, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, work) = (self.stop.clone(), Box::pin(work(self.closing.clone())));
        self.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }

    /// Lets the work say goodbye, for no longer than two seconds, and waits until it has ended.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        if timeout(CLOSE_TIME, self.tasks.wait()).await.is_err() {
            self.stop.cancel();
            self.tasks.wait().await;
        }
    }

    /// Ends the work as a kill would.
    #[cfg(test)]
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }
}
