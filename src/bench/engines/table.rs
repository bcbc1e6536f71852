//! The rows for people: one table per durability class, since a weaker promise is cheaper to keep.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Row;
use crate::bench::report::{GateOutcome, Style, Verdict, bold, time};
use crate::model::{Durability, Level};

/// What is shown of each latency.
const SHOWN: [&str; 3] = ["write", "delivery", "read"];

/// All rows. The strongest class comes first.
pub fn render(rows: &[Row], style: Style) -> String {
    let mut text = String::new();
    let mut classes = BTreeMap::<_, Vec<&Row>>::new();
    for row in rows {
        classes.entry(rank(&row.durability)).or_default().push(row);
    }
    for ((_, class), rows) in classes {
        let class = if class.is_empty() { "no run" } else { class };
        let _ = writeln!(text, "{}", bold(&format!("durability {class}"), style));
        table(&mut text, &rows);
        text.push('\n');
    }
    text
}

/// Stronger ones first; unknown ones last.
fn rank(durability: &str) -> (Reverse<Option<(bool, Level)>>, &str) {
    let class = durability.parse::<Durability>().ok();
    (Reverse(class.map(|class| (class.replicated, class.level))), durability)
}

fn table(text: &mut String, rows: &[&Row]) {
    let grows = rows.iter().any(|row| row.stored_before.is_some());
    let width = rows.iter().map(|row| row.contestant.len()).max().unwrap_or(0).max(7);
    let _ = write!(text, "{:width$}", "engines");
    if grows {
        let _ = write!(text, " {:>10}", "stored");
    }
    let _ = write!(text, " {:>9} {:>9}", "msg/s", "cpu us");
    for latency in SHOWN {
        let _ = write!(text, " {:>12} {:>9}", format!("{latency} p50"), "p99");
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{:width$}", row.contestant);
        if grows {
            let stored =
                row.stored_before.map_or_else(|| "-".to_owned(), |stored| stored.to_string());
            let _ = write!(text, " {stored:>10}");
        }
        let number = |value: Option<f64>| match value {
            Some(value) => format!("{value:.0}"),
            None => "-".to_owned(),
        };
        let (rate, cost) = (number(row.messages_per_s), number(row.cpu_us_per_message));
        let _ = write!(text, " {rate:>9} {cost:>9}");
        for latency in SHOWN {
            let stats = row.latencies.get(latency);
            let (p50, p99) = (stats.and_then(|s| s.p50_us), stats.and_then(|s| s.p99_us));
            let _ = write!(text, " {:>12} {:>9}", time(p50), time(p99));
        }
        text.push_str(match row.verdict {
            Some(Verdict::Pass) | None => "",
            Some(Verdict::Incomplete) => "  INCOMPLETE",
            Some(Verdict::Invalid) => "  INVALID",
        });
        for (gate, outcome) in &row.gates {
            match outcome {
                GateOutcome::Passed => {}
                GateOutcome::Failed => text.push_str(&format!("  {gate} FAILED")),
                GateOutcome::Inconclusive => text.push_str(&format!("  {gate} INCONCLUSIVE")),
            }
        }
        text.push('\n');
        if let Some(reason) = &row.failed {
            let _ = writeln!(text, "{:width$} {reason}", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_apart_and_what_failed_says_why() {
        let row = |name: &str, durability: &str, stored| {
            let mut row = Row::new(name, stored);
            row.durability = durability.to_owned();
            row.messages_per_s = Some(1_234.0);
            row
        };
        let mut failed = Row::new("cassandra", None);
        failed.failed = Some("no node answers".to_owned());
        let rows =
            [row("local", "none", Some(1_000)), row("redis-kafka", "disk", Some(1_000)), failed];
        insta::assert_snapshot!(render(&rows, Style::Plain));
    }
}
