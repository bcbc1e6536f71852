//! A token as it travels: whoever shows it is let in, so it is never shown to people.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A token that somebody showed or is to show, as it is: not judged. Logs and errors have only its length.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Whatever this text is.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The token itself: for whoever checks it or sends it, never for people.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}
