//! Why a bench could not run.

use std::io;
use std::path::PathBuf;

use super::report::StoredRunError;
use crate::client::ClientError;
use crate::harness::HarnessError;

/// Why a bench could not run, or could not keep its results.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// An option is wrong; the text names the flag.
    #[error("{0}")]
    Usage(String),
    /// A server, a client or the result folder failed.
    #[error(transparent)]
    Harness(#[from] HarnessError),
    /// The system's limits are too low for the asked number of clients.
    #[error("{0}")]
    Limits(String),
    /// The thread that makes the load cannot be started.
    #[error("the thread of the load cannot be started: {0}; raise the limit on threads")]
    Thread(std::io::Error),
    /// A figure that the bench is about cannot be read.
    #[error("{0}")]
    Unmeasurable(String),
    /// A run that was kept cannot be shown.
    #[error(transparent)]
    Stored(#[from] StoredRunError),
    /// A page cannot be written.
    #[error("cannot write the page {}: {source}; choose another file with --out", .path.display())]
    Page {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BenchError {
    /// A client's error with what the client was doing.
    pub fn client(what: impl Into<String>) -> impl FnOnce(ClientError) -> Self {
        let client = HarnessError::client(what);
        |source| Self::Harness(client(source))
    }
}
