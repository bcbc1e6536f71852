//! Two nodes on one Redis: what one stores the other tells.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::log::{self, CANARY};
use crate::support::{PATIENCE, Peer, Server, unique};

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
        self.node_with(&[]).await
    }

    /// The same, told otherwise.
    async fn node_with(&self, variables: &[(&str, &str)]) -> Server {
        let url = self.url();
        Server::start_with(&[&engines(&url)[..], variables].concat()).await
    }
}

/// All on Redis, and quick to notice an end.
fn engines(url: &str) -> [(&str, &str); 5] {
    [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
        ("CHATCTL_LEASE_MS", "2000"),
        ("REDIS_URL", url),
    ]
}

/// Ends of nodes are noticed, and told, within this beyond a lease.
const NOTICED_MAX: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_millis(2_000);

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
    // Each node that starts makes the others look.
    let gaps = other.counter("chatctl_hint_gaps_total").await;
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
    assert!(other.counter("chatctl_hint_gaps_total").await > gaps);
}

/// A direct chat that both have opened, ann on one node and bob on the other; its id.
async fn mutual(ann: &mut Peer, ann_name: &str, bob: &mut Peer, bob_name: &str) -> Value {
    bob.open_user(ann_name).await;
    let opened = ann.open_user(bob_name).await;
    let conv = opened["conv"].clone();
    ann.send(&conv, "m", None).await;
    bob.push("msg").await;
    bob.send(&conv, "n", None).await;
    while ann.push("msg").await["seq"] != 2 {}
    conv
}

#[tokio::test]
async fn who_comes_and_goes_is_told_on_other_nodes() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (redis.node().await, redis.node().await);
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let mut ann = one.connect(&ann_name).await;
    let mut bob = other.connect(&bob_name).await;
    let conv = mutual(&mut ann, &ann_name, &mut bob, &bob_name).await;
    assert_eq!(ann.open_user(&bob_name).await["online"], true);
    let online = json!({"conv": conv, "user": bob_name, "online": true});
    let offline = json!({"conv": conv, "user": bob_name, "online": false});

    // A second device on the node of the first peer: nothing changes while one is left.
    let mut second = one.connect(&bob_name).await;
    // Answered after the hello has taken effect.
    second.ok("ping", json!({})).await;
    bob.cut().await;
    let mut third = other.connect(&bob_name).await;
    third.ok("ping", json!({})).await;
    second.cut().await;
    third.cut().await;
    assert_eq!(ann.push("presence").await, offline, "and nothing before");
    assert_eq!(ann.open_user(&bob_name).await["online"], false);
    let _bob = other.connect(&bob_name).await;
    assert_eq!(ann.push("presence").await, online);
}

#[tokio::test]
async fn whoever_opened_first_is_told_on_another_node_when_the_other_user_comes() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (redis.node().await, redis.node().await);
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let mut ann = one.connect(&ann_name).await;
    let opened = ann.open_user(&bob_name).await;
    assert!(opened.get("online").is_none(), "bob has not opened it: ann learns nothing of him");
    let presence =
        |online: bool| json!({"conv": opened["conv"], "user": bob_name, "online": online});

    let mut bob = other.connect(&bob_name).await;
    assert_eq!(bob.open_user(&ann_name).await["online"], true);
    assert_eq!(ann.push("presence").await, presence(true));
    bob.cut().await;
    assert_eq!(ann.push("presence").await, presence(false));
    let _bob = other.connect(&bob_name).await;
    assert_eq!(ann.push("presence").await, presence(true));
}

