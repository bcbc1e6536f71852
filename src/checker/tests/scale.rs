//! What judging costs: `CHECK_SCALE_LINES` at first a million, by
//! `cargo test --release --lib checker::tests::scale -- --ignored --nocapture`.

use std::time::Instant;

use super::story::{Story, m, opened};
use crate::checker::judge;
use crate::checker::verdict::Outcome;
use crate::history::Event;

/// A direct chat of a few thousand messages: sends, pushes, and a newest page every twenty.
fn chat(messages: u64) -> Vec<Event> {
    let mut story = Story::new();
    story.open("bob", opened(0, "bob", &[]));
    let mut items = Vec::new();
    for seq in 1..=messages {
        let item = m(seq, &format!("c{seq}"), "ann");
        story.wrote(&item);
        story.pushed("bob", &item);
        items.push(item);
        if seq % 20 == 0 {
            let mut page: Vec<_> = items[items.len() - 20..].to_vec();
            page.reverse();
            story.newest_first("cay", &[&page], false);
        }
    }
    story.ends(&items);
    story.events
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "measures; run by hand"]
fn a_million_lines() {
    let events = chat(1_000_000 * 10 / 31);
    let before = resident_kib();
    let begun = Instant::now();
    let verdict = judge(&events);
    let took = begun.elapsed();
    assert_eq!(verdict.outcome, Outcome::Valid, "{verdict}");
    let rate = verdict.counts.operations as f64 / took.as_secs_f64();
    eprintln!(
        "{} lines, {} operations in {took:.2?}: {rate:.0} operations/s; history {before} KiB, judging {} KiB more",
        events.len(),
        verdict.counts.operations,
        resident_kib().saturating_sub(before),
    );
}
