//! `chatctl check` from outside: a real server is judged, and what was recorded is judged again.

use std::path::{Path, PathBuf};
use std::process::Output;

use chatctl::history::{check_rules, read_history};
use tokio::time::timeout;

use crate::support::{BINARY, PATIENCE};

async fn check(arguments: &[&str]) -> Output {
    let run = tokio::process::Command::new(BINARY).arg("check").args(arguments).output();
    timeout(3 * PATIENCE, run).await.expect("ends in time").unwrap()
}

/// The history of the only run under `out`.
fn history_of(out: &Path) -> PathBuf {
    let folder = std::fs::read_dir(out).unwrap().next().unwrap().unwrap().path();
    for name in ["README.md", "summary.txt", "verdict.json"] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    folder.join("history.jsonl")
}

#[tokio::test]
async fn a_good_server_is_valid_and_its_history_replays() {
    let out = tempfile::tempdir().unwrap();
    let out_text = out.path().to_str().unwrap();
    let arguments = ["validity", "--messages", "60", "--seed", "7", "--json", "--out", out_text];
    let run = check(&arguments).await;
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let history = history_of(out.path());
    let text = std::fs::read_to_string(&history).unwrap();
    let events = read_history(text.as_bytes()).unwrap();
    assert!(events.len() > 1_000, "{} lines", events.len());
    check_rules(&events).unwrap();

    let again = check(&["replay", history.to_str().unwrap(), "--json"]).await;
    assert_eq!((again.status.code(), &again.stdout), (Some(0), &run.stdout), "{again:?}");

    let damaged = out.path().join("damaged.jsonl");
    std::fs::write(&damaged, text.replacen("\"invoke\"", "\"invocation\"", 1)).unwrap();
    let number = text.lines().position(|line| line.contains("\"invoke\"")).unwrap() + 1;
    let refused = check(&["replay", damaged.to_str().unwrap()]).await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&format!("line {number} ")), "{said}");
    assert!(refused.stdout.is_empty());
}

#[tokio::test]
async fn a_history_is_exported_in_both_forms() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let results = path("results");
    let run = check(&["validity", "--messages", "20", "--clients", "4", "--out", &results]).await;
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let history = history_of(results.as_ref());
    let history = history.to_str().unwrap();

    let elle = check(&["export", history, "--form", "elle"]).await;
    assert_eq!(elle.status.code(), Some(0), "{elle:?}");
    let text = String::from_utf8(elle.stdout).unwrap();
    for (index, line) in text.lines().enumerate() {
        assert!(line.starts_with(&format!("{{:index {index}, :time ")), "{line}");
        assert!(line.contains(":f :txn, :value [[:") && line.ends_with("]]}"), "{line}");
    }
    let count = |kind: &str| text.matches(kind).count();
    assert!(count(":type :ok") > 80 && count("[[:r ") > 8, "{text}");
    let said = String::from_utf8_lossy(&elle.stderr).into_owned();
    assert!(said.contains("left out: ") && said.contains(" pushes"), "{said}");

    let file = path("history.jsonl");
    let porcupine = check(&["export", history, "--form", "porcupine", "--out", &file]).await;
    assert_eq!(porcupine.status.code(), Some(0), "{porcupine:?}");
    assert!(porcupine.stdout.is_empty());
    for line in std::fs::read_to_string(&file).unwrap().lines() {
        let operation: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(operation["Call"].as_i64() <= operation["Return"].as_i64(), "{line}");
    }
    let again = check(&["export", history, "--form", "elle", "--out", &file]).await;
    assert_eq!(again.status.code(), Some(1), "nothing is written over: {again:?}");

    let damaged = path("damaged.jsonl");
    let text = std::fs::read_to_string(history).unwrap();
    let second = text.lines().nth(1).unwrap();
    std::fs::write(&damaged, text.replacen(second, "{}", 1)).unwrap();
    let refused = check(&["export", &damaged, "--form", "elle"]).await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("line 2 "), "{refused:?}");
    assert!(refused.stdout.is_empty());
}

