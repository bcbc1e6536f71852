//! What the KAFKA bus costs a node: nothing for an `open`, and a share of all hints that the model in `ARCHITECTURE.md` tells.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::services::SharedServices;
use crate::support::{Server, chatctl, percentiles, scale, unique};

/// Who opens, at the same time.
const USERS: usize = 50;
/// The library tells how many requests it sent twice a second.
const TOLD: Duration = Duration::from_millis(1_200);
/// Requests that a client sends without any cause: questions for the state of the topic.
const PUBLISHER_IDLE_MAX: f64 = 4.0;

/// What one round of opens cost.
struct Round {
    p50_ms: f64,
    p99_ms: f64,
    took: Duration,
    /// Requests of the publisher to the brokers, and of the reader.
    requests: [f64; 2],
}

async fn requests(server: &Server) -> [f64; 2] {
    tokio::time::sleep(TOLD).await;
    let of = |client| format!("chatctl_kafka_requests_total{{client=\"{client}\"}}");
    let (_, text) = server.admin_get("/metrics").await;
    ["publisher", "reader"].map(of).map(|series| {
        let line = text.lines().find_map(|line| line.strip_prefix(series.as_str()));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    })
}

/// [`USERS`] users open `opens` direct chats, each its own, as fast as they can.
async fn open_all(server: &Server, users: &str, opens: usize) -> Round {
    let mut peers = Vec::new();
    for user in 0..USERS {
        peers.push(server.connect(&format!("{users}-{user}")).await);
    }
    // That they are here is told, and no part of this.
    let before = requests(server).await;
    let (begun, mut opening) = (Instant::now(), JoinSet::new());
    for (user, mut peer) in peers.into_iter().enumerate() {
        let friends = format!("{users}-{user}-friend");
        opening.spawn(async move {
            let mut times = Vec::new();
            for number in 0..opens / USERS {
                let begun = Instant::now();
                peer.ok("open", json!({"to": {"user": format!("{friends}-{number}")}})).await;
                times.push(begun.elapsed());
            }
            (times, peer)
        });
    }
    let done = opening.join_all().await;
    let took = begun.elapsed();
    let mut times: Vec<_> = done.iter().flat_map(|(times, _)| times).copied().collect();
    assert_eq!(times.len(), opens / USERS * USERS);
    let after = requests(server).await;
    let [p50_ms, p99_ms] = percentiles(&mut times);
    let requests = [after[0] - before[0], after[1] - before[1]];
    Round { p50_ms, p99_ms, took, requests }
}

#[tokio::test]
async fn opening_conversations_asks_no_broker() {
    let opens = scale("CHATCTL_TEST_OPENS", 2_000);
    let Some(shared) = SharedServices::find().await else { return };
    for reading in ["all", "open"] {
        let prefix = unique("kafka:");
        let engines = shared.on_kafka(&prefix);
        let server =
            Server::start_with(&[&engines[..], &[("CHATCTL_KAFKA_READ", reading)]].concat()).await;
        let users = unique("user");
        // The first time a conversation becomes a user's: their other sessions are told.
        let first = open_all(&server, &users, opens).await;
        // All the others.
        let again = open_all(&server, &users, opens).await;
        let idle = {
            let (before, begun) = (requests(&server).await, Instant::now());
            tokio::time::sleep(Duration::from_secs(2)).await;
            let after = requests(&server).await;
            [0, 1].map(|client| (after[client] - before[client]) / begun.elapsed().as_secs_f64())
        };
        for (name, round) in [("first", &first), ("again", &again)] {
            println!(
                "{opens} opens, {name}, reading {reading}: p50 {:.2} ms, p99 {:.2}, all after {:.2?}; requests to brokers: publisher {}, reader {}; idle, a second: {:.1}, {:.1}",
                round.p50_ms,
                round.p99_ms,
                round.took,
                round.requests[0],
                round.requests[1],
                idle[0],
                idle[1]
            );
        }
        let seconds = (again.took + 2 * TOLD).as_secs_f64();
        assert!(again.requests[0] <= PUBLISHER_IDLE_MAX, "{}", again.requests[0]);
        // Reading goes on as ever: not more for what is opened.
        let most = 2.0 * idle[1] * seconds + 20.0;
        assert!(again.requests[1] <= most, "{} in {seconds} s", again.requests[1]);
        assert!(first.requests[0] < opens as f64 / 2.0, "hints travel together");
    }
    // Beside a bus that is not there.
    let prefix = unique("local:");
    let engines = [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
        ("REDIS_URL", shared.variable("REDIS_URL")),
        ("CHATCTL_REDIS_PREFIX", prefix.as_str()),
    ];
    let server = Server::start_with(&engines).await;
    let users = unique("user");
    for name in ["first", "again"] {
        let Round { p50_ms, p99_ms, took, .. } = open_all(&server, &users, opens).await;
        println!(
            "{opens} opens, {name}, bus LOCAL: p50 {p50_ms:.2} ms, p99 {p99_ms:.2}, all after {took:.2?}"
        );
    }
}

/// One point of the model: how many hints a node reads that nobody on it waits for, and what one costs.
#[tokio::test]
#[ignore = "measures for a minute"]
async fn a_node_reads_the_share_that_the_model_tells() {
    const OPEN: usize = 3;
    const PARTS: f64 = 16.0;
    let Some(shared) = SharedServices::find().await else { return };
    for reading in ["all", "open"] {
        let prefix = unique("kafka:");
        let engines = shared.on_kafka(&prefix);
        let engines = [&engines[..], &[("CHATCTL_KAFKA_READ", reading)]].concat();
        let (busy, other) =
            (Server::start_with(&engines).await, Server::start_with(&engines).await);
        let mut reader = other.connect(&unique("reader")).await;
        for _ in 0..OPEN {
            reader.open_channel(&unique("channel")).await;
        }
        tokio::time::sleep(TOLD).await;
        let cost = async |server: &Server| {
            let read = server.counter("chatctl_kafka_hints_read_total").await;
            (read, server.counter("chatctl_process_cpu_seconds_total").await)
        };
        let (read, cpu) = cost(&other).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let idle = (cost(&other).await.1 - cpu) / 5.0;
        let (_, cpu) = cost(&other).await;
        let (appended, begun) =
            (busy.counter("chatctl_messages_appended_total").await, Instant::now());
        let out = tempfile::tempdir().unwrap();
        let output =
            chatctl(&["bench", "paired-clients", "--clients", "512", "--duration", "4s", "--json"])
                .args(["--url", &format!("ws://{}/v1/ws", busy.address()), "--out"])
                .arg(out.path())
                .output()
                .await
                .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let seconds = begun.elapsed().as_secs_f64();
        let messages = busy.counter("chatctl_messages_appended_total").await - appended;
        let (read_after, cpu_after) = cost(&other).await;
        let (read, cpu) = (read_after - read, cpu_after - cpu - idle * seconds);
        let model =
            if reading == "all" { 1.0 } else { 1.0 - (1.0 - 1.0 / PARTS).powi(OPEN as i32 + 1) };
        println!(
            "reading {reading}, {OPEN} conversations open of {PARTS} parts: {messages} messages in 256 conversations in {seconds:.1} s, hints read {read}: {:.3} of them, model {model:.3}; CPU {:.2} s beside {idle:.4} a second, {:.1} µs a hint",
            read / messages,
            cpu,
            cpu / read.max(1.0) * 1e6
        );
        assert!(messages > 1_000.0, "{messages}");
    }
}
