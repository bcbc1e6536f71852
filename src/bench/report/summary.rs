//! The numbers for people: a percentile table, bars, and what was wrong.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::{GateOutcome, Report, Verdict};

/// Whether the text may use colour and block characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For a pipe and for files.
    Plain,
    /// For a terminal.
    Terminal,
}

/// Width of the longest bar.
const BAR_WIDTH: usize = 40;

/// The summary of a run. `totals` are the merged histograms, ns, in the order in which to show them.
pub fn render(report: &Report, totals: &[(String, Histogram<u64>)], style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut text, report, totals, style);
    text
}

fn write_all(
    text: &mut String,
    report: &Report,
    totals: &[(String, Histogram<u64>)],
    style: Style,
) -> std::fmt::Result {
    let Report { workload, load, versions, host, .. } = report;
    writeln!(text, "{}", bold(&format!("{workload}, {load}"), style))?;
    for server in &report.servers {
        let own = if server.own { ", started by this bench" } else { "" };
        let data = server.data_filesystem.as_ref();
        let data = data.map(|filesystem| format!(", data on {filesystem}")).unwrap_or_default();
        let (engine, durability) = (&server.engine, &server.durability);
        writeln!(text, "  engine {engine}, durability {durability}{data}, {}{own}", server.url)?;
    }
    let (chatctl, revision, profile) =
        (&versions.chatctl, &versions.git_revision, &versions.profile);
    writeln!(
        text,
        "  chatctl {chatctl} ({revision}, {profile}) on {}: {}, {} cores, kernel {}",
        host.name, host.cpu_model, host.cores, host.kernel
    )?;
    writeln!(text, "  {}", report.command)?;
    if report.aborted {
        writeln!(text, "{}", bold("  ABORTED: stopped with Ctrl-C before it was complete", style))?;
    }
    writeln!(text)?;
    if let Some(growth) = &report.growth {
        // Its columns are the latencies at each size, which one by one say less.
        text.push_str(&growth.render());
    } else if totals.iter().any(|(_, histogram)| !histogram.is_empty()) {
        write_table(text, report, totals)?;
        let is_drawn = |(name, histogram): &&(String, Histogram<u64>)| {
            !histogram.is_empty() && !name.ends_with("_service")
        };
        for (name, histogram) in totals.iter().filter(is_drawn) {
            writeln!(text, "\n{}", bold(name, style))?;
            write_bars(text, histogram, style)?;
        }
        writeln!(text)?;
    }
    for (name, value) in report.rates.iter().chain(&report.figures) {
        writeln!(text, "{name:32} {:>14}", number(*value))?;
    }
    for (name, value) in &report.durations_s {
        writeln!(text, "{:32} {value:>14.3}", format!("{name}_s"))?;
    }
    for (name, value) in &report.counts {
        writeln!(text, "{name:32} {value:>14}")?;
    }
    for (code, count) in &report.errors {
        writeln!(text, "{:32} {count:>14}", format!("errors {code}"))?;
    }
    writeln!(text)?;
    write_verdict(text, report, style)?;
    if let Some(check) = &report.check {
        writeln!(text, "  check: {}", check.shown())?;
    }
    write_gates(text, report, style)?;
    for note in &report.notes {
        writeln!(text, "  note: {note}")?;
    }
    Ok(())
}

fn write_table(
    text: &mut String,
    report: &Report,
    totals: &[(String, Histogram<u64>)],
) -> std::fmt::Result {
    let width = totals.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(8);
    write!(text, "{:width$} {:>10}", "latency", "count")?;
    for title in ["mean", "p50", "p90", "p99", "p999", "p9999", "max"] {
        write!(text, " {title:>9}")?;
    }
    writeln!(text)?;
    for (name, _) in totals {
        let Some(stats) = report.latencies.get(name) else { continue };
        write!(text, "{name:width$} {:>10} {:>9}", stats.count, time(stats.mean_us))?;
        for (_, us) in stats.percentiles() {
            write!(text, " {:>9}", time(us))?;
        }
        writeln!(text, " {:>9}", time(stats.max_us))?;
    }
    writeln!(text, "{:width$} -: too few samples for this percentile", "")
}

