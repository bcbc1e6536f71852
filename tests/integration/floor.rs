//! `bench floor`: the whole of it, short; what it finds is of no use on a machine that does other things.

use std::process::Command;

use chatctl::services::{Nodes, ServiceKind};

use crate::support::BINARY;
use crate::support::redis::{connection, until};
use crate::support::services::{OwnServices, SharedServices};

#[test]
fn every_figure_is_measured_and_kept() {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command.args(["bench", "floor", "--rounds", "2", "--slice", "60ms", "--json", "--out"]);
    let run = command.arg(out.path()).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(report["failures"], serde_json::json!([]), "{report:#}");
    let figures = report["figures"].as_array().unwrap();
    let named = |id: &str| figures.iter().filter(|figure| figure["id"] == id).collect::<Vec<_>>();
    for id in
        ["G1", "G2", "G3", "G4", "G5", "G6", "G11", "G12", "G13", "G14", "G18", "G23", "G25", "G26"]
    {
        assert!(!named(id).is_empty(), "{id}: {report:#}");
    }
    // What needs no quiet machine: each message is encoded once, whoever gets it.
    assert_eq!(named("G13")[0]["value"], 1.0, "{report:#}");
    assert!(named("G1")[0]["value"].as_f64().unwrap() > 0.0);
    let folder = std::fs::read_dir(out.path()).unwrap().next().unwrap().unwrap().path();
    let kept = std::fs::read(folder.join("floor.json")).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&kept).unwrap(), report);
    let table = std::fs::read_to_string(folder.join("floor.txt")).unwrap();
    assert!(table.contains("bare echo") && table.contains("≥ 0.80"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_on_services_stand_beside_a_bare_program() {
    let Some(services) = SharedServices::find().await else { return };
    let _alone = services.keyspace().await;
    let out = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(BINARY);
    command
        .args(["bench", "floor", "--only", "G25", "--rounds", "1", "--slice", "300ms", "--json"]);
    command.args(["--engines", "redis,cassandra,kafka", "--out"]).arg(out.path());
    for key in ["REDIS_URL", "CASSANDRA_HOSTS", "KAFKA_BROKERS"] {
        command.env(key, services.variable(key));
    }
    let run = command.output().await.unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(report["failures"], serde_json::json!([]), "{report:#}");
    let figures = report["figures"].as_array().unwrap();
    for (name, service) in
        [("REDIS", "Redis"), ("CASSANDRA", "Cassandra"), ("REDIS + KAFKA", "Kafka")]
    {
        let what = |text: String| {
            let found = figures.iter().find(|figure| figure["what"].as_str().unwrap() == text);
            found
                .and_then(|figure| figure["value"].as_f64())
                .unwrap_or_else(|| panic!("{text}: {report:#}"))
        };
        let work = "50 pairs × 8 in flight";
        assert!(what(format!("acked and delivered messages/s, {work}, {name}")) > 0.0);
        assert!(what(format!("server CPU µs per acked and delivered message, {name}")) > 0.0);
        assert!(
            what(format!("messages/s, {name} ÷ writes/s of a bare program to {service}")) > 0.0
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appendfsync_is_what_it_was_afterwards() {
    let Some(redis) = OwnServices::start(&[ServiceKind::Redis], Nodes::One).await else { return };
    let url = redis.variable("REDIS_URL");
    let fsync = || -> (String, String) {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg("appendfsync").query(&mut connection(&url).unwrap()).unwrap()
    };
    assert_eq!(fsync().1, "always");
    let out = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(BINARY);
    command.args(["bench", "floor", "--only", "G26", "--rounds", "1", "--slice", "300ms", "--out"]);
    command.arg(out.path()).args(["--engines", "redis", "--redis-fsync", "everysec"]);
    let mut run = command.env("REDIS_URL", &url).kill_on_drop(true).spawn().unwrap();
    until("appendfsync is set", || fsync().1 == "everysec").await;
    assert_eq!(run.wait().await.unwrap().code(), Some(0));
    assert_eq!(fsync().1, "always");
}

#[test]
fn what_is_not_there_is_named() {
    for (arguments, named) in [
        (&["--engines", "local"][..], "LOCAL is measured always"),
        (&["--engines", "riak"], "redis, cassandra"),
        (&["--redis-fsync", "no"], "--engines"),
        (&["--engines", "cassandra", "--redis-fsync", "no"], "none of --engines uses Redis"),
        (&["--only", "G99"], "G26"),
        (&["--rounds", "0"], "--rounds"),
        (&["--slice", "1ms"], "--slice"),
    ] {
        let run = Command::new(BINARY).args(["bench", "floor"]).args(arguments).output().unwrap();
        assert_eq!(run.status.code(), Some(64), "{run:?}");
        assert!(String::from_utf8_lossy(&run.stderr).contains(named), "{run:?}");
    }
}
