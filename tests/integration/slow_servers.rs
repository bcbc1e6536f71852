//! `bench compare` and `bench baseline` are proven: a server that wastes CPU time on each message is found.

use std::process::{Command, Output};

use crate::support::BINARY;

/// Enough to be found on any machine: more than all that a message costs otherwise.
const BURN: &str = "CHATCTL_FAULT=burn-cpu:2000";
/// A run of 0.2 s: in a much shorter one, a single tick (10 ms) that the hypervisor took disturbs it.
const SMALL: [&str; 6] = ["--clients", "2", "--messages", "200", "--in-flight", "4"];

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("bench").args(arguments).args(["--max-time", "60s"]);
    command.env("CHATCTL_LOCAL_SYNC", "never").env_remove("CHATCTL_FAULT").output().unwrap()
}

/// A machine that is not quiet leaves the answer open (2), and never gives a wrong one: asked again, a few times.
fn until_conclusive(arguments: &[&str]) -> Output {
    const TRIES_MAX: usize = 4;
    let mut runs = (0..TRIES_MAX).map(|_| bench(arguments));
    let last = runs.by_ref().find(|run| run.status.code() != Some(2));
    last.unwrap_or_else(|| bench(arguments))
}

#[test]
fn a_slow_server_is_slower_and_the_other_way_round_faster() {
    // What is looked for is 20 times what a message costs: a machine that wavers by a few percent can tell.
    for (side, expected) in [("--b-env", 3), ("--a-env", 0)] {
        let out = tempfile::tempdir().unwrap();
        let out = out.path().to_str().unwrap();
        let mut arguments =
            vec!["compare", side, BURN, "--pairs", "8", "--min-effect", "100%", "--out", out];
        arguments.extend(SMALL);
        let run = until_conclusive(&arguments);
        assert_eq!(run.status.code(), Some(expected), "{run:?}");
    }
}

#[test]
fn a_slow_server_is_beyond_its_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("baseline.json");
    let mut save = vec!["baseline", "save", file.to_str().unwrap(), "--max-slowdown", "100%"];
    save.extend(SMALL);
    let saved = until_conclusive(&save);
    assert_eq!(saved.status.code(), Some(0), "{saved:?}");
    // As if the server had been honest when it was saved.
    let text = std::fs::read_to_string(&file).unwrap();
    let mut baseline: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (key, value) = BURN.split_once('=').unwrap();
    baseline["server"]["environment"] = serde_json::json!([[key, value]]);
    std::fs::write(&file, baseline.to_string()).unwrap();
    let checked =
        until_conclusive(&["baseline", "check", file.to_str().unwrap(), "--max-slowdown", "100%"]);
    assert_eq!(checked.status.code(), Some(3), "{checked:?}");
}
