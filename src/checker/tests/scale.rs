//! What judging costs: `cargo test --release --lib checker::tests::scale -- --ignored --nocapture`.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::time::Instant;

use super::story::{Story, m, opened};
use crate::checker::verdict::Outcome;
use crate::checker::{judge, judge_file};
use crate::history::{Act, Event, Seen, read_history, write_event};

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

/// A history of `check validity` (`CHATCTL_TEST_HISTORY`), repeated in other conversations until it has ten million lines
/// (`CHATCTL_TEST_HISTORY_LINES`).
#[test]
#[ignore = "measures; run by hand"]
fn ten_million_lines_of_a_file() {
    let source =
        variable("CHATCTL_TEST_HISTORY").expect("CHATCTL_TEST_HISTORY names a history.jsonl");
    let lines: u64 =
        variable("CHATCTL_TEST_HISTORY_LINES").map_or(10_000_000, |text| text.parse().unwrap());
    let mut source = read_history(BufReader::new(File::open(source).unwrap())).unwrap();
    // What the servers counted is of one round.
    source.retain(|event| !matches!(event.act, Act::Ok { seen: Seen::Counted { .. } }));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = BufWriter::new(&mut file);
    let (mut index, mut time_ns) = (0, 0);
    for round in 0.. {
        let mut events = source.clone();
        super::rename(&mut events, &format!("-{round}"), round * 10_000_000);
        for mut event in events {
            (event.index, event.time_ns) = (index, event.time_ns + time_ns);
            write_event(&mut writer, &event).unwrap();
            index += 1;
        }
        time_ns += source.last().unwrap().time_ns;
        if index >= lines {
            break;
        }
    }
    drop(writer);
    drop(source);
    let bytes = file.as_file().metadata().unwrap().len();
    let begun = Instant::now();
    let verdict = judge_file(file.path()).unwrap();
    let took = begun.elapsed();
    eprintln!(
        "{index} lines, {} MB, {} operations in {took:.2?}: {}; at most {} MB resident in this process",
        bytes >> 20,
        verdict.counts.operations,
        verdict.outcome,
        peak_kib() >> 10,
    );
    assert_eq!(verdict.outcome, Outcome::Valid, "{verdict}");
}

#[expect(clippy::disallowed_methods, reason = "a setting of the test, not of the program")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
