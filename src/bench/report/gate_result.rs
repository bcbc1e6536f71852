//! What a performance gate said about a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a gate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateOutcome {
    /// The measured value keeps the bound.
    Passed,
    /// It does not.
    Failed,
    /// Nobody can tell: the value is not there, comes from too few samples, or the run is void.
    Inconclusive,
}

impl GateOutcome {
    /// The worse of two.
    pub fn or(self, other: Self) -> Self {
        let badness = |outcome| match outcome {
            Self::Passed => 0,
            Self::Inconclusive => 1,
            Self::Failed => 2,
        };
        if badness(other) > badness(self) { other } else { self }
    }

    /// As in `report.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// What the numbers of a gate are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateUnit {
    /// A latency, µs.
    Us,
    /// A part of the run, s.
    S,
    /// A share, %.
    Percent,
    /// A number; what it counts is in its name.
    Number,
}

/// One gate, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateResult {
    /// As it was written.
    pub expression: String,
    /// How it ended.
    pub outcome: GateOutcome,
    /// What was measured, in `unit`; absent where there is nothing to compare.
    pub measured: Option<f64>,
    /// What it was compared with, in `unit`.
    pub limit: f64,
    /// Of both numbers.
    pub unit: GateUnit,
    /// Why it is inconclusive; absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl GateResult {
    /// The measured value for people, precise enough to tell it from the limit.
    pub fn measured_text(&self) -> String {
        self.measured.map_or_else(|| "-".to_owned(), |value| shown(value, self.unit))
    }

    /// The limit for people.
    pub fn limit_text(&self) -> String {
        shown(self.limit, self.unit)
    }
}

fn shown(value: f64, unit: GateUnit) -> String {
    match unit {
        // Latencies are known to a tenth of a µs.
        GateUnit::Us if value < 1_000.0 => format!("{} us", trimmed(value, 1)),
        GateUnit::Us if value < 1_000_000.0 => format!("{} ms", trimmed(value / 1_000.0, 4)),
        GateUnit::Us => format!("{} s", trimmed(value / 1_000_000.0, 7)),
        GateUnit::S => format!("{} s", trimmed(value, 6)),
        GateUnit::Percent => format!("{} %", trimmed(value, 6)),
        GateUnit::Number => trimmed(value, 6),
    }
}

/// With at most this many decimals, and no zeros at their end.
fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(99.9, GateUnit::Us, "99.9 us")]
    #[case(20_000.0, GateUnit::Us, "20 ms")]
    #[case(20_000.1, GateUnit::Us, "20.0001 ms")]
    #[case(1_500_000.0, GateUnit::Us, "1.5 s")]
    #[case(90.0, GateUnit::S, "90 s")]
    #[case(0.1, GateUnit::Percent, "0.1 %")]
    #[case(5_000.04, GateUnit::Number, "5000.04")]
    #[case(1_000.0, GateUnit::Number, "1000")]
    fn a_value_is_not_shown_as_its_limit(
        #[case] value: f64,
        #[case] unit: GateUnit,
        #[case] text: &str,
    ) {
        assert_eq!(shown(value, unit), text);
    }
}
