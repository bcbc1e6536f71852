//! `bench … --check`: the verdict of the judge beside the numbers, and what it costs.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::time::timeout;

use crate::support::{PATIENCE, chatctl, only_entry, scale};

async fn bench(out: &Path, arguments: &[&str]) -> (Output, Value) {
    let run =
        chatctl(&["bench", "paired-clients", "--json", "--out"]).arg(out).args(arguments).output();
    let output = timeout(6 * PATIENCE, run).await.expect("ends in time").unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, report)
}

#[tokio::test]
async fn a_run_is_judged_and_can_be_judged_again() {
    for load in
        [&["--messages", "200"][..], &["--rate", "500", "--duration", "2s", "--warmup", "0s"]]
    {
        let out = tempfile::tempdir().unwrap();
        let arguments = [load, &["--clients", "4", "--nodes", "1", "--check"]].concat();
        let (output, report) = bench(out.path(), &arguments).await;
        let check = &report["check"];
        assert_eq!(check["outcome"], "valid", "{check} {output:?}");
        assert_eq!(check["anomalies"], serde_json::json!({}), "{check}");
        let sent = report["counts"]["sent"].as_u64().unwrap();
        assert_eq!(check["messages"].as_u64(), Some(sent), "all that was sent was seen: {check}");
        assert_eq!(check["pushes"].as_u64(), Some(sent), "by the other one of the pair: {check}");
        // Not the exit code: a generator on a busy machine may have been too slow for a verdict on latencies.
        assert!(matches!(output.status.code(), Some(0 | 2)), "{output:?}");

        let history = only_entry(out.path()).join("history.jsonl");
        let replay = chatctl(&["check", "replay", "--json"]).arg(&history).output().await.unwrap();
        assert_eq!(replay.status.code(), Some(0), "{replay:?}");
        let verdict: Value = serde_json::from_slice(&replay.stdout).unwrap();
        let kept = std::fs::read(history.with_file_name("verdict.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&kept).unwrap(), verdict);

        // A judge that finds nothing in a damaged history would be none: one message is taken out of the last read of all.
        let text = std::fs::read_to_string(&history).unwrap();
        let forged = out.path().join("forged.jsonl");
        std::fs::write(&forged, without_one_message(&text)).unwrap();
        let replay = chatctl(&["check", "replay"]).arg(&forged).output().await.unwrap();
        assert_eq!(replay.status.code(), Some(4), "{replay:?}");
    }
}

/// The history, but the last message of the last page that has several is not on it.
fn without_one_message(history: &str) -> String {
    let mut lines: Vec<Value> =
        history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.iter_mut().rev().find_map(|line| {
        let is_read = line["type"] == "ok" && line["f"] == "read";
        let items =
            line["value"]["items"].as_array_mut().filter(|items| is_read && items.len() > 1);
        items.and_then(Vec::pop)
    });
    assert!(last.is_some());
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn a_conversation_that_is_not_new_is_refused() {
    let server = crate::support::Server::start().await;
    let (out, url) = (tempfile::tempdir().unwrap(), format!("ws://{}/v1/ws", server.address()));
    let again = ["--clients", "2", "--messages", "5", "--user-prefix", "again", "--url", &url];
    assert_eq!(bench(out.path(), &again).await.0.status.code(), Some(0));
    let mut run = chatctl(&["bench", "paired-clients", "--check", "--out"]);
    let output = run.arg(out.path()).args(again).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("10 messages") && said.contains("--user-prefix"), "{said}");
}

/// What it costs in rate, in interleaved pairs of runs on fresh servers; a figure, and a bound that only a machine of one's own
/// keeps: `cargo test --release --test integration recording_costs -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "needs a quiet machine for two minutes"]
async fn recording_costs_at_most_a_tenth_of_the_rate() {
    let pairs = scale("CHATCTL_TEST_PAIRS", 15);
    for sync in ["never", "always"] {
        let mut ratios = Vec::new();
        for pair in 0..pairs {
            let mut rates = [0.0; 2];
            let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
            for with in order {
                let out = tempfile::tempdir().unwrap();
                let env = format!("CHATCTL_LOCAL_SYNC={sync}");
                let mut arguments =
                    vec!["--clients", "20", "--messages", "2000", "--server-env", &env];
                arguments.extend(["--check"].iter().filter(|_| with == 1));
                let (output, report) = bench(out.path(), &arguments).await;
                assert_eq!(output.status.code(), Some(0), "{output:?}");
                rates[with] = report["rates"]["messages_per_s"].as_f64().unwrap();
            }
            ratios.push(rates[1] / rates[0]);
        }
        ratios.sort_by(f64::total_cmp);
        let (least, median, most) = (ratios[0], ratios[pairs / 2], ratios[pairs - 1]);
        println!(
            "sync {sync}: rate with --check / without, {pairs} pairs: median {median:.3}, {least:.3} to {most:.3}"
        );
        assert!(median >= 0.9, "{ratios:?}");
    }
}
