//! What the checker says of a history, for machines and for people.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Anomaly;

/// Version of the report's form.
pub const SCHEMA_VERSION: u32 = 1;

/// The three verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every promise was kept, and there was something to judge.
    Valid,
    /// Nothing was broken as far as can be seen, but not enough can be seen.
    Unknown,
    /// A promise was broken.
    Invalid,
}

/// A judged history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Which of the three.
    pub outcome: Outcome,
    /// Why it is `unknown`; also beside `invalid`, where a part could not be judged.
    pub unknown_because: Vec<String>,
    /// How much was judged.
    pub counts: Counts,
    /// Messages that a new epoch declared lost, at a class that allows it.
    pub declared_loss: u64,
    /// What was broken, in the order of the definitions.
    pub anomalies: Vec<Broken>,
}

/// How much a history holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Lines.
    pub events: u64,
    /// Operations that began.
    pub operations: u64,
    /// Conversations.
    pub conversations: u64,
    /// Sends answered ok.
    pub sends_ok: u64,
    /// Sends that certainly did not happen.
    pub sends_failed: u64,
    /// Sends of which nobody knows.
    pub sends_unknown: u64,
    /// Reads and opens answered ok.
    pub reads_ok: u64,
    /// Pushed messages.
    pub pushes: u64,
    /// Different stored messages that somebody saw.
    pub messages: u64,
}

impl Counts {
    /// Adds what another part of the history holds.
    pub fn add(&mut self, other: &Self) {
        let Self { events, operations, conversations, sends_ok, sends_failed, .. } = other;
        let Self { sends_unknown, reads_ok, pushes, messages, .. } = other;
        self.events += events;
        self.operations += operations;
        self.conversations += conversations;
        self.sends_ok += sends_ok;
        self.sends_failed += sends_failed;
        self.sends_unknown += sends_unknown;
        self.reads_ok += reads_ok;
        self.pushes += pushes;
        self.messages += messages;
    }
}

/// All cases of one broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Which.
    pub name: Anomaly,
    /// How many cases.
    pub count: u64,
    /// The first few.
    pub examples: Vec<Example>,
}

/// One case, with the lines that prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The conversation.
    pub conv: String,
    /// Who, where, which numbers.
    pub what: String,
    /// The lines of the history.
    pub lines: Vec<ExcerptLine>,
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcerptLine {
    /// Its index.
    pub index: u64,
    /// The line, shortened.
    pub text: String,
}

impl Verdict {
    /// The verdict on a part of a history: what is broken in it is broken; that nothing is says little.
    pub fn at_most_unknown(mut self, shortfalls: Vec<String>) -> Self {
        if !shortfalls.is_empty() && self.outcome == Outcome::Valid {
            self.outcome = Outcome::Unknown;
        }
        self.unknown_because.extend(shortfalls);
        self
    }

    /// Whether `name` was found.
    pub fn has(&self, name: Anomaly) -> bool {
        self.anomalies.iter().any(|broken| broken.name == name)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
        })
    }
}

/// The short text for people: the verdict, what it rests on, and each anomaly once.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        writeln!(f, "{}", self.outcome)?;
        writeln!(
            f,
            "  {} operations in {} conversations: sends {} ok, {} failed, {} unknown; {} reads, {} pushes; {} messages",
            counts.operations,
            counts.conversations,
            counts.sends_ok,
            counts.sends_failed,
            counts.sends_unknown,
            counts.reads_ok,
            counts.pushes,
            counts.messages,
        )?;
        if self.declared_loss > 0 {
            writeln!(f, "  declared-loss: {} messages, by a new epoch", self.declared_loss)?;
        }
        for reason in &self.unknown_because {
            writeln!(f, "  not judged: {reason}")?;
        }
        for broken in &self.anomalies {
            let Some(example) = broken.examples.first() else { continue };
            writeln!(f, "\n{}: {} (in {})", broken.name, example.what, example.conv)?;
            for line in &example.lines {
                writeln!(f, "  line {}: {}", line.index, line.text)?;
            }
            if broken.count > 1 {
                writeln!(f, "  and {} more", broken.count - 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::judge;

    #[test]
    fn a_shortfall_takes_valid_to_unknown_and_leaves_invalid() {
        let verdict = |outcome| Verdict { outcome, ..judge(&[]) };
        let short = || vec!["stopped".to_owned()];
        let outcome = |from, short| verdict(from).at_most_unknown(short).outcome;
        assert_eq!(outcome(Outcome::Valid, vec![]), Outcome::Valid);
        assert_eq!(outcome(Outcome::Valid, short()), Outcome::Unknown);
        assert_eq!(outcome(Outcome::Invalid, short()), Outcome::Invalid);
    }
}
