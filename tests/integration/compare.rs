//! `chatctl bench compare` and `bench baseline` from outside, with very small runs: what they say about themselves.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::time::timeout;

use crate::support::{PATIENCE, chatctl, only_entry};

/// Small enough for a busy machine, and far too small to mean anything.
const SMALL: [&str; 8] =
    ["--clients", "2", "--messages", "20", "--in-flight", "4", "--max-time", "30s"];

async fn bench(arguments: &[&str]) -> Output {
    let mut command = chatctl(&["bench"]);
    command.args(arguments).env("CHATCTL_LOCAL_SYNC", "never");
    timeout(6 * PATIENCE, command.output()).await.expect("ends in time").unwrap()
}

#[tokio::test]
async fn a_comparison_says_what_it_found_and_goes_on_where_it_was() {
    let out = tempfile::tempdir().unwrap();
    let mut arguments = vec!["compare", "--pairs", "6", "--min-effect", "900%", "--json", "--out"];
    arguments.push(out.path().to_str().unwrap());
    arguments.extend(SMALL);
    let run = bench(&arguments).await;
    // Nothing here is nine times slower than itself; a machine that is too busy to tell is allowed.
    let code = run.status.code().unwrap();
    assert!([0, 2].contains(&code), "{run:?}");
    let result: Value = serde_json::from_slice(&run.stdout).unwrap();
    let found = &result["comparisons"][0];
    let verdict = found["verdict"].as_str().unwrap();
    assert_eq!(verdict == "same", code == 0, "{result}");
    assert_eq!(result["schema_version"], 1);
    assert_eq!(result["rules"]["metric"], "server.cpu_us_per_message");
    assert_eq!(result["a"]["binary_sha256"], result["b"]["binary_sha256"]);
    assert!(found["servers"]["a"].as_str().unwrap().contains("process"), "{result}");
    for pair in found["pairs"].as_array().unwrap() {
        assert!(pair["a"].as_f64().unwrap() > 0.0 && pair["b"].as_f64().unwrap() > 0.0, "{pair}");
    }
    let folder = only_entry(out.path());
    for name in ["README.md", "plan.json", "runs.jsonl", "result.json", "summary.txt"] {
        assert!(folder.join(name).is_file(), "{name}");
    }

    // As if it had been killed while it wrote its fourth run.
    let runs = std::fs::read_to_string(folder.join("runs.jsonl")).unwrap();
    let third: usize = runs.split_inclusive('\n').take(3).map(str::len).sum();
    std::fs::write(folder.join("runs.jsonl"), &runs[..third + 40]).unwrap();
    let again = bench(&["compare", "--resume", folder.to_str().unwrap()]).await;
    assert!([Some(0), Some(2)].contains(&again.status.code()), "{again:?}");
    let resumed = std::fs::read_to_string(folder.join("runs.jsonl")).unwrap();
    let kept: String = runs.split_inclusive('\n').take(2).collect();
    assert!(resumed.starts_with(&kept) && resumed.lines().count() > 2, "{resumed}");
    let summary = String::from_utf8(again.stdout).unwrap();
    assert!(summary.contains("fresh servers") && summary.contains("minimum effect"), "{summary}");
}

#[tokio::test]
async fn a_baseline_is_kept_and_only_judged_where_it_can_be() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("baseline.json");
    let file = file.to_str().unwrap();
    let missing = bench(&["baseline", "check", file]).await;
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    let mut save = vec!["baseline", "save", file, "--runs", "5"];
    save.extend(SMALL);
    let saved = bench(&save).await;
    if saved.status.code() == Some(2) {
        // The machine was too busy: nothing is kept then.
        assert!(!Path::new(file).exists(), "{saved:?}");
        return;
    }
    assert_eq!(saved.status.code(), Some(0), "{saved:?}");
    let again = bench(&save).await;
    assert_eq!(again.status.code(), Some(64), "{again:?}");

    let text = std::fs::read_to_string(file).unwrap();
    let mut baseline: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(baseline["durability"], "process");
    let cpu = &baseline["figures"]["server.cpu_us_per_message"];
    assert!(cpu["values"].as_array().unwrap().len() >= 5, "{baseline}");
    baseline["host"]["cpu_model"] = "another".into();
    std::fs::write(file, baseline.to_string()).unwrap();
    let elsewhere =
        bench(&["baseline", "check", file, "--runs", "5", "--max-slowdown", "900%"]).await;
    assert_eq!(elsewhere.status.code(), Some(2), "{elsewhere:?}");
    let said = [elsewhere.stdout, elsewhere.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("another machine") || said.contains("inconclusive:"), "{said}");
}

#[tokio::test]
async fn wrong_usage_is_told_before_anything_runs() {
    let out = tempfile::tempdir().unwrap();
    let nowhere = out.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    for arguments in [
        vec!["compare", "--pairs", "3"],
        vec!["compare", "--clients", "3"],
        vec!["compare", "--min-effect", "0"],
        vec!["compare", "--metric", "p50"],
        vec!["compare", "--a-env", "REDIS_PASSWORD=x"],
        vec!["compare", "--b-binary", nowhere],
        vec!["compare", "--resume", nowhere],
        vec!["compare", "--resume", nowhere, "--pairs", "9"],
        vec!["baseline", "save", nowhere, "--runs", "1"],
    ] {
        let run = bench(&arguments).await;
        assert_eq!(run.status.code(), Some(64), "{arguments:?}: {run:?}");
    }
    let no_server = bench(&["compare", "--b-binary", "/bin/true", "--out", nowhere]).await;
    assert_eq!(no_server.status.code(), Some(1), "{no_server:?}");
}
