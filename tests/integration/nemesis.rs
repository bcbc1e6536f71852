//! `check validity --nemesis` from outside: real servers and services, broken while clients work, and nothing may be wrong.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

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

/// The lines of a run's history.
fn lines(out: &Path) -> Vec<Value> {
    let history = std::fs::read_to_string(only_entry(out).join("history.jsonl")).unwrap();
    history.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The acts of a run, as its history has them.
fn acts(out: &Path) -> Vec<(String, String, String)> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    let lines = lines(out).into_iter().filter(|line| line["f"] == "nemesis");
    lines
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

/// What each server of a rolling restart may take to drain.
const DRAIN: Duration = Duration::from_secs(3);
/// Between the beginnings of two restarts.
const RESTART_EVERY: Duration = Duration::from_secs(4);
/// From a signal to `/readyz`, beyond the drain and the time that the server is left alone: a start, on a busy machine.
const STARTED_MAX: Duration = Duration::from_secs(4);

/// Each of three servers in turn gets SIGTERM, drains, ends with 0 (the nemesis says otherwise), is started again where it was and awaited,
/// while clients work: nobody loses anything, and everybody was told to go elsewhere.
#[tokio::test]
async fn a_rolling_restart_loses_nothing_and_closes_nobody_untold() {
    let Some(_) = SharedServices::find().await else { return };
    let (out, services) = (tempfile::tempdir().unwrap(), FolderServices::new());
    let ms = |duration: Duration| format!("{}ms", duration.as_millis());
    let drain = format!("CHATCTL_DRAIN_MS={}", DRAIN.as_millis());
    let every = ms(RESTART_EVERY);
    let arguments = [
        ["--engine", "redis", "--distribution", "redis", "--nodes", "3", "--clients", "24"],
        [
            "--services-dir",
            services.folder(),
            "--server-env",
            &drain,
            "--seed",
            "8",
            "--pace",
            "20ms",
        ],
    ];
    let seconds = ms(RESTART_EVERY * scale("CHATCTL_TEST_RESTARTS", 6).try_into().unwrap());
    let nemesis = ["--nemesis", "restart", "--every", &every, "--duration", &seconds];
    let run = check(out.path(), &[&arguments.concat()[..], &nemesis].concat()).await;
    let acts = acts(out.path());
    valid(&run, &acts);
    assert!(reads_of_the_store(out.path()) > 0, "the store was not compared with its servers");
    let begun: Vec<_> = acts.iter().filter(|act| act.0 == "begins").collect();
    for (number, (_, act, target)) in begun.iter().enumerate() {
        assert_eq!((act.as_str(), target), ("restart", &format!("node {}", number % 3 + 1)));
    }
    let (mut signalled, mut closed) = (None, Vec::new());
    let mut told_to_go = 0;
    for line in lines(out.path()) {
        let at = Duration::from_nanos(line["time_ns"].as_u64().unwrap());
        let value = &line["value"];
        match (line["f"].as_str().unwrap(), value["phase"].as_str()) {
            ("nemesis", Some("begins")) => signalled = Some(at),
            ("nemesis", Some("ends")) => {
                let took = at - signalled.take().unwrap();
                assert!(took < RESTART_EVERY.mul_f64(0.55) + DRAIN + STARTED_MAX, "{took:?}");
                println!("{took:?}, {} clients told to go", closed.len());
                told_to_go += closed.len();
                closed.clear();
            }
            ("close", _) if line["type"] == "ok" && value["by_us"] == false => {
                assert_eq!(value["code"], 4001, "{line}");
                assert!(signalled.is_some(), "{line}");
                closed.push(at);
            }
            _ => {}
        }
    }
    // They come and go as they like: one server may have had none of them when its turn came.
    assert!(
        told_to_go >= begun.len(),
        "{told_to_go} clients were there in {} restarts",
        begun.len()
    );
}
