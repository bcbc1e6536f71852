//! Why a configuration is refused.

use std::path::PathBuf;

use super::{Kind, Source, Variable};
use crate::nearest::did_you_mean;

/// A value that cannot be used. Each text names the variable, where the value came from, the value
/// (unless it is secret) and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The value is none that the variable takes.
    #[error("{key}{value} from {source_name} is not allowed; use {allowed}")]
    Invalid {
        /// The variable.
        key: &'static str,
        /// `="…"`, or nothing for a secret.
        value: String,
        /// Where it was set.
        source_name: String,
        /// What would do.
        allowed: String,
    },
    /// The value is not UTF-8.
    #[error("{key} in the environment is not UTF-8; set it to text")]
    NotUtf8 {
        /// The variable.
        key: String,
    },
    /// Values that are good by themselves and not beside each other. The text names the variables and says what to do.
    #[error("{0}")]
    Together(String),
    /// `.env` is there and cannot be read. The line is not shown: it may hold a secret.
    #[error("{path} cannot be read: {reason}; correct it or take it away", path = path.display())]
    Dotenv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `.env` cannot be written.
    #[error("{path} cannot be written: {reason}; make its folder writable, or use --print and write it yourself", path = path.display())]
    DotenvUnwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl ConfigError {
    pub(super) fn together(text: String) -> Self {
        Self::Together(text)
    }

    pub(super) fn invalid(variable: &Variable, value: &str, source: Source) -> Self {
        Self::Invalid {
            key: variable.key,
            value: shown(variable, value),
            source_name: source.describe(variable),
            allowed: variable.kind.allowed() + &meant(variable, value),
        }
    }
}

/// What a word most likely means.
fn meant(variable: &Variable, value: &str) -> String {
    match variable.kind {
        Kind::Choice(words) => did_you_mean(value, words.iter().copied()),
        Kind::Number { .. } | Kind::Address | Kind::Text { .. } => String::new(),
    }
}

fn shown(variable: &Variable, value: &str) -> String {
    if variable.secret { String::new() } else { format!("={value:?}") }
}
