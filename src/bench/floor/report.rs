//! The table, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::figure::{Figure, Goal};
use crate::harness::{Host, Versions};

/// Version of `floor.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// All that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FloorReport {
    /// Of this file.
    pub schema_version: u32,
    /// The command line, secrets left out.
    pub command: String,
    /// RFC 3339.
    pub started_at: String,
    /// What it was made with.
    pub versions: Versions,
    /// The machine.
    pub host: Host,
    /// Times that each figure was measured.
    pub rounds: usize,
    /// How long each step of a round was, ms.
    pub slice_ms: u64,
    /// Stopped with Ctrl-C.
    pub aborted: bool,
    /// What was found.
    pub figures: Vec<Figure>,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
}

impl FloorReport {
    /// Figures of which nothing is known, although something is asked of them.
    pub fn unknown(&self) -> usize {
        self.figures.iter().filter(|of| of.goal.is_some() && of.is_met().is_none()).count()
    }

    /// Figures that are not as they should be.
    pub fn missed(&self) -> usize {
        self.figures.iter().filter(|figure| figure.is_met() == Some(false)).count()
    }
}

/// One line each: name, what, the median, the goal, whether it is met; beneath it what it was made of.
pub fn render(report: &FloorReport) -> String {
    let FloorReport { versions, host, rounds, slice_ms, .. } = report;
    let mut text = format!(
        "chatctl {} ({}, {}) on {}: {}, {} cores, kernel {}\n{}\n\
         200 bytes a message; servers on one core, clients on another; medians of {rounds} rounds of {slice_ms} ms\n\n",
        versions.chatctl,
        versions.git_revision.get(..12).unwrap_or(&versions.git_revision),
        versions.profile,
        host.name,
        host.cpu_model,
        host.cores,
        host.kernel,
        report.command,
    );
    for figure in &report.figures {
        let line = line(figure);
        // A String takes all that is written.
        let _ = writeln!(text, "{line}");
    }
    for failure in &report.failures {
        let _ = writeln!(text, "not measured: {failure}");
    }
    text
}

/// One figure.
pub fn line(figure: &Figure) -> String {
    let goal = match figure.goal {
        Some(Goal::AtLeast(goal)) => format!("≥ {}", short(goal)),
        Some(Goal::AtMost(goal)) => format!("≤ {}", short(goal)),
        None => String::new(),
    };
    let met = match figure.is_met() {
        Some(true) => "met",
        Some(false) => "missed",
        None => "",
    };
    let value = figure.value.map_or_else(|| "–".to_owned(), short);
    let spread = figure.rounds.iter().copied().fold(None, |range: Option<(f64, f64)>, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    });
    let spread = spread.map(|(low, high)| format!("{} to {}", short(low), short(high)));
    let basis = [spread.unwrap_or_default(), figure.basis.clone()];
    let basis: Vec<_> = basis.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    format!(
        "{:<4}{value:>9}  {goal:<10}{met:<8}{}\n{:15}{}",
        figure.id,
        figure.what,
        "",
        basis.join("; ")
    )
}

/// As many digits as mean something.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_found_and_what_should_be() {
        let figure = Figure::new("G1", "a ÷ b", &[Some(0.8), Some(0.9), Some(0.7)]);
        let text = line(&figure.at_least(0.75).of("8/s ÷ 10/s"));
        assert_eq!(
            text,
            "G1       0.80  ≥ 0.75    met     a ÷ b\n               0.70 to 0.90; 8/s ÷ 10/s"
        );
        let nothing = line(&Figure::new("G2", "c", &[None]).at_most(1.0));
        assert!(nothing.contains('–') && !nothing.contains("met"), "{nothing}");
        assert_eq!(
            [61_234.6, 12.34, 1.234, 0.0123].map(short),
            ["61235", "12.3", "1.23", "0.0123"]
        );
    }
}
