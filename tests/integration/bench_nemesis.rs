//! `chatctl bench paired-clients --nemesis`: numbers and a verdict while things break.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::browser::Document;
use crate::support::{PATIENCE, chatctl, only_entry};

/// Servers whose data are under `folder`, so that none of another test is taken for one of these.
fn bench(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = chatctl(&["bench", "paired-clients", "--clients", "4", "--warmup", "0s"]);
    command.args(arguments).arg("--out").arg(folder.join("results")).env("TMPDIR", folder);
    command
}

/// What is left of servers that had their data under `folder`.
fn left(folder: &Path) -> Vec<u32> {
    let folder = folder.to_str().unwrap().as_bytes();
    let is_of = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(folder.len()).any(|part| part == folder)
    };
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_of).collect()
}

/// Everything that was asked for is sent and answered although the server is killed, stopped and slow meanwhile; what that cost is in the
/// numbers, and the acts are in the report and on its page.
#[tokio::test]
async fn acts_are_measured_judged_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = bench(folder.path(), &["--rate", "200", "--duration", "7500ms", "--check"]);
    command.args(["--nemesis", "kill,pause,latency", "--every", "2500ms", "--seed", "4"]);
    command.args(["--gate", "write.max<60s", "--format", "json"]);
    let run = timeout(3 * PATIENCE, command.output()).await.expect("ends in time").unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|_| panic!("{said}"));
    // A machine that is too busy for an open loop is no pass.
    let busy = report["overload"].as_array().is_some_and(|reasons| !reasons.is_empty());
    let code = run.status.code();
    assert!(code == Some(0) || busy && code == Some(2), "{code:?}: {said}\n{report:#}");

    assert_eq!(report["check"]["outcome"], "valid", "{}", report["check"]);
    let counts = &report["counts"];
    assert_eq!(counts["scheduled"], 1_500, "{counts}");
    assert_eq!(counts["sent"], 1_500, "{counts}");
    assert_eq!(counts["broken_pairs"], 0, "{counts}");
    assert_eq!(counts["nemesis_acts"], 3, "{counts}");
    assert!(counts["reconnects"].as_u64() >= Some(4), "all four were cut off: {counts}");
    let marks = report["marks"].as_array().unwrap();
    let mut on: Vec<_> = marks.iter().map(|mark| mark["target"].as_str().unwrap()).collect();
    on.sort_unstable();
    assert_eq!(on, ["clients to node 1", "node 1", "node 1"]);
    let length = |mark: &Value| mark["until_s"].as_f64().unwrap() - mark["at_s"].as_f64().unwrap();
    assert!(marks.iter().all(|mark| (0.4..5.0).contains(&length(mark))), "{marks:?}");
    // What was due while nobody was there is in the latencies.
    let paused = marks.iter().find(|mark| mark["label"] == "pause").unwrap();
    let max_ms = report["latencies"]["write"]["max_us"].as_f64().unwrap() / 1e3;
    assert!(max_ms > 900.0 * length(paused), "{max_ms} ms, {paused}");

    let result = only_entry(&folder.path().join("results"));
    let history = std::fs::read_to_string(result.join("history.jsonl")).unwrap();
    let phases = ["begins", "ends", "healed"].map(|phase| history.matches(phase).count());
    assert_eq!(phases, [3, 3, 1]);
    assert_eq!(left(folder.path()), Vec::<u32>::new());
    let Some(page) = Document::open(&result.join("report.html"), 1_200).await else { return };
    assert_eq!(page.root("data-errors"), "[]");
    let figures = page.elements("figure");
    let over_time: Vec<_> = figures
        .iter()
        .filter(|figure| ["over-time", "rates"].contains(&figure["data-plot"].as_str()))
        .collect();
    assert!(over_time.len() >= 3, "{figures:?}");
    assert!(over_time.iter().all(|figure| figure["data-marks"] == "3"), "{over_time:?}");
    assert_eq!(page.rows("marks").len(), 3);
    let until_s = paused["until_s"].as_f64();
    assert_eq!(page.number("marks", "pause", "until_s"), until_s);
}

/// Stopped in the middle of an act, it leaves nothing behind that is stopped, or runs.
#[tokio::test]
async fn ctrl_c_in_the_middle_of_an_act_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = bench(folder.path(), &["--duration", "60s", "--nemesis", "pause,clock"]);
    command.args(["--every", "2s", "--check"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    // Within the hold of the first act, which is 0.1 to 0.6 s and 0.4 to 1.1 s long.
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let run = timeout(PATIENCE, child.wait_with_output()).await.expect("ends in time").unwrap();
    assert_eq!(run.status.code(), Some(2), "{}", String::from_utf8_lossy(&run.stdout));
    assert_eq!(left(folder.path()), Vec::<u32>::new());
    let history = only_entry(&folder.path().join("results")).join("history.jsonl");
    assert!(std::fs::read_to_string(history).unwrap().contains("healed"));
}

#[tokio::test]
async fn what_cannot_be_broken_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, says) in [
        (&["--nemesis", "kill", "--messages", "5"][..], "--messages"),
        (&["--nemesis", "kill", "--url", "ws://127.0.0.1:1/v1/ws"], "--nemesis kill"),
        (&["--nemesis", "restart-engine"], "--nemesis restart-engine"),
        (&["--nemesis", "cut", "--duration", "2s"], "--every"),
        (&["--every", "2s"], "--nemesis"),
        (&["--nemesis", "kill", "--pause", "1s+1s"], "--pause"),
        (&["--nemesis", "kill", "--engines", "local,redis"], "--engines"),
        (&["--nemesis", "thunder"], "thunder"),
    ] {
        let run = bench(folder.path(), arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    let results = std::fs::read_dir(folder.path().join("results"));
    assert!(results.map_or(0, Iterator::count) == 0, "nothing was begun");
}
