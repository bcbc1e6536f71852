//! What a run was made with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was measured with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Versions {
    /// Of this package.
    pub chatctl: String,
    /// The commit that it was built from; `-dirty` when the sources had changed.
    pub git_revision: String,
    /// The compiler.
    pub rustc: String,
    /// `release` or `debug`; figures of the latter mean nothing.
    pub profile: String,
}

impl Versions {
    /// Those of this binary.
    pub fn of_this_binary() -> Self {
        Self {
            chatctl: env!("CARGO_PKG_VERSION").to_owned(),
            git_revision: env!("CHATCTL_GIT_REVISION").to_owned(),
            rustc: env!("CHATCTL_RUSTC_VERSION").to_owned(),
            profile: env!("CHATCTL_PROFILE").to_owned(),
        }
    }
}
