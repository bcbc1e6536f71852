//! Redis by TLS, and by a user that may do what docs/guides/operating.md lists and nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chatctl::services::free_port;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::support::certificates::Authority;
use crate::support::services::{init_env, redis_program};
use crate::support::tokens::{SECRET, connect, token};
use crate::support::{PATIENCE, Server, chatctl, unique};

const PASSWORD: &str = "cAnArY-5k-of-a-user";
const ROOT_PASSWORD: &str = "cAnArY-5k-of-root";

/// A Redis whose default user is off; killed when dropped.
struct Redis {
    process: Child,
    tls_port: u16,
    root: redis::Connection,
    authority: Authority,
    _folder: tempfile::TempDir,
}

impl Redis {
    /// `None`: there is none on this machine, which CI does not accept.
    async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let program = redis_program(folder.path(), "Redis by TLS").await?;
        let authority = Authority::new();
        let [certificate, key] = authority.issue_here().write(folder.path());
        let loopback = [std::net::Ipv4Addr::LOCALHOST.into()];
        let port = free_port(&loopback, None).unwrap();
        let tls_port = loop {
            let other = free_port(&loopback, None).unwrap();
            if other != port {
                break other;
            }
        };
        let process = Command::new(program)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
            .args(["--port", &port.to_string(), "--tls-port", &tls_port.to_string()])
            .arg("--tls-cert-file")
            .arg(certificate)
            .arg("--tls-key-file")
            .arg(key)
            .arg("--tls-ca-cert-file")
            .arg(authority.file())
            .args(["--tls-auth-clients", "no", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("redis://127.0.0.1:{port}");
        let begun = Instant::now();
        let mut root = loop {
            match redis::Client::open(url.as_str()).unwrap().get_connection() {
                Ok(connection) => break connection,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
            sleep(Duration::from_millis(50)).await;
        };
        let word = format!(">{ROOT_PASSWORD}");
        for line in [
            &["ACL", "SETUSER", "root", "on", &word, "~*", "&*", "+@all"][..],
            &["AUTH", "root", ROOT_PASSWORD],
            &["ACL", "SETUSER", "default", "off"],
        ] {
            redis::cmd(line[0]).arg(&line[1..]).exec(&mut root).unwrap();
        }
        Some(Self { process, tls_port, root, authority, _folder: folder })
    }

    fn root(&mut self, words: &[&str]) -> redis::Value {
        redis::cmd(words[0]).arg(&words[1..]).query(&mut self.root).unwrap()
    }

    fn url(&self, user: &str, password: &str) -> String {
        format!("rediss://{user}:{password}@localhost:{}", self.tls_port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The line of the guide, word by word, with this password.
fn documented() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides/operating.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let line = guide.lines().find(|line| line.starts_with("ACL SETUSER chatctl ")).unwrap();
    line.split_whitespace().map(|word| word.replace("PASSWORD", PASSWORD)).collect()
}

/// Variables of a node that uses Redis for everything.
fn everything<'a>(url: &'a str, ca: &'a str) -> [(&'static str, &'a str); 7] {
    [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
        ("REDIS_URL", url),
        ("CHATCTL_REDIS_TLS_CA", ca),
        ("CHATCTL_AUTH_SECRET", SECRET),
        ("CHATCTL_LEASE_MS", "1000"),
    ]
}

#[tokio::test]
async fn the_documented_user_suffices_and_has_nothing_to_spare() {
    let Some(mut redis) = Redis::start().await else { return };
    let line = documented();
    let words: Vec<_> = line.iter().map(String::as_str).collect();
    redis.root(&words);
    redis.root(&["CONFIG", "RESETSTAT"]);
    let (url, ca) = (redis.url("chatctl", PASSWORD), redis.authority.file());
    let variables = everything(&url, ca.to_str().unwrap());
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Server::start_with(&variables).await);
    }

    // Direct chats and channels, late and repeated, read in every way, over two nodes.
    let out = tempfile::tempdir().unwrap();
    let run = ["check", "validity", "--clients", "6", "--messages", "150", "--json"];
    let urls = ["--url", &nodes[0].url, "--url", &nodes[1].url];
    let check = chatctl(&[&run[..], &urls].concat())
        .env("CHATCTL_AUTH_SECRET", SECRET)
        .arg("--out")
        .arg(out.path())
        .output();
    let output = timeout(3 * PATIENCE, check).await.expect("ends in time").unwrap();
    let (said, log) = (String::from_utf8_lossy(&output.stdout), redis.root(&["ACL", "LOG"]));
    assert_eq!(output.status.code(), Some(0), "{said} {log:?}");

    // A group; connections that Redis cuts; somebody who is revoked; a node that is killed.
    let names = ["ann", "bob", "eve"].map(unique);
    let tokens = [
        token(&["--user", &names[0]]).await,
        token(&["--user", &names[1]]).await,
        token(&["--user", &names[2]]).await,
    ];
    let mut ann = connect(&nodes[0], &tokens[0]).await;
    let mut bob = connect(&nodes[1], &tokens[1]).await;
    let _eve = connect(&nodes[2], &tokens[2]).await;
    let group = ann.ok("create", json!({})).await["group"].clone();
    let conv = ann.ok("open", json!({"to": {"group": group}})).await["conv"].clone();
    ann.ok("invite", json!({"conv": conv, "user": names[1]})).await;
    ann.ok("invite", json!({"conv": conv, "user": names[2]})).await;
    bob.ok("open", json!({"to": {"group": group}})).await;
    bob.send(&conv, "c1", None).await;
    ann.ok("remove", json!({"conv": conv, "user": names[2]})).await;
    bob.ok("quit", json!({"conv": conv})).await;
    // Whether somebody is there is asked about a direct chat that both have opened.
    ann.ok("open", json!({"to": {"user": names[1]}})).await;
    bob.ok("open", json!({"to": {"user": names[0]}})).await;
    redis.root(&["CLIENT", "KILL", "TYPE", "normal"]);
    redis.root(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let begun = Instant::now();
    while ann.call("send", json!({"conv": conv, "cid": "c2", "type": "text", "content": "x"})).await
        ["send"]
        .is_null()
    {
        assert!(begun.elapsed() < PATIENCE, "Redis is reached again");
    }
    ann.ok("list", json!({})).await;
    let begun = Instant::now();
    loop {
        let revoke = chatctl(&["revoke", "--user", &names[1]])
            .env("CHATCTL_ADMIN_LISTEN", nodes[0].admin())
            .output();
        let output = revoke.await.unwrap();
        if output.status.success() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{output:?}");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(bob.close_code().await, 4503);
    nodes[2].kill().await;
    sleep(Duration::from_millis(2_500)).await;
    let late = Server::start_with(&variables).await;
    connect(&late, &tokens[0]).await.ok("list", json!({})).await;
    drop((late, nodes));

    let log = redis.root(&["ACL", "LOG"]);
    assert!(matches!(&log, redis::Value::Array(entries) if entries.is_empty()), "{log:?}");
    let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut redis.root).unwrap();
    // What everybody may, and what only this test asked for.
    let free = ["acl", "auth", "hello", "reset", "quit", "config|resetstat"];
    let used: BTreeSet<String> = stats
        .lines()
        .filter_map(|line| Some(line.strip_prefix("cmdstat_")?.split_once(':')?.0.to_lowercase()))
        .filter(|name| !free.iter().any(|free| name.starts_with(free)))
        .map(|name| format!("+{name}"))
        .collect();
    let allowed: BTreeSet<_> = line.into_iter().filter(|word| word.starts_with('+')).collect();
    assert_eq!(allowed, used);
}

#[tokio::test]
async fn what_keeps_a_server_from_redis_is_said() {
    let Some(mut redis) = Redis::start().await else { return };
    let line = documented();
    redis.root(&line.iter().map(String::as_str).collect::<Vec<_>>());
    let ca = redis.authority.file();
    let ca = ca.to_str().unwrap();
    let url = redis.url("chatctl", PASSWORD);
    let wrong = redis.url("chatctl", "cAnArY-5k-of-nobody");
    // Side by side: each start asks for ten seconds.
    let refused = [
        (&wrong, ca, "correct user and password in REDIS_URL"),
        (&url, "", "CHATCTL_REDIS_TLS_CA"),
        (&url, "/nowhere.pem", "CHATCTL_REDIS_TLS_CA=/nowhere.pem"),
    ]
    .map(async |(url, ca, said)| {
        let error = Server::refused(&everything(url, ca)).await;
        assert!(error.contains(said), "{error}");
    });
    futures_util::future::join_all(refused).await;
    // `init-env` looks at it the same way.
    let root = redis.url("root", ROOT_PASSWORD);
    for (ca, is_healthy) in [(ca, true), ("", false)] {
        let folder = tempfile::tempdir().unwrap();
        let mut look = init_env(folder.path());
        look.args(["--mode", "external", "--services", "redis", "--check", "--dir"]);
        look.arg(folder.path().join("env")).env("REDIS_URL", &root).env("CHATCTL_REDIS_TLS_CA", ca);
        let output = look.output().await.unwrap();
        assert_eq!(output.status.success(), is_healthy, "{output:?}");
    }
    // One command less.
    redis.root(&["ACL", "SETUSER", "chatctl", "-evalsha"]);
    let error = Server::refused(&everything(&url, ca)).await;
    assert!(error.contains("ACL SETUSER"), "{error}");
}
