//! Redis behind sentinels: nodes find the primary, follow a failover, and say what it cost. Servers of a cluster are refused.

use std::time::{Duration, Instant};

use chatctl::services::free_ports;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::support::redis::{Process, connection, opened, reopened, sent, until};
use crate::support::services::redis_program;
use crate::support::{PATIENCE, Server, chatctl, unique};

const PASSWORD: &str = "a-password";
const SENTINEL_PASSWORD: &str = "another-password";

/// A primary, its replica, and three sentinels, each of which asks for a password.
struct Watched {
    servers: Vec<(Process, u16)>,
    sentinels: String,
    _processes: Vec<Process>,
    _folder: tempfile::TempDir,
}

impl Watched {
    /// `None`: there is no Redis on this machine, which CI does not accept.
    async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let program = redis_program(folder.path(), "Redis behind sentinels").await?;
        let ports = free_ports(&[std::net::Ipv4Addr::LOCALHOST.into()], 5).unwrap();
        let mut servers = Vec::new();
        for &port in &ports[..2] {
            let dir = folder.path().join(port.to_string());
            std::fs::create_dir(&dir).unwrap();
            let text = port.to_string();
            let mut arguments = vec!["--port", &text, "--dir", dir.to_str().unwrap()];
            arguments.extend(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
            arguments.extend(["--appendfsync", "always", "--repl-diskless-sync-delay", "0"]);
            arguments.extend(["--requirepass", PASSWORD, "--masterauth", PASSWORD]);
            let primary = format!("127.0.0.1 {}", ports[0]);
            if port != ports[0] {
                arguments.extend(["--replicaof", &primary]);
            }
            servers.push((Process::start(&program, &arguments), port));
        }
        let mut sentinels = Vec::new();
        for port in &ports[2..] {
            let file = folder.path().join(format!("sentinel-{port}.conf"));
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nrequirepass {SENTINEL_PASSWORD}\n\
                 sentinel sentinel-pass {SENTINEL_PASSWORD}\n\
                 sentinel monitor mymaster 127.0.0.1 {} 2\nsentinel auth-pass mymaster {PASSWORD}\n\
                 sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n",
                folder.path().display(),
                ports[0],
            );
            std::fs::write(&file, text).unwrap();
            sentinels.push(Process::start(&program, &[file.to_str().unwrap(), "--sentinel"]));
        }
        let named: Vec<_> = ports[2..].iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let sentinels = (named.join(","), sentinels);
        let watched =
            Self { servers, sentinels: sentinels.0, _processes: sentinels.1, _folder: folder };
        watched.wait_until_whole(&named).await;
        Some(watched)
    }

    /// All sentinels know each other and the replica, which follows.
    async fn wait_until_whole(&self, sentinels: &[String]) {
        let is_whole = |address: &String| -> redis::RedisResult<bool> {
            let mut sentinel = connection(&format!("redis://:{SENTINEL_PASSWORD}@{address}"))?;
            let ask = |what: &str| redis::cmd("SENTINEL").arg(what).arg("mymaster").to_owned();
            let others: Vec<redis::Value> = ask("SENTINELS").query(&mut sentinel)?;
            let replicas: Vec<std::collections::HashMap<String, String>> =
                ask("REPLICAS").query(&mut sentinel)?;
            let follows = |replica: &std::collections::HashMap<String, String>| {
                replica["master-link-status"] == "ok" && replica["flags"] == "slave"
            };
            Ok(others.len() == 2 && replicas.len() == 1 && replicas.iter().all(follows))
        };
        let begun = Instant::now();
        while !sentinels.iter().all(|address| is_whole(address).unwrap_or(false)) {
            assert!(begun.elapsed() < PATIENCE, "the sentinels find each other");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Variables of a node that uses it for everything.
    fn everything(&self) -> [(&'static str, &str); 7] {
        [
            ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
            ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
            ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
            ("REDIS_URL", "redis://:a-password@mymaster"),
            ("CHATCTL_REDIS_SENTINELS", &self.sentinels),
            ("CHATCTL_REDIS_SENTINEL_PASSWORD", SENTINEL_PASSWORD),
            ("CHATCTL_LEASE_MS", "1000"),
        ]
    }

    /// Whether one of the two servers says so; `false` also while it does not answer.
    fn has_role(&self, index: usize, role: &str) -> bool {
        self.ask(index, &["ROLE"]).is_ok_and(|answer| format!("{answer:?}").contains(role))
    }

    /// How many messages are in one of the two servers.
    fn stored(&self, index: usize) -> u64 {
        let sum = "local sum = 0 for _, key in ipairs(redis.call('KEYS', '*:h')) do sum = sum + (redis.call('HGET', key, 'head') or 0) end return sum";
        redis::from_redis_value(self.ask(index, &["EVAL", sum, "0"]).unwrap()).unwrap()
    }

    /// Words to one of the two servers.
    fn ask(&self, index: usize, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let port = self.servers[index].1;
        let mut connection = connection(&format!("redis://:{PASSWORD}@127.0.0.1:{port}"))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }
}

#[tokio::test]
async fn what_a_failover_loses_is_declared_and_no_number_used_twice() {
    let Some(mut redis) = Watched::start().await else { return };
    let variables = redis.everything();
    let error = [&variables[..], &[("CHATCTL_REQUIRE_DURABILITY", "service")]].concat();
    let error = Server::refused(&error).await;
    assert!(
        error.contains("class process") && error.contains("CHATCTL_REDIS_SENTINELS"),
        "{error}"
    );
    let nodes = [Server::start_with(&variables).await, Server::start_with(&variables).await];
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let mut ann = nodes[0].connect(&ann_name).await;
    let open = ann.open_user(&bob_name).await;
    let (conv, epoch) = (open["conv"].clone(), open["epoch"].clone());
    for seq in 1..=10 {
        assert_eq!(ann.send(&conv, &format!("c{seq}"), None).await["seq"], seq);
    }
    assert_eq!(redis.ask(0, &["WAIT", "1", "5000"]).unwrap(), redis::Value::Int(1));
    // From here on the replica hears nothing.
    redis.ask(0, &["ACL", "SETUSER", "default", "-psync", "-sync"]).unwrap();
    redis.ask(0, &["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
    for seq in 11..=20 {
        assert_eq!(ann.send(&conv, &format!("c{seq}"), None).await["seq"], seq);
    }
    redis.servers[0].0.kill();
    drop(ann);

    // Both nodes are led to the other server, where ten are missing: in another epoch.
    let (mut ann, after) = reopened(&nodes[0], &ann_name, &bob_name, &epoch).await;
    assert_eq!(after["head"], 10, "{after}");
    let (_bob, of_bob) = reopened(&nodes[1], &bob_name, &ann_name, &epoch).await;
    assert_eq!((&of_bob["epoch"], &of_bob["head"]), (&after["epoch"], &json!(10)));
    assert_eq!(sent(&mut ann, &conv, "c21").await["seq"], 11);
}

#[tokio::test]
async fn a_failover_under_load_is_judged_valid_and_nobody_follows_the_old_primary_back() {
    let Some(mut redis) = Watched::start().await else { return };
    let variables = redis.everything();
    let nodes = [Server::start_with(&variables).await, Server::start_with(&variables).await];
    let out = tempfile::tempdir().unwrap();
    let run = ["check", "validity", "--clients", "6", "--messages", "700", "--json"];
    let urls = ["--url", &nodes[0].url, "--url", &nodes[1].url];
    let check = chatctl(&[&run[..], &urls].concat()).arg("--out").arg(out.path()).output();
    let failover = async {
        sleep(Duration::from_millis(1_000)).await;
        let before = redis.stored(0);
        redis.servers[0].0.kill();
        before
    };
    let (output, before) = tokio::join!(timeout(4 * PATIENCE, check), failover);
    let output = output.expect("ends in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said} {}", String::from_utf8_lossy(&output.stderr));
    let after = redis.stored(1);
    assert!(before > 0 && after > before + 100, "it was in the middle: {before}, {after}");
    assert!(redis.has_role(1, "master"));

    // The old one comes back as what it was, until the sentinels see it: whoever connects now is not led to it.
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let (_, before) = opened(&nodes[0], &ann_name, &bob_name).await;
    redis.servers[0].0.restart();
    let begun = Instant::now();
    while !redis.has_role(0, "master") {
        assert!(begun.elapsed() < PATIENCE, "it serves");
        sleep(Duration::from_millis(20)).await;
    }
    redis.ask(1, &["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    let (mut ann, open) = opened(&nodes[0], &ann_name, &bob_name).await;
    let (_bob, of_bob) = opened(&nodes[1], &bob_name, &ann_name).await;
    assert_eq!((&open["epoch"], &of_bob["epoch"]), (&before["epoch"], &before["epoch"]));
    sent(&mut ann, &open["conv"], "c1").await;
}

#[tokio::test]
async fn a_server_of_a_cluster_is_refused_and_so_are_sentinels_that_do_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = redis_program(folder.path(), "Redis of a cluster").await else { return };
    let ports = free_ports(&[std::net::Ipv4Addr::LOCALHOST.into()], 3).unwrap();
    let [clustered, bus, sentinel] = [0, 1, 2].map(|port| ports[port].to_string());
    let dir = folder.path().to_str().unwrap();
    // Not told, its bus takes the port 10 000 above, which may be anybody's.
    let mut arguments = vec!["--port", &clustered, "--cluster-port", &bus, "--dir", dir];
    arguments.extend(["--cluster-enabled", "yes", "--save", ""]);
    let _cluster = Process::start(&program, &arguments);
    let file = folder.path().join("sentinel.conf");
    std::fs::write(&file, format!("port {sentinel}\nbind 127.0.0.1\ndir {dir}\n")).unwrap();
    let _sentinel = Process::start(&program, &[file.to_str().unwrap(), "--sentinel"]);
    let url = format!("redis://127.0.0.1:{clustered}");
    let by = format!("127.0.0.1:{sentinel}");
    for url in [&url, &format!("redis://{by}")] {
        until("it answers", || connection(url).is_ok()).await;
    }
    let sentinels = [("REDIS_URL", "redis://mymaster"), ("CHATCTL_REDIS_SENTINELS", by.as_str())];
    let away = [("REDIS_URL", "redis://mymaster"), ("CHATCTL_REDIS_SENTINELS", "127.0.0.1:1")];
    let (messages, bus, registry) = (
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
    );
    let of_cluster = ("REDIS_URL", url.as_str());
    let cases: [(&[_], &[&str]); 5] = [
        (&[messages, of_cluster], &["Redis Cluster", "CHATCTL_REDIS_CLUSTER"]),
        (&[bus, of_cluster], &["Redis Cluster", "CHATCTL_REDIS_CLUSTER"]),
        (&[registry, of_cluster], &["Redis Cluster", "CHATCTL_REDIS_CLUSTER"]),
        (&[messages, sentinels[0], sentinels[1]], &["no primary named mymaster", "REDIS_URL", &by]),
        (&[messages, away[0], away[1]], &["CHATCTL_REDIS_SENTINELS", "127.0.0.1:1"]),
    ];
    let refused = cases.map(async |(variables, said)| {
        // Whoever answers late, because the machine is busy, is told of as such.
        let mut errors = Vec::new();
        while errors.len() < 3 {
            let error = Server::refused(variables).await;
            if said.iter().all(|part| error.contains(part)) {
                return;
            }
            errors.push(error);
        }
        panic!("{said:?}: {}", errors.join("\n"));
    });
    futures_util::future::join_all(refused).await;
}
