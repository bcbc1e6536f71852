//! What a check found.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// A server would start, and somebody should know this.
    Warn,
    /// A server would not start, or would take no messages.
    Fail,
}

/// One line of the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at; scripts branch on it.
    pub(super) check: &'static str,
    /// What was found and, unless it is well, what to do.
    pub(super) message: String,
}

impl Finding {
    pub(super) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, message: message.into() }
    }

    pub(super) fn warn(check: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Warn, check, message: message.into() }
    }

    pub(super) fn fail(check: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Fail, check, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        };
        write!(f, "{level:<5} {:<12} {}", self.check, self.message)
    }
}
