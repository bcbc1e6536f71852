//! The numbers of a run as OpenMetrics text, for gateways and dashboards over many runs.
//! Source: <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>.

use std::fmt::{Display, Write};

use super::{GateOutcome, Report, Verdict};

/// What every name begins with.
const PREFIX: &str = "chatctl_bench";

/// Every number of a run but its histograms. All are gauges but latencies, which are summaries in seconds: the numbers of
/// one run, not counters that go on. Every sample has `workload`, `engine` and `durability` as labels.
pub fn openmetrics(report: &Report) -> String {
    let durability = report.durability();
    let mut text = Text {
        written: String::new(),
        common: labels(&[
            ("workload", &report.workload),
            ("engine", &report.engine),
            ("durability", &durability),
        ]),
    };
    text.family("info", "info", "What ran, and where.", "");
    let info = [
        ("version", report.versions.chatctl.as_str()),
        ("revision", &report.versions.git_revision),
        ("host", &report.host.name),
        ("cpu", &report.host.cpu_model),
        ("load", &report.load),
    ];
    // An info's sample carries the suffix that its type asks for.
    text.sample("_info", &info, 1);

    text.family("started_timestamp_seconds", "gauge", "When the run began.", "seconds");
    if let Ok(started) = report.started_at.parse::<jiff::Timestamp>() {
        text.sample("started_timestamp_seconds", &[], started.as_millisecond() as f64 / 1e3);
    }
    text.family("verdict", "gauge", "1 at what the run says about the server.", "");
    for (name, verdict) in [
        ("pass", Verdict::Pass),
        ("incomplete", Verdict::Incomplete),
        ("invalid", Verdict::Invalid),
    ] {
        text.sample("verdict", &[("verdict", name)], u8::from(report.verdict == verdict));
    }
    text.family("gate", "gauge", "1 at how the gate ended.", "");
    for gate in &report.gates {
        for outcome in [GateOutcome::Passed, GateOutcome::Failed, GateOutcome::Inconclusive] {
            let labels = [("gate", gate.expression.as_str()), ("outcome", outcome.name())];
            text.sample("gate", &labels, u8::from(gate.outcome == outcome));
        }
    }
    text.latencies(report);
    text.family("duration_seconds", "gauge", "A part of the run.", "seconds");
    text.samples("duration_seconds", "part", &report.durations_s);
    text.family("rate", "gauge", "Per second.", "");
    text.samples("rate", "name", &report.rates);
    text.family("figure", "gauge", "What the workload is about; the name has the unit.", "");
    text.samples("figure", "name", &report.figures);
    text.family("count", "gauge", "What was done.", "");
    text.samples("count", "name", &report.counts);
    text.family("violations", "gauge", "Broken promises, by kind.", "");
    text.samples("violations", "kind", report.correctness.violations());
    text.family("errors", "gauge", "Error answers, by code.", "");
    text.samples("errors", "code", &report.errors);
    text.family("server", "gauge", "How much a counter of the servers grew.", "");
    text.samples("server", "counter", &report.server_counters);
    text.written.push_str("# EOF\n");
    text.written
}

struct Text {
    written: String,
    /// Labels of every sample.
    common: String,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str, unit: &str) {
        // An info has its suffix in its samples only.
        let name = if kind == "info" { PREFIX.to_owned() } else { format!("{PREFIX}_{name}") };
        // Writing to a String cannot fail.
        let _ = writeln!(self.written, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.written, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.written, "# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, own: &[(&str, &str)], value: impl Display) {
        let (underscore, common) = (if name.starts_with('_') { "" } else { "_" }, &self.common);
        let separator = if own.is_empty() { "" } else { "," };
        let own = labels(own);
        let _ = writeln!(
            self.written,
            "{PREFIX}{underscore}{name}{{{common}{separator}{own}}} {value}"
        );
    }

    fn samples<N: AsRef<str>>(
        &mut self,
        family: &str,
        label: &str,
        values: impl IntoIterator<Item = (N, impl Display)>,
    ) {
        for (name, value) in values {
            self.sample(family, &[(label, name.as_ref())], value);
        }
    }

    fn latencies(&mut self, report: &Report) {
        self.family("latency_seconds", "summary", "Latencies of the run, by name.", "seconds");
        for (name, stats) in &report.latencies {
            let quantiles = [
                ("0", stats.min_us),
                ("0.5", stats.p50_us),
                ("0.9", stats.p90_us),
                ("0.99", stats.p99_us),
                ("0.999", stats.p999_us),
                ("0.9999", stats.p9999_us),
                ("1", stats.max_us),
            ];
            for (quantile, us) in quantiles {
                // One that has too few samples is absent here too.
                if let Some(us) = us {
                    let labels = [("latency", name.as_str()), ("quantile", quantile)];
                    self.sample("latency_seconds", &labels, us / 1e6);
                }
            }
            let of = [("latency", name.as_str())];
            let sum_s = stats.mean_us.unwrap_or(0.0) * stats.count as f64 / 1e6;
            self.sample("latency_seconds_sum", &of, sum_s);
            self.sample("latency_seconds_count", &of, stats.count);
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let shown = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    shown.collect::<Vec<_>>().join(",")
}

/// A label's value, as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{record, report};
    use super::*;

    #[test]
    fn every_number_is_there() {
        insta::assert_snapshot!(openmetrics(&report(&record())));
    }

    #[test]
    fn labels_cannot_break_out() {
        let mut report = report(&record());
        report.host.cpu_model = "A \"CPU\" \\ of\ntwo".to_owned();
        let text = openmetrics(&report);
        assert!(text.contains(r#"cpu="A \"CPU\" \\ of\ntwo","#), "{text}");
    }
}
