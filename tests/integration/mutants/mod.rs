//! The judge is proven: `check validity` against a server that breaks one promise on purpose must
//! name it, against one that breaks none, or only what must be repaired, it must be satisfied.
//!
//! `CHATCTL_MUTANT_RUNS` of each fault and `CHATCTL_CLEAN_RUNS` of none, on the engines in `CHATCTL_MUTANT_ENGINES` (`local`, `redis-redis`,
//! `cassandra-redis`, `redis-kafka`); `CHATCTL_SERIES_TENTH` (0 to 9): only every tenth fault. `CHATCTL_SERIES_DIR` keeps what was
//! done, `CHATCTL_SERIES_PARALLEL` is how many go on at a time.

mod engines;
mod run;
mod series;

use std::process::Command;
use std::time::Duration;

use chatctl::check::equivalence::Work;
use chatctl::faults::{Fault, Shape};
use tokio_util::sync::CancellationToken;

use self::engines::{Engines, LOCAL, REDIS};
use self::run::{INVALID, Run};
use self::series::{Row, Series};
use crate::support::services::SharedServices;
use crate::support::{BINARY, Server, scale, unique};

/// Where a fault can show: what it needs decides, and of that what is asked for.
fn engines_for(fault: Fault, chosen: &[Engines]) -> Vec<Engines> {
    let or_redis = |some: Vec<Engines>| if some.is_empty() { vec![REDIS] } else { some };
    match fault.shape() {
        Shape::OneNode => chosen.to_vec(),
        Shape::TwoNodes => {
            or_redis(chosen.iter().copied().filter(|engines| *engines != LOCAL).collect())
        }
        Shape::BrokenService => match chosen.contains(&LOCAL) || chosen.contains(&REDIS) {
            true => vec![REDIS],
            false => Vec::new(),
        },
    }
}

#[tokio::test]
async fn every_broken_promise_is_named_and_an_honest_server_is_valid() {
    let runs = scale("CHATCTL_MUTANT_RUNS", 3);
    let clean_runs = scale("CHATCTL_CLEAN_RUNS", 3.max(runs * 5 / 2));
    let tenth = std::env::var("CHATCTL_SERIES_TENTH").ok();
    let tenth: Option<usize> = tenth.map(|text| text.parse().expect("0 to 9"));
    let chosen = engines::chosen();
    let mut rows = Vec::new();
    let row = |fault, engines, runs| {
        Row::new((1..=runs).map(|seed| Run { fault, engines, seed }).collect())
    };
    rows.extend(chosen.iter().map(|&engines| row(None, engines, clean_runs)));
    let faults = (0..).zip(Fault::all());
    let faults = faults.filter(|(index, _)| tenth.is_none_or(|tenth| index % 10 == tenth));
    for (_, fault) in faults {
        let engines = engines_for(fault, &chosen);
        rows.extend(engines.into_iter().map(|engines| row(Some(fault), engines, runs)));
    }
    let needs_services = |row: &Row| row.runs.iter().any(|run| run.engines != LOCAL);
    let mut variables = Vec::new();
    if rows.iter().any(needs_services) {
        match SharedServices::find().await {
            Some(shared) => variables.extend(engines::variables(shared)),
            None => rows.retain(|row| !needs_services(row)),
        }
    }
    let wrong = Series::of_environment().run(&rows, &variables);
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The clients of the bench do less than those of the check, so they meet fewer faults; those they name as well.
#[test]
fn a_bench_with_check_names_what_its_clients_can_see() {
    for name in ["drop-acked", "hole", "swap-sends", "misflag-late", "miss-push", "misroute-push"] {
        let fault: Fault = name.parse().unwrap();
        let out = tempfile::tempdir().unwrap();
        let run = Command::new(BINARY)
            .args(["bench", "paired-clients", "--clients", "4", "--messages", "300", "--check"])
            .args(["--late-ratio", "0.2", "--delivery-wait", "1s", "--json", "--out"])
            .arg(out.path())
            .env("CHATCTL_LOCAL_SYNC", "memory")
            .env("CHATCTL_FAULT", fault.to_string())
            .output()
            .unwrap();
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        let check = &report["check"];
        println!("{name}: {check}");
        assert_eq!(check["outcome"], "invalid", "{name}: {check}");
        for anomaly in fault.expected() {
            assert!(check["anomalies"][anomaly].as_u64() > Some(0), "{name}: {check}");
        }
        assert_eq!(run.status.code(), Some(INVALID), "{name}");
    }
}

/// Two servers with the same engine, one of which breaks a promise, do not answer the same.
#[tokio::test]
async fn an_engine_that_answers_otherwise_is_told_by_equivalence() {
    let connect_timeout = Duration::from_secs(10);
    let work = Work { pairs: 4, turns: 300, seed: 1, connect_timeout };
    let cancel = CancellationToken::new();
    let mut all = Vec::new();
    for fault in [None, None, Some("misflag-late"), Some("forget-ack"), Some("skip-page-item")] {
        let sync = ("CHATCTL_LOCAL_SYNC", "memory");
        let fault = fault.map(|fault| ("CHATCTL_FAULT", fault));
        let variables: Vec<_> = fault.into_iter().chain([sync]).collect();
        let server = Server::start_with(&variables).await;
        let address = server.url.parse().unwrap();
        all.push(work.run(&address, &unique("same"), &cancel).await.unwrap());
    }
    assert_eq!(work.compare(&all[0], &all[1]), None);
    for broken in &all[2..] {
        let found = work.compare(&all[0], broken).expect("a difference");
        println!("turn {} of pair {}: {}", found.turn, found.pair, found.asked);
    }
}
