//! Nothing that is a client's or a secret is in a log, however much is logged: all that a client can do, done with marked texts, secrets
//! and tokens, on every engine. The logs of all other tests are searched as well (`support/log.rs`).

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::log::{CANARY, leak};
use crate::support::services::SharedServices;
use crate::support::tokens::{SECRET, connect, refused, token};
use crate::support::{Peer, Server, chatctl, message, unique};

/// Everything that a log could have: our own code's lines and those of libraries.
const LOUD: [(&str, &str); 6] = [
    ("CHATCTL_LOG", "trace"),
    ("CHATCTL_AUTH_SECRET", SECRET),
    ("CHATCTL_ADMIN_TOKEN", "cAnArY-5k-for-operators-only"),
    ("CHATCTL_MESSAGES_PER_S_MAX", "2"),
    ("CHATCTL_DRAIN_MS", "1000"),
    ("CHATCTL_LEASE_MS", "1000"),
];

/// A user, and a token for it.
async fn user(name: &str) -> (String, String) {
    let name = unique(name);
    let token = token(&["--user", &name]).await;
    (name, token)
}

/// All that a client can do, and can do wrong.
async fn everything(server: &mut Server) {
    let ((ann_name, ann_token), (bob_name, bob_token)) = (user("ann").await, user("bob").await);
    let mut ann = connect(server, &ann_token).await;
    let mut bob = connect(server, &bob_token).await;
    let conv = ann.open_user(&bob_name).await["conv"].clone();
    bob.open_user(&ann_name).await;
    ann.send(&conv, "c1", Some(2_000)).await;
    ann.send(&conv, "c2", Some(1_000)).await;
    assert_eq!(bob.push("msg").await["cid"], "c1");
    ann.send(&conv, "c1", None).await;
    let mut other = message(&conv, "c1", None);
    other["content"] = json!(format!("{CANARY} otherwise"));
    assert_eq!(ann.error("send", other).await["code"], "conflict");
    let future = message(&conv, "c9", Some(9_000_000_000_000));
    assert_eq!(ann.error("send", future).await["code"], "ts_in_future");
    let mut large = message(&conv, "c8", None);
    large["content"] = json!(CANARY.repeat(2_000));
    assert_eq!(ann.error("send", large).await["code"], "invalid_field");
    for read in [json!({"conv": conv}), json!({"conv": conv, "late": true})] {
        assert!(!bob.ok("read", read).await["items"].as_array().unwrap().is_empty());
    }
    bob.ok("read", json!({"conv": conv, "after_seq": 0})).await;
    bob.ok("ack", json!({"conv": conv, "ranges": [[2, 3]]})).await;
    bob.ok("list", json!({})).await;
    assert_eq!(bob.error("read", json!({"conv": CANARY})).await["code"], "not_found");
    let cursor = json!({"conv": conv, "cursor": CANARY});
    assert_eq!(bob.error("read", cursor).await["code"], "bad_cursor");

    let group = bob.ok("create", json!({})).await["group"].clone();
    let grouped = bob.ok("open", json!({"to": {"group": group}})).await["conv"].clone();
    bob.ok("invite", json!({"conv": grouped, "user": ann_name})).await;
    bob.send(&grouped, "g1", None).await;
    bob.ok("remove", json!({"conv": grouped, "user": ann_name})).await;
    bob.ok("refresh", json!({"token": token(&["--user", &bob_name]).await})).await;

    // Above the rate: told to come again.
    let mut limited = false;
    for number in 0..40 {
        let reply = ann.call("send", message(&conv, &format!("r{number}"), None)).await;
        limited |= reply["error"]["code"] == "rate_limited";
    }
    assert!(limited, "nothing was refused");
    bad_frames(server, &bob_token).await;
    bad_tokens(server, &bob_token).await;

    let revoked = chatctl(&["revoke", "--user", &bob_name, "--admin", server.admin()])
        .env(LOUD[2].0, LOUD[2].1)
        .output();
    assert!(revoked.await.unwrap().status.success());
    assert_eq!(bob.close_code().await, 4503);
    assert_eq!(server.admin_get("/metrics").await.0, 200);
    let shown = format!("Authorization: Bearer {bob_token}\r\nCookie: {CANARY}\r\n");
    assert_eq!(server.get("/nowhere", &shown).await.0, 404);

    server.signal(Signal::TERM);
    assert_eq!(ann.close_code().await, 4001);
    assert_eq!(server.wait_for_end().await, Some(0));
}

/// What is no frame, no command or no text, each with something that is nobody's to read.
async fn bad_frames(server: &Server, token: &str) {
    let mut peer = connect(server, token).await;
    for text in [
        format!("{{\"id\":2,\"send\":{{\"content\":\"{CANARY}\""),
        format!("{{\"id\":3,\"{CANARY}\":{{}}}}"),
        format!("{{\"id\":\"{CANARY}\",\"ping\":{{}}}}"),
        format!("{{\"id\":4,\"open\":{{\"to\":{{\"user\":\"{CANARY} \"}}}}}}"),
        format!("[\"{CANARY}\"]"),
    ] {
        peer.write_text(&text).await;
        assert!(peer.frame().await.unwrap()["error"]["code"].is_string());
    }
    peer.write(Message::binary(CANARY)).await;
    assert_eq!(peer.close_code().await, 1003);
    let mut peer = Peer::silent(&server.url).await;
    peer.write_text(&format!("{{\"id\":1,\"open\":{{\"to\":{{\"user\":\"{CANARY}\"}}}}}}")).await;
    assert_eq!(peer.close_code().await, 4500);
}

