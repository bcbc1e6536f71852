//! What an acknowledged message survives.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The durability class of an engine as found on the real service; ordered from weak to strong
/// within one node. `replicated+…` says that a quorum of nodes holds each message at that class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Durability {
    /// What one copy survives.
    pub level: Level,
    /// A quorum of nodes holds each message.
    pub replicated: bool,
}

/// What one copy of a message survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing: it is gone with our process.
    None,
    /// A kill of our server process.
    Process,
    /// Also a kill of the engine's process.
    Service,
    /// Also a power cut.
    Disk,
}

impl Durability {
    /// Gone with the process.
    pub const NONE: Self = Self { level: Level::None, replicated: false };
    /// Survives a kill of our server.
    pub const PROCESS: Self = Self { level: Level::Process, replicated: false };
    /// Survives a power cut.
    pub const DISK: Self = Self { level: Level::Disk, replicated: false };

    /// Whether this class keeps everything that `required` asks for.
    pub fn satisfies(self, required: Self) -> bool {
        self.level >= required.level && (self.replicated || !required.replicated)
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.replicated {
            f.write_str("replicated+")?;
        }
        f.write_str(match self.level {
            Level::None => "none",
            Level::Process => "process",
            Level::Service => "service",
            Level::Disk => "disk",
        })
    }
}

/// The text names no durability class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no durability class; use none, process, service or disk, or replicated+ before one"
)]
pub struct DurabilityParseError(String);

impl FromStr for Durability {
    type Err = DurabilityParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (replicated, level) = match text.strip_prefix("replicated+") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let level = match level {
            "none" => Level::None,
            "process" => Level::Process,
            "service" => Level::Service,
            "disk" => Level::Disk,
            _ => return Err(DurabilityParseError(text.to_owned())),
        };
        Ok(Self { level, replicated })
    }
}

impl JsonSchema for Durability {
    fn schema_name() -> Cow<'static, str> {
        "Durability".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let levels = [Level::None, Level::Process, Level::Service, Level::Disk];
        let classes = [false, true]
            .map(|replicated| levels.map(|level| Self { level, replicated }.to_string()));
        json_schema!({
            "type": "string",
            "description": "What an acknowledged message survives: nothing, a kill of our server, a kill of the engine's process too, a power cut too; `replicated+`: a quorum of nodes holds it.",
            "enum": classes.concat(),
        })
    }
}

impl From<Durability> for String {
    fn from(durability: Durability) -> Self {
        durability.to_string()
    }
}

impl TryFrom<String> for Durability {
    type Error = DurabilityParseError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_compare_by_level_and_replication() {
        let class = |text: &str| text.parse::<Durability>().unwrap();
        assert!(Durability::DISK.satisfies(class("process")));
        assert!(!class("service").satisfies(class("disk")));
        assert!(!Durability::DISK.satisfies(class("replicated+service")));
        assert!(class("replicated+service").satisfies(class("service")));
        assert_eq!(class("replicated+disk").to_string(), "replicated+disk");
        assert!("replicated".parse::<Durability>().is_err());
    }
}