/// A push that another one of the same stream follows. The very last one may be of a session that had ended before it had to come.
fn push_before_another(lines: &[&str]) -> usize {
    let mut followed = std::collections::HashSet::new();
    let is_followed = |line: &&str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let stream = (event["session"].as_u64(), event["conv"].as_str().map(str::to_owned));
        match event["f"].as_str() {
            Some("recv") => !followed.insert(stream),
            // Here a stream may end and another one begin.
            Some("open" | "leave" | "reset") => {
                followed.retain(|(session, _)| *session != stream.0);
                false
            }
            _ => false,
        }
    };
    lines.iter().rposition(is_followed).unwrap()
}

#[tokio::test]
async fn a_lost_message_in_a_history_is_invalid() {
    let out = tempfile::tempdir().unwrap();
    let out_text = out.path().to_str().unwrap();
    let run = check(&["validity", "--messages", "20", "--clients", "4", "--out", out_text]).await;
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let history = history_of(out.path());
    let text = std::fs::read_to_string(&history).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let gone = push_before_another(&lines);
    let mut kept = String::new();
    for (index, line) in lines.iter().enumerate().filter(|(at, _)| *at != gone) {
        let moved = if index > gone { index - 1 } else { index };
        let renumbered =
            line.replacen(&format!("{{\"index\":{index},"), &format!("{{\"index\":{moved},"), 1);
        kept.push_str(&renumbered);
        kept.push('\n');
    }
    std::fs::write(&history, kept).unwrap();
    let again = check(&["replay", history.to_str().unwrap()]).await;
    assert_eq!(again.status.code(), Some(4), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stdout).contains("rt-miss"), "{again:?}");
    // The page stands beside it, as after the check itself, and elsewhere where it is told; over nothing.
    let beside = history.with_file_name("timeline.html");
    let page = std::fs::read_to_string(&beside).unwrap();
    assert!(page.contains("data-anomaly=\"rt-miss\"") && page.contains("class=\"proof\""));
    assert!(String::from_utf8_lossy(&again.stderr).contains(beside.to_str().unwrap()));
    let elsewhere = out.path().join("page.html");
    for (code, written) in [(4, true), (64, false)] {
        let told = ["replay", history.to_str().unwrap(), "--out", elsewhere.to_str().unwrap()];
        let told = check(&told).await;
        assert_eq!(told.status.code(), Some(code), "{told:?}");
        assert_eq!(String::from_utf8_lossy(&told.stdout).contains("rt-miss"), written);
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), page);
    }
    std::fs::write(&beside, "of somebody else").unwrap();
    assert_eq!(check(&["replay", history.to_str().unwrap()]).await.status.code(), Some(4));
    assert_eq!(std::fs::read_to_string(&beside).unwrap(), "of somebody else");
    assert_eq!(std::fs::read_to_string(history.with_file_name("timeline-2.html")).unwrap(), page);
}

#[tokio::test]
async fn wrong_usage_and_failures_have_their_own_exit_codes() {
    for arguments in [
        vec!["validity", "--clients", "0"],
        vec!["validity", "--messages", "0", "--clients", "2"],
        vec!["validity", "--url", "http://x"],
        vec!["replay"],
        vec!["export", "history.jsonl"],
        vec!["export", "history.jsonl", "--form", "knossos"],
        vec!["dance"],
    ] {
        let run = check(&arguments).await;
        assert_eq!(run.status.code(), Some(64), "{arguments:?}: {run:?}");
    }
    let missing = check(&["replay", "/no/such/history.jsonl"]).await;
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    let missing = check(&["export", "/no/such/history.jsonl", "--form", "elle"]).await;
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/history.jsonl"));
    let nobody = check(&["validity", "--url", "ws://127.0.0.1:9"]).await;
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
}