/// Tokens that are refused: altered, over, and none at all.
async fn bad_tokens(server: &Server, good: &str) {
    let over = token(&["--user", "ann", "--ttl", "1s"]).await;
    let (head, signature) = good.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    for wrong in [format!("{head}.{first}{}", &signature[1..]), head.to_owned(), CANARY.to_owned()]
    {
        assert_eq!(refused(server, &wrong).await["code"], "bad_token", "{wrong}");
    }
    // The leeway of clocks is part of it.
    tokio::time::sleep(Duration::from_millis(5_200)).await;
    assert_eq!(refused(server, &over).await["code"], "token_expired");
}

/// Whether all was logged from the start to the drain, a line of `line` with it: a log that says nothing proves nothing.
fn is_loud(log: &str, line: &str) {
    for part in ["serving", line, "draining"] {
        assert!(log.contains(part), "{part:?} is not in {log}");
    }
    assert_eq!(leak(log), None);
}

#[tokio::test]
async fn a_log_at_trace_shows_nothing_that_is_a_clients_or_a_secret() {
    let mut server = Server::start_with(&LOUD).await;
    everything(&mut server).await;
    is_loud(&server.log(), "DEBUG");
}

/// A user of the shared Redis with a password that is marked, gone with the test.
struct RedisUser {
    root: redis::Connection,
    name: String,
    url: String,
}

impl RedisUser {
    fn new(shared: &SharedServices) -> Self {
        let address = shared.variable("REDIS_URL").strip_prefix("redis://").unwrap();
        let root = redis::Client::open(format!("redis://{address}")).unwrap();
        let (mut root, name) = (root.get_connection().unwrap(), unique("canary"));
        let password = format!(">{CANARY}");
        let rights = ["ACL", "SETUSER", &name, "on", &password, "~*", "&*", "+@all"];
        redis::cmd(rights[0]).arg(&rights[1..]).exec(&mut root).unwrap();
        let url = format!("redis://{name}:{CANARY}@{address}");
        Self { root, name, url }
    }
}

impl Drop for RedisUser {
    fn drop(&mut self) {
        let _ = redis::cmd("ACL").arg(&["DELUSER", &self.name]).exec(&mut self.root);
    }
}

#[tokio::test]
async fn nor_with_redis_by_password() {
    let Some(shared) = SharedServices::find().await else { return };
    let (user, prefix) = (RedisUser::new(shared), unique("canary:"));
    let engines = [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
        ("REDIS_URL", &user.url),
        ("CHATCTL_REDIS_PREFIX", &prefix),
    ];
    let variables = [&LOUD[..], &engines].concat();
    let mut server = Server::start_with(&variables).await;
    everything(&mut server).await;
    is_loud(&server.log(), "DEBUG");
    let wrong = user.url.replace(CANARY, "cAnArY-5k-of-nobody");
    let refused = Server::refused(&[&variables[..], &[("REDIS_URL", &wrong)]].concat()).await;
    assert!(refused.contains("REDIS_URL"), "{refused}");
}

#[tokio::test]
async fn nor_with_cassandra_by_password_and_kafka() {
    let Some(shared) = SharedServices::find().await else { return };
    let _alone = shared.keyspace().await;
    let (user, prefix) = (RedisUser::new(shared), unique("canary:"));
    let engines = [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "CASSANDRA"),
        ("CASSANDRA_HOSTS", shared.variable("CASSANDRA_HOSTS")),
        ("CHATCTL_CASSANDRA_USER", "canary"),
        ("CHATCTL_CASSANDRA_PASSWORD", "cAnArY-5k-of-cassandra"),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "KAFKA"),
        ("KAFKA_BROKERS", shared.variable("KAFKA_BROKERS")),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
        ("REDIS_URL", &user.url),
        ("CHATCTL_REDIS_PREFIX", &prefix),
    ];
    // The driver's own lines are left out unless they are asked for.
    let loud = [("CHATCTL_LOG", "trace,scylla=trace")];
    let mut server = Server::start_with(&[&LOUD[..], &engines, &loud].concat()).await;
    everything(&mut server).await;
    is_loud(&server.log(), "TRACE");
}

#[tokio::test]
#[should_panic(expected = "a log shows what is nobody's to read: cAnArY-5k is here")]
async fn a_server_that_logs_a_canary_fails_its_test() {
    let server = Server::start_after("echo cAnArY-5k is here >&2", &[]).await;
    server.connect(&unique("ann")).await;
}

#[tokio::test]
#[should_panic(expected = "a log shows what is nobody's to read")]
async fn a_refusal_that_shows_a_canary_fails_its_test() {
    // Not secret, so that it is shown.
    Server::refused(&[("CHATCTL_LISTEN", CANARY)]).await;
}

/// Who runs servers through `bench` and `check` is told, too.
#[tokio::test]
async fn a_harness_searches_the_logs_of_its_own_servers() {
    let out = tempfile::tempdir().unwrap();
    let run =
        chatctl(&["check", "validity", "--clients", "4", "--messages", "60", "--json", "--out"])
            .arg(out.path())
            .args(["--server-env", "CHATCTL_LOG=trace"])
            .output();
    let run = run.await.unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    let verdict: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!((&verdict["outcome"], run.status.code()), (&json!("valid"), Some(0)), "{said}");
}
