//! Why a run could not begin or be kept.

use std::io;
use std::path::PathBuf;

use crate::client::ClientError;

/// Why a run could not begin, or its results could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// An option is wrong; the text names the flag.
    #[error("{0}")]
    Usage(String),
    /// A client could not connect or open its conversation.
    #[error("{what}: {source}")]
    Client {
        /// Which client wanted what.
        what: String,
        /// Why not.
        source: ClientError,
    },
    /// The server that the harness starts itself did not get ready.
    #[error("{program} serve did not get ready: {reason}{}", shown_log(.log_tail))]
    Server {
        /// The binary.
        program: PathBuf,
        /// What happened.
        reason: String,
        /// The last lines of its log.
        log_tail: Vec<String>,
    },
    /// Something that was broken on purpose could not be broken, or not be made whole again.
    #[error("the nemesis cannot go on: {0}")]
    Nemesis(String),
    /// A result folder cannot be made or written.
    #[error("cannot write results to {}: {source}; choose another folder with --out", .path.display())]
    Output {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A temporary folder for the server's data cannot be made.
    #[error("cannot make the server's data folder {}: {source}; TMPDIR decides where it is", .path.display())]
    DataFolder {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl HarnessError {
    /// A client's error with what the client was doing.
    pub fn client(what: impl Into<String>) -> impl FnOnce(ClientError) -> Self {
        let what = what.into();
        |source| Self::Client { what, source }
    }
}

fn shown_log(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("; its log ends with:\n  {}", lines.join("\n  "))
}
