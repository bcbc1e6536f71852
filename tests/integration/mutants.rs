//! The judge is proven: `check validity` against a server that breaks one promise on purpose must
//! name it, against one that breaks none, or only what must be repaired, it must be satisfied.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use chatctl::check::equivalence::Work;
use chatctl::faults::Fault;
use tokio_util::sync::CancellationToken;

use crate::support::{BINARY, Server, scale, unique};

/// The workload of one run.
const CLIENTS: &str = "8";
const MESSAGES: &str = "100";
/// Exit codes of the judge.
const VALID: i32 = 0;
const INVALID: i32 = 4;
/// From this many runs on, each must come out right.
const LONG_SERIES: usize = 20;

/// One run of the judge.
struct Run {
    output: Output,
    took: Duration,
}

impl Run {
    fn new(fault: Option<Fault>, seed: usize) -> Self {
        let out = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let mut command = Command::new(BINARY);
        command
            .args(["check", "validity", "--clients", CLIENTS, "--messages", MESSAGES])
            .args(["--seed", &seed.to_string(), "--out"])
            .arg(out.path())
            // The server that it starts inherits this, and that nothing is kept on a slow disk.
            .env("CHATCTL_LOCAL_SYNC", "memory")
            .env_remove("CHATCTL_FAULT");
        if let Some(fault) = fault {
            command.env("CHATCTL_FAULT", fault.to_string());
        }
        let output = command.output().unwrap();
        Self { output, took: started.elapsed() }
    }

    fn report(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Whether the report has a line that begins with this name.
    fn names(&self, anomaly: &str) -> bool {
        self.report()
            .lines()
            .any(|line| line.strip_prefix(anomaly).is_some_and(|rest| rest.starts_with(':')))
    }

    /// Whether it came out as the table of faults says; `None` for no fault.
    fn is_right(&self, fault: Option<Fault>) -> bool {
        let expected = fault.map_or(&[][..], Fault::expected);
        let verdict = if expected.is_empty() { VALID } else { INVALID };
        self.output.status.code() == Some(verdict)
            && expected.iter().all(|anomaly| self.names(anomaly))
    }
}

/// Runs each kind as often as asked, prints its row, and gives what went wrong.
fn row(fault: Option<Fault>, runs: usize) -> Option<String> {
    let name = fault.map_or("(none)".to_owned(), |fault| fault.to_string());
    let expected = fault.map_or(&[][..], Fault::expected);
    let expected = if expected.is_empty() { "valid".to_owned() } else { expected.join(" ") };
    let (mut right, mut slowest, mut wrong) = (0, Duration::ZERO, None);
    for seed in 1..=runs {
        let run = Run::new(fault, seed);
        slowest = slowest.max(run.took);
        if run.is_right(fault) {
            right += 1;
        } else {
            let errors = String::from_utf8_lossy(&run.output.stderr).into_owned();
            let report = run.report();
            wrong.get_or_insert(format!("{name}, seed {seed}: not {expected}\n{report}{errors}"));
        }
    }
    let slowest_s = slowest.as_secs_f64();
    println!("{name:<18} {expected:<22} {right:>3} of {runs:<3} slowest {slowest_s:.1} s");
    // Which occasions a fault meets hangs on timing: a short series may miss one in three, a long one none.
    // An honest server, and one whose faults must be repaired, is never wrong.
    let may_miss = if expected == "valid" || runs >= LONG_SERIES { 0 } else { runs / 3 };
    wrong.filter(|_| runs - right > may_miss)
}

#[test]
fn every_broken_promise_is_named_and_an_honest_server_is_valid() {
    let runs = scale("CHATCTL_MUTANT_RUNS", 3);
    let clean_runs = scale("CHATCTL_CLEAN_RUNS", 3.max(runs * 5 / 2));
    let mut wrong: Vec<String> = row(None, clean_runs).into_iter().collect();
    wrong.extend(Fault::all().filter_map(|fault| row(Some(fault), runs)));
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
