//! The verdict of the checker, as it stands in a report.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::checker::verdict::{Outcome, Verdict as Judgement};

/// What the checker says of the history that was recorded during the run; all of it is in `verdict.json` beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Which of the three.
    pub outcome: Outcome,
    /// Broken promises by name, and how often each was.
    pub anomalies: BTreeMap<String, u64>,
    /// Why it is `unknown`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_because: Vec<String>,
    /// Operations that were judged.
    pub operations: u64,
    /// Pushes that were judged.
    pub pushes: u64,
    /// Different messages that somebody saw.
    pub messages: u64,
}

impl Check {
    /// The short form of a verdict.
    pub fn of(judgement: &Judgement) -> Self {
        let anomalies = judgement.anomalies.iter();
        Self {
            outcome: judgement.outcome,
            anomalies: anomalies.map(|broken| (broken.name.to_string(), broken.count)).collect(),
            unknown_because: judgement.unknown_because.clone(),
            operations: judgement.counts.operations,
            pushes: judgement.counts.pushes,
            messages: judgement.counts.messages,
        }
    }

    /// What it says of the run: whatever is not known to be valid is no pass.
    pub fn verdict(&self) -> Verdict {
        match self.outcome {
            Outcome::Valid => Verdict::Pass,
            Outcome::Unknown => Verdict::Incomplete,
            Outcome::Invalid => Verdict::Invalid,
        }
    }

    /// In one line.
    pub fn shown(&self) -> String {
        let Self { outcome, operations, pushes, messages, .. } = self;
        let seen =
            format!("{operations} operations, {pushes} pushes and {messages} messages judged");
        let named = |(name, count): (&String, &u64)| format!("{count} {name}");
        let mut why: Vec<String> = self.anomalies.iter().map(named).collect();
        why.extend(self.unknown_because.first().cloned());
        match why.is_empty() {
            true => format!("{outcome}; {seen}"),
            false => format!("{outcome}: {}; {seen}", why.join(", ")),
        }
    }
}
