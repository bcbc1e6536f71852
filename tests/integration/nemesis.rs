//! `check validity --nemesis` from outside: real servers and services, broken while clients work, and nothing may be wrong.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::time::timeout;

use crate::support::services::{FolderServices, SharedServices};
use crate::support::{PATIENCE, chatctl, only_entry, scale};

/// How long clients work; `make soak` lets them work longer.
fn seconds() -> String {
    format!("{}s", scale("CHATCTL_TEST_NEMESIS_S", 16))
}

async fn check(out: &Path, arguments: &[&str]) -> Output {
    let run = chatctl(&["check", "validity", "--json", "--out"])
        .arg(out)
        .args(arguments)
        // What is judged is order and loss, not the disk.
        .env("CHATCTL_LOCAL_SYNC", "interval")
        .output();
    timeout(60 * PATIENCE, run).await.expect("ends in time").unwrap()
}

/// The acts of a run, as its history has them.
fn acts(out: &Path) -> Vec<(String, String, String)> {
    let history = std::fs::read_to_string(only_entry(out).join("history.jsonl")).unwrap();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    let lines = history.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["f"] == "nemesis")
        .map(|line| {
            let value = &line["value"];
            (text(value, "phase"), text(value, "act"), text(value, "target"))
        })
        .collect()
}

/// Judges a run, which must be valid and have done something; its verdict.
fn valid(run: &Output, acts: &[(String, String, String)]) -> Value {
    let stderr = String::from_utf8_lossy(&run.stderr);
    let verdict: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|_| panic!("{stderr}"));
    assert_eq!(verdict["outcome"], "valid", "{verdict:#}\n{acts:?}\n{stderr}");
    assert_eq!(run.status.code(), Some(0), "{stderr}");
    assert!(verdict["counts"]["sends_ok"].as_u64() > Some(500), "{verdict:#}");
    let of = |phase: &str| acts.iter().filter(|(of, ..)| of == phase).count();
    assert!(of("begins") >= 4 && of("begins") == of("ends"), "{acts:?}");
    assert_eq!(acts.last().unwrap().0, "healed");
    println!("{} {}", verdict["counts"], acts.len());
    verdict
}

#[tokio::test]
async fn one_server_is_valid_whatever_is_done_to_it_and_a_seed_does_the_same() {
    let seconds = seconds();
    let arguments = ["--nemesis", "kill,pause,cut,partition,latency,clock", "--every", "2s"];
    let arguments = [&arguments[..], &["--duration", &seconds, "--seed", "3"]].concat();
    let mut done = Vec::new();
    for _ in 0..2 {
        let out = tempfile::tempdir().unwrap();
        let run = check(out.path(), &arguments).await;
        let acts = acts(out.path());
        valid(&run, &acts);
        done.push(acts);
    }
    assert_eq!(done[0], done[1]);
}

/// Three servers on services of their own, which are broken too.
async fn three_servers_are_valid(engines: [&str; 2], kinds: &str, seed: &str) {
    // Where they cannot be had, CI fails, and a desk is told so.
    let Some(_) = SharedServices::find().await else { return };
    let (out, services, seconds) = (tempfile::tempdir().unwrap(), FolderServices::new(), seconds());
    let arguments = [
        ["--engine", engines[0], "--distribution", engines[1], "--nodes", "3"],
        ["--services-dir", services.folder(), "--nemesis", kinds, "--every", "3s"],
        ["--duration", &seconds, "--seed", seed, "--clients", "9"],
    ];
    let run = check(out.path(), &arguments.concat()).await;
    valid(&run, &acts(out.path()));
    assert!(reads_of_the_store(out.path()) > 0, "the store was not compared with its servers");
}

/// Conversations that were read without a server.
fn reads_of_the_store(out: &Path) -> usize {
    let history = std::fs::read_to_string(only_entry(out).join("history.jsonl")).unwrap();
    history.lines().filter(|line| line.contains("\"node\":\"store\"")).count() / 2
}

#[tokio::test]
async fn three_servers_on_redis_are_valid_whatever_is_broken() {
    let kinds = "kill,pause,cut,partition,latency,clock,restart-engine,pause-engine";
    three_servers_are_valid(["redis", "redis"], kinds, "5").await;
}

#[tokio::test]
async fn three_servers_on_cassandra_and_kafka_are_valid_whatever_is_broken() {
    let kinds = "kill,pause,cut,partition,latency,restart-engine,pause-engine";
    three_servers_are_valid(["cassandra", "kafka"], kinds, "6").await;
}
