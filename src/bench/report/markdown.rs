//! The numbers as Markdown, for the summary page of a CI job.

use std::fmt::Write;

use super::summary::time;
use super::{GateOutcome, Report, Verdict};

/// Verdict, gates, latencies, host and command; ends with an empty line, so that more may follow.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut text, report);
    text
}

fn write_all(text: &mut String, report: &Report) -> std::fmt::Result {
    let Report { workload, engine, load, host, versions, .. } = report;
    writeln!(text, "## {} on {}: {}\n", cell(workload), cell(engine), verdict(report))?;
    for reason in &report.overload {
        writeln!(text, "**The load generator was too slow:** {}\n", cell(reason))?;
    }
    if !report.gates.is_empty() {
        writeln!(text, "| gate | outcome | measured | limit | |\n|---|---|--:|--:|---|")?;
    }
    for gate in &report.gates {
        let outcome = match gate.outcome {
            GateOutcome::Passed => "✅ passed",
            GateOutcome::Failed => "❌ **failed**",
            GateOutcome::Inconclusive => "⚠️ inconclusive",
        };
        let (measured, limit) = (gate.measured_text(), gate.limit_text());
        let reason = cell(gate.reason.as_deref().unwrap_or_default());
        writeln!(
            text,
            "| {} | {outcome} | {measured} | {limit} | {reason} |",
            cell(&gate.expression)
        )?;
    }
    if !report.gates.is_empty() {
        writeln!(text)?;
    }
    writeln!(text, "| latency | count | mean | p50 | p90 | p99 | p999 | p9999 | max |")?;
    writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for (name, stats) in &report.latencies {
        write!(text, "| {} | {} | {} |", cell(name), stats.count, time(stats.mean_us))?;
        for (_, us) in stats.percentiles() {
            write!(text, " {} |", time(us))?;
        }
        writeln!(text, " {} |", time(stats.max_us))?;
    }
    let servers = report.servers.iter();
    let mut durability: Vec<_> = servers.map(|server| server.durability.as_str()).collect();
    durability.dedup();
    writeln!(
        text,
        "\n{}, durability {}; chatctl {} ({}, {}) on {}: {}, {} cores, kernel {}; {}\n",
        cell(load),
        cell(&durability.join(", ")),
        cell(&versions.chatctl),
        cell(&versions.git_revision),
        cell(&versions.profile),
        cell(&host.name),
        cell(&host.cpu_model),
        host.cores,
        cell(&host.kernel),
        cell(&report.started_at),
    )?;
    let fence = fence(&report.command);
    writeln!(text, "{fence}sh\n{}\n{fence}\n", report.command)
}

fn verdict(report: &Report) -> String {
    let validity = match report.verdict {
        Verdict::Pass => "✅ valid".to_owned(),
        Verdict::Incomplete => "⚠️ incomplete".to_owned(),
        Verdict::Invalid => format!("❌ invalid: {}", report.shown_violations()),
    };
    let gates = [
        ("passed", GateOutcome::Passed),
        ("failed", GateOutcome::Failed),
        ("inconclusive", GateOutcome::Inconclusive),
    ];
    let count = |outcome| report.gates.iter().filter(|gate| gate.outcome == outcome).count();
    let counted = gates.map(|(name, outcome)| (name, count(outcome)));
    let counted: Vec<_> = counted
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    match counted.is_empty() {
        true => validity,
        false => format!("{validity}; gates: {}", counted.join(", ")),
    }
}

/// Text on one line of a table, in which nothing is markup.
fn cell(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' | '#' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Longer than any row of backticks in what it encloses.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{record, report};
    use super::*;

    #[test]
    fn the_markdown_is_pinned() {
        insta::assert_snapshot!(markdown(&report(&record())));
    }

    #[test]
    fn nothing_from_outside_is_markup() {
        let mut report = report(&record());
        report.command = "chatctl bench --user-prefix '```'".to_owned();
        report.overload.push("a | b\n<img> [x](y)".to_owned());
        let text = markdown(&report);
        assert!(text.contains("````sh\nchatctl bench --user-prefix '```'\n````\n"), "{text}");
        assert!(text.contains("slow:** a \\| b &lt;img> \\[x\\](y)\n"), "{text}");
    }

    #[test]
    fn a_good_run_without_gates_says_so() {
        let mut report = report(&record());
        report.gates.clear();
        report.verdict = Verdict::Pass;
        let text = markdown(&report);
        assert!(text.starts_with("## paired-clients on local: ✅ valid\n"), "{text}");
        assert!(!text.contains("| gate |"), "{text}");
    }
}
