//! The load generator judged itself: what a stall of the server looks like in an open loop and in a closed one.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Server, chatctl, only_entry};

/// How long the server is stopped.
const STALL: Duration = Duration::from_secs(1);
/// When it is stopped, after the start of the bench.
const STALL_AFTER: Duration = Duration::from_secs(8);

/// Runs `bench paired-clients` against a server that is stopped for a second meanwhile: the report.
async fn stalled(load: &[&str]) -> Value {
    // Disks have stalls of their own.
    let server = Server::start_with(&[("CHATCTL_LOCAL_SYNC", "never")]).await;
    let out = tempfile::tempdir().unwrap();
    let child = chatctl(&["bench", "paired-clients", "--clients", "10", "--json"])
        .args(["--url", &format!("ws://{}/v1/ws", server.address()), "--out"])
        .arg(out.path())
        .args(load)
        .spawn()
        .unwrap();
    let stall = async {
        tokio::time::sleep(STALL_AFTER).await;
        server.signal(Signal::STOP);
        tokio::time::sleep(STALL).await;
        server.signal(Signal::CONT);
        std::future::pending::<()>().await;
    };
    let output = tokio::select! {
        output = child.wait_with_output() => output.unwrap(),
        () = stall => unreachable!("the run ends"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    // An overloaded generator says so, and the numbers are there all the same.
    assert!(matches!(output.status.code(), Some(0 | 2)), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ms(report: &Value, latency: &str, stat: &str) -> f64 {
    let found = report["latencies"][latency][stat].as_f64();
    found.unwrap_or_else(|| panic!("{latency} {stat} in {report}")) / 1e3
}

/// Coordinated omission: whoever waits for answers sends nothing meanwhile, and so does not see that others would have waited.
#[tokio::test]
async fn a_stall_is_in_the_numbers_of_an_open_loop_and_not_of_a_closed_one() {
    let open = stalled(&["--rate", "1000", "--duration", "20s", "--warmup", "0s"]).await;
    let closed = stalled(&["--duration", "20s"]).await;
    let (response, most) = (ms(&open, "write", "p99_us"), ms(&open, "write", "max_us"));
    let service = ms(&open, "write_service", "p99_us");
    let (unseen, seen) = (ms(&closed, "write", "p99_us"), ms(&closed, "write", "max_us"));
    println!(
        "a second of 20 stopped: open loop p99 {response:.0} ms, max {most:.0} ms, service p99 {service:.2} ms; closed loop p99 {unseen:.2} ms, max {seen:.0} ms"
    );
    let counts = &open["counts"];
    assert_eq!(counts["scheduled"], 20_000, "{open}");
    assert_eq!(counts["dropped"], 0, "{open}");
    assert_eq!(counts["begun"], counts["scheduled"]);
    // Of 20 s, 1 % is the last fifth of the stall.
    assert!((700.0..900.0).contains(&response), "{response}");
    assert!(most >= 1_000.0, "{most}");
    assert!(service < response / 4.0, "{service}, {response}");
    assert!(unseen < response / 4.0, "{unseen}, {response}");
}

/// A stop that the bench makes itself is in its numbers and drawn into its page.
#[tokio::test]
async fn a_pause_is_made_measured_and_marked() {
    let out = tempfile::tempdir().unwrap();
    let run = chatctl(&["bench", "paired-clients", "--clients", "4", "--format", "json"])
        .args(["--rate", "500", "--duration", "4s", "--warmup", "0s", "--pause", "1s+1s", "--out"])
        .arg(out.path())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(matches!(run.status.code(), Some(0 | 2)), "{said}");
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let mark = &report["marks"][0];
    let (at_s, until_s) = (mark["at_s"].as_f64().unwrap(), mark["until_s"].as_f64().unwrap());
    assert!((1.0..1.5).contains(&at_s), "{mark}");
    assert!((0.99..1.5).contains(&(until_s - at_s)), "{mark}");
    assert!(ms(&report, "write", "max_us") > 800.0, "{report}");
    let page = std::fs::read_to_string(only_entry(out.path()).join("report.html")).unwrap();
    assert!(page.contains("server stopped for 1000 ms"));
}

#[tokio::test]
async fn a_pause_that_cannot_be_made_is_no_pass() {
    let out = tempfile::tempdir().unwrap();
    let bench = |pause: &'static str| {
        let mut run = chatctl(&["bench", "paired-clients", "--clients", "2", "--messages", "10"]);
        run.args(["--pause", pause, "--out"]).arg(out.path());
        run
    };
    let late = bench("1h+1s").output().await.unwrap();
    assert_eq!(late.status.code(), Some(2), "{late:?}");
    let said = String::from_utf8_lossy(&late.stdout).into_owned();
    assert!(said.contains("1 pauses were not made"), "{said}");
    let wrong = bench("8s").output().await.unwrap();
    assert_eq!(wrong.status.code(), Some(64), "{wrong:?}");
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("like 8s+1s"), "{said}");
}
