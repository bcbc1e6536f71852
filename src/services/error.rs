//! Why a service cannot be had.

use std::io;
use std::path::PathBuf;

use super::ServiceKind;

/// Each text says what, where, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A program is not on this machine.
    #[error("{program} is needed for {service} and is not installed; {advice}")]
    Missing {
        /// The program.
        program: &'static str,
        /// For what.
        service: ServiceKind,
        /// How to get it.
        advice: String,
    },
    /// What is to be downloaded could not be.
    #[error(
        "{what} could not be resolved: {reason}; check the network or its mirror settings, then run it again"
    )]
    Unresolved {
        /// The artifact, with its version.
        what: String,
        /// The last lines of the tool that tried.
        reason: String,
    },
    /// A file or folder cannot be used.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder is not ours to use.
    #[error("{path} holds something that chatctl init-env did not make; choose another --dir", path = path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// A process could not be started, ended by itself or does not get ready.
    #[error("{service} at {address}: {reason}{log}", log = shown(.log_tail))]
    Process {
        /// Which.
        service: ServiceKind,
        /// Where it was to answer.
        address: String,
        /// What happened.
        reason: String,
        /// The end of its log.
        log_tail: Vec<String>,
    },
    /// It answers, and not as it must; or it does not answer.
    #[error("{service} at {address}: {reason}")]
    Unhealthy {
        /// Which.
        service: ServiceKind,
        /// Where.
        address: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(String),
}

impl ServiceError {
    /// For `map_err` on an I/O error.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// For `map_err` on whatever a client of the service says.
    pub fn unhealthy<E: std::fmt::Display>(
        service: ServiceKind,
        address: &str,
    ) -> impl FnOnce(E) -> Self {
        let address = address.to_owned();
        move |error| Self::Unhealthy { service, address, reason: error.to_string() }
    }
}

fn shown(log_tail: &[String]) -> String {
    log_tail.iter().map(|line| format!("\n    {line}")).collect()
}
