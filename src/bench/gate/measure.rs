//! What a report says about a quantity.

use std::collections::BTreeMap;

use super::parser::meant;
use super::quantity::correctness_counts;
use super::{Quantity, Stat};
use crate::bench::report::Report;

/// The server's own count of stored messages, which its other counters are divided by.
const STORED: &str = "chatctl_messages_appended_total";

/// The value, in the unit of the quantity, or why there is none.
pub fn measure(quantity: &Quantity, report: &Report) -> Result<f64, String> {
    let value = match quantity {
        Quantity::Latency { name, stat } => latency(name, *stat, report)?,
        Quantity::Errors(code) => errors(code.as_deref(), report)?,
        Quantity::Rate(name) => of(&report.rates, name, "rate")?,
        Quantity::Figure(name) => of(&report.figures, name, "figure")?,
        Quantity::Server(name) => server(name, report)?,
        Quantity::Count(name) => of(&report.counts, name, "count")? as f64,
        Quantity::Correctness(name) => correctness(name, report)?,
        Quantity::Duration(name) => of(&report.durations_s, name, "duration")?,
    };
    match value.is_finite() {
        true => Ok(value),
        false => Err("the measured value is no number".to_owned()),
    }
}

fn of<V: Copy>(values: &BTreeMap<String, V>, name: &str, kind: &str) -> Result<V, String> {
    values.get(name).copied().ok_or_else(|| absent(values, name, kind))
}

fn absent<V>(values: &BTreeMap<String, V>, name: &str, kind: &str) -> String {
    let meant = meant(name, values.keys().map(String::as_str));
    format!("this run has no {kind} `{name}`{meant}")
}

fn latency(name: &str, stat: Stat, report: &Report) -> Result<f64, String> {
    let stats = of(&report.latencies, name, "latency")?;
    stat.of(&stats).ok_or_else(|| {
        let (needed, count) = (stat.samples_min(), stats.count);
        format!("too few samples: it needs {needed}, and there are {count}")
    })
}

/// Each answer is a send, a read or an error. An error that did not come is none, but among no
/// answers there is no share.
fn errors(code: Option<&str>, report: &Report) -> Result<f64, String> {
    let all: u64 = report.errors.values().sum();
    let counted = match code {
        Some(code) => report.errors.get(code).copied().unwrap_or(0),
        None => all,
    };
    let done = |name| report.counts.get(name).copied();
    let (sends, reads) = done("sent").zip(done("reads")).ok_or_else(|| {
        let workload = &report.workload;
        format!("{workload} counts no sends and reads that errors could be a share of")
    })?;
    match sends + reads + all {
        0 => Err("nothing was answered".to_owned()),
        answers => Ok(counted as f64 * 100.0 / answers as f64),
    }
}

fn server(name: &str, report: &Report) -> Result<f64, String> {
    let counters = &report.server_counters;
    let counter = |name: &str| counters.get(name).copied();
    let found = report.figures.get(name).copied();
    let found = found.or_else(|| counter(&format!("chatctl_{name}"))).or_else(|| counter(name));
    if let Some(value) = found {
        return Ok(value);
    }
    if counters.is_empty() {
        return Err("the server's counters were not read; --admin says where they are".to_owned());
    }
    let per_message = name.strip_suffix("_per_message");
    let grown = per_message.and_then(|name| counter(&format!("chatctl_{name}_total")));
    match (grown, counter(STORED)) {
        (Some(grown), Some(stored)) if stored > 0.0 => Ok(grown / stored),
        (Some(_), _) => Err(format!("the server does not say by {STORED} that it stored anything")),
        (None, _) => {
            let short = |name: &String| name.strip_prefix("chatctl_").unwrap_or(name).to_owned();
            let known = report.figures.keys().chain(counters.keys());
            let known = known.map(|name| (short(name), ())).collect();
            Err(absent(&known, name, "server figure or counter"))
        }
    }
}

/// That nothing was found where nothing was looked at proves nothing.
fn correctness(name: &str, report: &Report) -> Result<f64, String> {
    let correctness = &report.correctness;
    let counts = correctness_counts(correctness);
    let count = counts.iter().find(|(known, _)| *known == name).map(|&(_, count)| count);
    let count = count.ok_or_else(|| format!("correctness has no `{name}`"))?;
    let looked_at = correctness.delivered + correctness.pages_checked > 0;
    let is_violation = correctness.violations().iter().any(|&(known, _)| known == name);
    if count == 0 && is_violation && !looked_at {
        return Err("no delivery and no page was checked".to_owned());
    }
    Ok(count as f64)
}
