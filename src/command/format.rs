//! What stands on stdout: text for people or JSON for programs. Logs and progress are on stderr either way.

use clap::{Args, ValueEnum};

/// What is asked for.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct FormatArgs {
    /// What stands on stdout; logs and progress go to stderr either way
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The summary, for people
    Text,
    /// The whole result as JSON
    Json,
}

impl FormatArgs {
    /// Whether it is JSON.
    pub(super) fn is_json(self) -> bool {
        self.json || self.format == Format::Json
    }
}