/// One bar per doubling of the latency.
fn write_bars(text: &mut String, histogram: &Histogram<u64>, style: Style) -> std::fmt::Result {
    let mut octaves = std::collections::BTreeMap::new();
    for value in histogram.iter_recorded() {
        let octave = value.value_iterated_to().max(1).ilog2();
        *octaves.entry(octave).or_insert(0u64) += value.count_at_value();
    }
    let most = octaves.values().copied().max().unwrap_or(1);
    let (Some(first), Some(last)) =
        (octaves.keys().next().copied(), octaves.keys().last().copied())
    else {
        return Ok(());
    };
    for octave in first..=last {
        let count = octaves.get(&octave).copied().unwrap_or(0);
        let length = (count as f64 / most as f64 * BAR_WIDTH as f64).round() as usize;
        let bar = match (style, length) {
            (_, 0) if count > 0 => ".".to_owned(),
            (Style::Plain, length) => "#".repeat(length),
            (Style::Terminal, length) => "█".repeat(length),
        };
        let percent = count as f64 / histogram.len() as f64 * 100.0;
        let from = time(Some((1u64 << octave) as f64 / 1_000.0));
        writeln!(text, "  from {from:>9} {count:>10} {percent:>6.2} %  {bar}")?;
    }
    Ok(())
}

fn write_verdict(text: &mut String, report: &Report, style: Style) -> std::fmt::Result {
    let correctness = &report.correctness;
    let seen = format!(
        "{} deliveries and {} pages checked",
        correctness.delivered, correctness.pages_checked
    );
    let (word, colour) = match report.verdict {
        Verdict::Pass => ("PASS", 32),
        Verdict::Incomplete => ("INCOMPLETE", 33),
        Verdict::Invalid => ("INVALID", 31),
    };
    let word = coloured(word, colour, style);
    match correctness.is_clean() {
        true => writeln!(text, "{word}: {seen}, nothing wrong in them"),
        false => writeln!(text, "{word}: {}; {seen}", correctness.shown_violations()),
    }
}

/// One line a gate: outcome, expression, and what was measured or why nobody can tell.
fn write_gates(text: &mut String, report: &Report, style: Style) -> std::fmt::Result {
    let width = report.gates.iter().map(|gate| gate.expression.chars().count()).max().unwrap_or(0);
    for gate in &report.gates {
        let colour = match gate.outcome {
            GateOutcome::Passed => 32,
            GateOutcome::Failed => 31,
            GateOutcome::Inconclusive => 33,
        };
        let outcome = coloured(&format!("{:12}", gate.outcome.name()), colour, style);
        let measured = format!("measured {}", gate.measured_text());
        let why = gate.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        writeln!(text, "  {outcome} {:width$}  {measured}{why}", gate.expression)?;
    }
    Ok(())
}

fn coloured(text: &str, colour: u8, style: Style) -> String {
    match style {
        Style::Plain => text.to_owned(),
        Style::Terminal => format!("\x1b[1;{colour}m{text}\x1b[0m"),
    }
}

/// Bold on a terminal.
pub fn bold(text: &str, style: Style) -> String {
    match style {
        Style::Plain => text.to_owned(),
        Style::Terminal => format!("\x1b[1m{text}\x1b[0m"),
    }
}

/// A time in the unit that shows it with three or four digits.
pub fn time(us: Option<f64>) -> String {
    match us {
        None => "-".to_owned(),
        Some(us) if us < 1_000.0 => format!("{us:.1} us"),
        Some(us) if us < 1_000_000.0 => format!("{:.2} ms", us / 1_000.0),
        Some(us) => format!("{:.2} s", us / 1_000_000.0),
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{record, report};
    use super::*;

    #[test]
    fn the_plain_summary_is_pinned() {
        let record = record();
        insta::assert_snapshot!(render(&report(&record), &record.totals(), Style::Plain));
    }

    #[test]
    fn only_a_terminal_gets_colour_and_blocks() {
        let record = record();
        let shown = |style| render(&report(&record), &record.totals(), style);
        assert!(shown(Style::Plain).is_ascii());
        assert!(shown(Style::Terminal).contains('█'));
        assert!(shown(Style::Terminal).contains("\x1b[1;33minconclusive\x1b[0m write.p9999<1s"));
    }
}
