//! The REDIS engine from outside, over a Redis of the test's own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chatctl::services::free_port;
use serde_json::{Value, json};

use crate::support::services::redis_program;
use crate::support::{Server, unique};

/// A node asks its server again what it is every 10 s.
const ASKED_AGAIN: Duration = Duration::from_secs(15);

/// A Redis that syncs each write; killed when dropped.
pub struct Redis {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Redis {
    /// `None`: there is none on this machine, which CI does not accept.
    pub async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let program = redis_program(folder.path(), "the REDIS engine").await?;
        let port = free_port(&[std::net::Ipv4Addr::LOCALHOST.into()], None).unwrap();
        let process = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { process, port, _folder: folder })
    }

    /// What servers are told to use it.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS".to_owned()),
            ("REDIS_URL", format!("redis://127.0.0.1:{}", self.port)),
            ("CHATCTL_REQUIRE_DURABILITY", "disk".to_owned()),
        ]
    }

    pub fn command(&self, words: &[&str]) {
        let url = format!("redis://127.0.0.1:{}", self.port);
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        redis::cmd(words[0]).arg(&words[1..]).exec(&mut connection).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Until `/readyz` names a reason; the status that it came with.
async fn reason(server: &Server, code: &str) -> u16 {
    let begun = Instant::now();
    loop {
        let (status, body) = server.admin_get("/readyz").await;
        if body.contains(&format!("\"code\":\"{code}\"")) {
            return status;
        }
        assert!(begun.elapsed() < ASKED_AGAIN, "{code} is not told: {body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_emptied_store_resets_open_conversations_and_continues_none() {
    let Some(redis) = Redis::start().await else { return };
    let variables = redis.variables();
    let variables = variables.each_ref().map(|(key, value)| (*key, value.as_str()));
    let server = Server::start_with(&variables).await;
    let (ann_name, room) = (unique("ann"), unique("room"));
    let mut ann = server.connect(&ann_name).await;
    let mut bob = server.connect(&unique("bob")).await;
    let opened = ann.open_channel(&room).await;
    let conv = opened["conv"].clone();
    bob.open_channel(&room).await;
    for cid in ["c1", "c2", "c3"] {
        ann.send(&conv, cid, None).await;
    }
    redis.command(&["FLUSHALL"]);
    // Nobody sends anything: the heartbeat finds it.
    for peer in [&mut ann, &mut bob] {
        let reset = peer.push("reset").await;
        assert_eq!(reset["conv"], conv);
        assert_ne!(reset["epoch"], opened["epoch"]);
    }
    assert_eq!(reason(&server, "engine_lost_data").await, 200, "it works, but it is said");
    let old = json!({"epoch": opened["epoch"], "seq": 2});
    let again = ann.ok("open", json!({"to": {"channel": room}, "resume": old})).await;
    assert_eq!(again["recovered"], json!(false), "no stream goes on under the old epoch: {again}");
    assert_eq!(again["head"], 0);
    bob.open_channel(&room).await;
    assert_eq!(ann.send(&conv, "c4", None).await["seq"], 1, "numbers begin anew");
    let pushed: Value = bob.push("msg").await;
    assert_eq!(pushed["seq"], 1);
}

#[tokio::test]
async fn a_class_that_falls_while_a_node_runs_makes_it_not_ready() {
    let Some(redis) = Redis::start().await else { return };
    let variables = redis.variables();
    let variables = variables.each_ref().map(|(key, value)| (*key, value.as_str()));
    let server = Server::start_with(&variables).await;
    assert_eq!(server.admin_get("/readyz").await.0, 200);
    redis.command(&["CONFIG", "SET", "appendfsync", "everysec"]);
    assert_eq!(reason(&server, "durability").await, 503);
    redis.command(&["CONFIG", "SET", "appendfsync", "always"]);
    let begun = Instant::now();
    while server.admin_get("/readyz").await.0 != 200 {
        assert!(begun.elapsed() < ASKED_AGAIN, "ready again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Acknowledged messages a second through sockets, beside what `redis-benchmark` gets out of the same script on the same server at the
/// same concurrency: `cargo test --release --test integration through_sockets -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for a minute"]
async fn writes_through_sockets_beside_the_benchmark() {
    const CONCURRENCY: &str = "64";
    const CONTENT_BYTES: usize = 200;
    const APPEND: &str = concat!(
        include_str!("../../src/persistence/redis/scripts/conversation.lua"),
        include_str!("../../src/persistence/redis/scripts/append.lua")
    );
    for sync in ["no", "always"] {
        let Some(redis) = Redis::start().await else { return };
        // It has just been started.
        tokio::time::sleep(Duration::from_millis(500)).await;
        redis.command(&["CONFIG", "SET", "appendfsync", sync]);
        let url = format!("redis://127.0.0.1:{}", redis.port);
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let sha: String =
            redis::cmd("SCRIPT").arg("LOAD").arg(APPEND).query(&mut connection).unwrap();
        let mut head = || -> u64 {
            let head: Option<u64> =
                redis::cmd("HGET").arg("{base}:h").arg("head").query(&mut connection).unwrap();
            head.unwrap_or_default()
        };
        let mut base = || {
            const REQUESTS: u64 = 60_000;
            let before = head();
            let keys = ["h", "m", "t", "l", "c", "a"].map(|part| format!("{{base}}:{part}"));
            let text = format!("ann __rand_int__ text {}", "x".repeat(CONTENT_BYTES));
            let output = Command::new("redis-benchmark")
                .args(["-p", &redis.port.to_string(), "-c", CONCURRENCY, "-q"])
                .args(["-r", &i32::MAX.to_string(), "-n", &REQUESTS.to_string()])
                .args(["EVALSHA", &sha, "6"])
                .args(keys)
                .args(["1", "ann __rand_int__", "300", &text, "1700000000000", "10000", "ann"])
                .output()
                .expect("redis-benchmark comes with the server");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let stored = head() - before;
            assert!(stored * 1_000 > REQUESTS * 999, "{stored} of {REQUESTS} stored: {text}");
            let (rate, _) = text.rsplit_once(" requests per second").expect("a rate");
            rate.rsplit(' ').next().and_then(|rate| rate.parse::<f64>().ok()).expect("a number")
        };
        for (clients, in_flight) in [("128", "1"), ("16", "8")] {
            // Of a pair one sends at a time: 64 messages are in flight.
            let before = base();
            let results = tempfile::tempdir().unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_chatctl"))
                .args(["bench", "paired-clients", "--json", "--duration", "6s"])
                .args(["--clients", clients, "--in-flight", in_flight, "--chunk", "1000"])
                .args(["--size", &CONTENT_BYTES.to_string(), "--late-ratio", "0", "--out"])
                .arg(results.path())
                .args(
                    redis
                        .variables()
                        .into_iter()
                        .filter(|(key, _)| *key != "CHATCTL_REQUIRE_DURABILITY")
                        .flat_map(|(key, value)| {
                            ["--server-env".to_owned(), format!("{key}={value}")]
                        }),
                )
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{error}");
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            let rate = report["rates"]["messages_per_s"].as_f64().expect("a rate");
            let base = f64::midpoint(before, base());
            println!(
                "appendfsync {sync}, {clients} clients with {in_flight} in flight: {rate:.0}/s ÷ {base:.0}/s = {:.2}",
                rate / base
            );
        }
    }
}
