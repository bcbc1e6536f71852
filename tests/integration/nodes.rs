//! Two nodes on one Redis: what one stores the other tells.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, Server, unique};

/// A Redis of our own, ended with the test.
struct Redis {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    /// `None` where it is not installed, which CI does not accept.
    fn start() -> Option<Self> {
        let asked = std::env::var("CHATCTL_TEST_REDIS_SERVER");
        let program = asked.unwrap_or_else(|_| "redis-server".to_owned());
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let started = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"])
            .arg(folder.path())
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            assert!(std::env::var_os("CI").is_none(), "redis-server is not installed");
            println!("SKIPPED: redis-server is not installed; set CHATCTL_TEST_REDIS_SERVER");
            return None;
        };
        let redis = Self { process, port, _folder: folder };
        let begun = Instant::now();
        while redis.try_command(&["PING"]).is_none() {
            assert!(begun.elapsed() < PATIENCE, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(redis)
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn try_command(&self, words: &[&str]) -> Option<redis::Value> {
        let mut connection = redis::Client::open(self.url()).ok()?.get_connection().ok()?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).ok()
    }

    /// A node whose engines are all here that can be.
    async fn node(&self) -> Server {
        Server::start_with(&[
            ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
            ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
            ("REDIS_URL", &self.url()),
        ])
        .await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn clients_of_two_nodes_chat_as_if_on_one() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (redis.node().await, redis.node().await);
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let mut ann = one.connect(&ann_name).await;
    let mut bob = other.connect(&bob_name).await;
    let conv = ann.open_user(&bob_name).await["conv"].clone();

    ann.send(&conv, "a1", Some(5_000)).await;
    let listed = json!({"conv": conv, "to": {"user": ann_name}, "head": 1});
    assert_eq!(bob.push("listed").await, listed, "told on the other node, not open there");
    let page = bob.open_user(&ann_name).await;
    assert_eq!((&page["conv"], &page["head"], &page["unread"]), (&conv, &json!(1), &json!(1)));
    let epoch = page["epoch"].clone();

    bob.send(&conv, "b1", Some(4_000)).await;
    for peer in [&mut ann, &mut bob] {
        let mut pushed = peer.push("msg").await;
        if pushed["seq"] == 1 {
            pushed = peer.push("msg").await;
        }
        assert_eq!((&pushed["cid"], &pushed["seq"]), (&json!("b1"), &json!(2)));
        assert_eq!(pushed["late"], true, "below the highest time, which the other node took");
    }
    bob.ok("ack", json!({"conv": conv, "up_to": 1})).await;
    let read = json!({"conv": conv, "user": bob_name, "up_to": 1});
    assert_eq!(ann.push("acked").await, read);

    bob.cut().await;
    ann.send(&conv, "a2", None).await;
    let mut bob = one.connect(&bob_name).await;
    let resume = json!({"to": {"user": ann_name}, "resume": {"epoch": epoch, "seq": 2}});
    let resumed = bob.ok("open", resume).await;
    assert_eq!(resumed["recovered"], true, "on the other node");
    assert_eq!(resumed["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_bus_that_is_cut_again_and_again_hides_no_message() {
    const MESSAGES: u64 = 600;
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (redis.node().await, redis.node().await);
    let channel = unique("channel");
    let mut writer = one.connect(&unique("writer")).await;
    let mut reader = other.connect(&unique("reader")).await;
    let conv: Value = writer.open_channel(&channel).await["conv"].clone();
    reader.open_channel(&channel).await;
    let reading = tokio::spawn(async move {
        for expected in 1..=MESSAGES {
            let pushed = reader.push("msg").await;
            assert_eq!(pushed["seq"], expected, "each once, in order");
        }
        reader
    });
    for number in 1..=MESSAGES {
        // The last cut has nothing after it that would show the gap.
        if number % 150 == 0 {
            redis.try_command(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
        }
        writer.send(&conv, &format!("c{number}"), None).await;
    }
    let mut reader = reading.await.unwrap();
    assert_eq!(reader.pushes_so_far("msg").await, Vec::<Value>::new());
    assert!(other.counter("chatctl_hint_gaps_total").await >= 1.0);
}

#[tokio::test]
async fn a_node_without_its_bus_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = Server::command(&folder.path().join("data"))
        .env("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS")
        .env("REDIS_URL", format!("redis://:hidden@127.0.0.1:{free}"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output();
    let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(text.contains("distribution engine") && text.contains("REDIS_URL"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
}
