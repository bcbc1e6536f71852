//! The load generator judged itself: what a stall of the server looks like in an open loop and in a closed one.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Server, chatctl};

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
