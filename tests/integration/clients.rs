//! The clients for other programs (`clients/`) against three nodes on one Redis: `clients/run` installs what they need and runs their scenario.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rstest::rstest;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::services::{SharedServices, leave_out};
use crate::support::{Server, unique};

/// A scenario takes 20 s on a quiet machine; what it needs is installed before, once.
const RUN: Duration = Duration::from_secs(300);
/// How `clients/run` ends when what a client needs cannot be had (`EX_UNAVAILABLE`).
const UNAVAILABLE: i32 = 69;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// What `clients/run` said; `None` when the caller is to be left out.
async fn run(arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(folder().join("run"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(RUN, command.output()).await.expect("it ends in time").unwrap();
    if output.status.code() == Some(UNAVAILABLE) {
        return leave_out(&String::from_utf8_lossy(&output.stderr));
    }
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{output:?}");
    Some(output)
}

/// Lines that say that a step was shown.
fn shown(output: &Output) -> usize {
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with("ok: ")).count()
}

#[rstest]
#[case::typescript("typescript")]
#[case::python("python")]
#[case::together("together")]
#[tokio::test]
async fn the_scenario_holds_against_three_nodes(#[case] which: &str) {
    let Some(services) = SharedServices::find().await else { return };
    let prefix = unique("clients:");
    let engines = [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
        ("REDIS_URL", services.variable("REDIS_URL")),
        ("CHATCTL_REDIS_PREFIX", &prefix),
    ];
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Server::start_with(&engines).await);
    }
    let urls = nodes.iter().map(|node| node.url.as_str()).collect::<Vec<_>>().join(",");
    let Some(output) = run(&[which, &urls]).await else { return };
    let scenario = std::fs::read_to_string(folder().join("scenario.md")).unwrap();
    let is_step = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
    let steps = scenario.lines().filter(is_step).count();
    assert_eq!(shown(&output), if which == "together" { 1 } else { steps }, "{output:?}");
}

#[tokio::test]
async fn their_types_hold() {
    let Some(output) = run(&["types"]).await else { return };
    assert_eq!(shown(&output), 2, "{output:?}");
}