#[tokio::test]
async fn users_of_a_killed_node_go_within_its_lease_and_of_a_restarted_one_at_once() {
    let Some(redis) = Redis::start() else { return };
    let one = redis.node().await;
    // Long, so that only the restart can be what ends it.
    let mut slow = redis.node_with(&[("CHATCTL_LEASE_MS", "60000")]).await;
    let mut quick = redis.node().await;
    let (ann_name, bob_name, cat_name) = (unique("ann"), unique("bob"), unique("cat"));
    let mut ann = one.connect(&ann_name).await;
    let mut bob = slow.connect(&bob_name).await;
    let mut cat = quick.connect(&cat_name).await;
    let of_bob = mutual(&mut ann, &ann_name, &mut bob, &bob_name).await;
    let of_cat = mutual(&mut ann, &ann_name, &mut cat, &cat_name).await;

    quick.kill().await;
    let killed = Instant::now();
    let offline = json!({"conv": of_cat, "user": cat_name, "online": false});
    assert_eq!(ann.push("presence").await, offline);
    assert!(killed.elapsed() < LEASE + NOTICED_MAX, "{:?}", killed.elapsed());
    assert_eq!(ann.open_user(&cat_name).await["online"], false);

    slow.kill().await;
    slow.restart().await;
    let restarted = Instant::now();
    let offline = json!({"conv": of_bob, "user": bob_name, "online": false});
    assert_eq!(ann.push("presence").await, offline);
    assert!(restarted.elapsed() < NOTICED_MAX, "{:?}", restarted.elapsed());
    let _bob = slow.connect(&bob_name).await;
    let online = json!({"conv": of_bob, "user": bob_name, "online": true});
    assert_eq!(ann.push("presence").await, online);
}

#[tokio::test]
async fn engines_of_one_node_run_on_one_node() {
    let Some(redis) = Redis::start() else { return };
    let url = redis.url();
    let alone = ("WS_CONN_PERSISTENCE_ENGINE", "LOCAL");
    let mut first = redis.node_with(&[alone]).await;
    let with = |more: &[(&'static str, &'static str)]| [&engines(&url)[..], more].concat();
    let text = Server::refused(&with(&[alone])).await;
    assert!(
        text.contains("WS_CONN_PERSISTENCE_ENGINE=LOCAL") && text.contains("only one"),
        "{text}"
    );
    let text = Server::refused(&with(&[])).await;
    assert!(text.contains("WS_CONN_PERSISTENCE_ENGINE=LOCAL"), "one of many, too: {text}");

    // Killed and started again it is not in its own way, however long its lease.
    first.kill().await;
    let begun = Instant::now();
    first.restart().await;
    assert!(begun.elapsed() < LEASE, "{:?}", begun.elapsed());
    first.kill().await;

    // Another one waits for the lease.
    let many = redis.node().await;
    let bus = ("WS_MESSAGE_DISTRIBUTION_ENGINE", "LOCAL");
    let text = Server::refused(&with(&[bus])).await;
    assert!(text.contains("WS_MESSAGE_DISTRIBUTION_ENGINE=LOCAL"), "{text}");
    let messages = ("WS_MESSAGE_PERSISTENCE_ENGINE", "LOCAL");
    let text = Server::refused(&with(&[messages])).await;
    assert!(text.contains("WS_MESSAGE_PERSISTENCE_ENGINE=LOCAL"), "{text}");
    drop(many);
    let elsewhere = redis.node_with(&[alone, ("CHATCTL_REDIS_PREFIX", "another:")]).await;
    elsewhere.connect(&unique("ann")).await;
}

#[tokio::test]
async fn the_only_node_ends_when_another_came_in_while_it_was_away() {
    let Some(redis) = Redis::start() else { return };
    let alone = [("WS_CONN_PERSISTENCE_ENGINE", "LOCAL")];
    let mut first = redis.node_with(&alone).await;
    first.signal(rustix::process::Signal::STOP);
    let second = redis.node_with(&alone).await;
    first.signal(rustix::process::Signal::CONT);
    assert_eq!(first.wait_for_end().await, Some(1));
    second.connect(&unique("ann")).await;
}

#[tokio::test]
async fn a_node_without_its_bus_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = Server::command(&folder.path().join("data"))
        .env("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS")
        .env("REDIS_URL", format!("redis://:{CANARY}@127.0.0.1:{free}"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output();
    let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(text.contains("REDIS_URL"), "{text}");
    log::check(&output.stderr);
}
