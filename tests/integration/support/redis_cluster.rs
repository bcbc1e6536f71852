//! A Redis Cluster of one test.

use std::path::Path;
use std::time::{Duration, Instant};

use chatctl::services::free_ports;
use redis::RedisResult;
use serde_json::Value;
use tokio::time::sleep;

use super::PATIENCE;
use super::redis::{Process, connection, until};
use super::services::redis_program;

pub const PASSWORD: &str = "a-password";
pub const PRIMARIES: usize = 3;
pub const SERVERS: usize = 2 * PRIMARIES;

/// Three primaries with equal shares of the slots, and a replica of each: the first of number 0 is number 3.
pub struct Cluster {
    pub servers: Vec<(Process, u16)>,
    ids: Vec<String>,
    pub nodes: String,
    pub url: String,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// `None`: there is no Redis on this machine, which CI does not accept.
    pub async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let program = redis_program(folder.path(), "a Redis Cluster").await?;
        let ports = free_ports(&[std::net::Ipv4Addr::LOCALHOST.into()], 2 * SERVERS).unwrap();
        let (ports, bus_ports) = ports.split_at(SERVERS);
        let mut servers = Vec::new();
        for (port, bus_port) in ports.iter().zip(bus_ports) {
            servers.push((start(&program, folder.path(), *port, *bus_port), *port));
        }
        let named: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut cluster = Self {
            servers,
            ids: Vec::new(),
            // The others are learnt.
            nodes: named[1..3].join(","),
            url: format!("redis://:{PASSWORD}@{}", named[0]),
            _folder: folder,
        };
        cluster.form(bus_ports).await;
        Some(cluster)
    }

    async fn form(&mut self, bus_ports: &[u16]) {
        let all = 0..SERVERS;
        until("all answer", || all.clone().all(|index| self.ask(index, &["PING"]).is_ok())).await;
        for index in all.clone() {
            let id = redis::from_redis_value(self.ok(index, &["CLUSTER", "MYID"])).unwrap();
            self.ids.push(id);
            let epoch = (index + 1).to_string();
            self.ok(index, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            let (port, bus_port) =
                (self.servers[index].1.to_string(), bus_ports[index].to_string());
            self.ok(0, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port]);
        }
        for index in 0..PRIMARIES {
            let first = 16_384 * index / PRIMARIES;
            let last = 16_384 * (index + 1) / PRIMARIES - 1;
            let words = ["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()];
            self.ok(index, &words);
        }
        until("all know each other", || {
            all.clone().all(|index| self.info(index, "cluster").contains("cluster_known_nodes:6"))
        })
        .await;
        for index in 0..PRIMARIES {
            let words = ["CLUSTER", "REPLICATE", self.ids[index].as_str()];
            until("it is a replica", || self.ask(PRIMARIES + index, &words).is_ok()).await;
        }
        until("the cluster is whole", || {
            all.clone().all(|index| {
                let replication = self.info(index, "replication");
                self.ask(index, &["CLUSTER", "INFO"])
                    .is_ok_and(|info| format!("{info:?}").contains("cluster_state:ok"))
                    && (replication.contains("connected_slaves:1")
                        || replication.contains("master_link_status:up"))
            })
        })
        .await;
    }

    /// Variables of a node that uses it for everything.
    pub fn everything(&self) -> [(&'static str, &str); 6] {
        [
            ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
            ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
            ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
            ("REDIS_URL", &self.url),
            ("CHATCTL_REDIS_CLUSTER", &self.nodes),
            ("CHATCTL_LEASE_MS", "1000"),
        ]
    }

    pub fn ask(&self, index: usize, words: &[&str]) -> RedisResult<redis::Value> {
        let port = self.servers[index].1;
        let mut connection = connection(&format!("redis://:{PASSWORD}@127.0.0.1:{port}"))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    pub fn ok(&self, index: usize, words: &[&str]) -> redis::Value {
        self.ask(index, words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub fn keys(&self, index: usize, pattern: &str) -> Vec<String> {
        redis::from_redis_value(self.ok(index, &["KEYS", pattern])).unwrap()
    }

    pub fn info(&self, index: usize, section: &str) -> String {
        let command = if section == "cluster" { ["CLUSTER", "INFO"] } else { ["INFO", section] };
        self.ask(index, &command)
            .and_then(|answer| redis::from_redis_value(answer).map_err(Into::into))
            .unwrap_or_default()
    }

    /// The first key of a conversation.
    pub fn key(&self, conv: &Value) -> String {
        let pattern = format!("*:{}:h", conv.as_str().unwrap());
        (0..PRIMARIES).find_map(|index| self.keys(index, &pattern).pop()).unwrap()
    }

    /// Which of the first three has a key.
    pub fn owner(&self, key: &str) -> usize {
        (0..PRIMARIES).find(|&index| !self.keys(index, key).is_empty()).unwrap()
    }

    /// How many messages there are by the first key of a conversation; 0 where it is not to be had.
    pub fn head(&self, index: usize, key: &str) -> u64 {
        let head = self.ask(index, &["HGET", key, "head"]).ok();
        head.and_then(|head| redis::from_redis_value(head).ok()).unwrap_or_default()
    }

    /// The conversation with the most messages, once it has some: how many, its first key, and who has it.
    pub async fn busiest(&self) -> (u64, String, usize) {
        let begun = Instant::now();
        loop {
            let of_server = |index| {
                let keys = self.keys(index, "*:h").into_iter();
                keys.map(move |key| (self.head(index, &key), key, index))
            };
            let found = (0..PRIMARIES).flat_map(of_server).max();
            if let Some(busiest) = found.filter(|(head, ..)| *head >= 100) {
                return busiest;
            }
            assert!(begun.elapsed() < PATIENCE, "somebody writes");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn slot(&self, key: &str) -> String {
        let slot = self.ok(0, &["CLUSTER", "KEYSLOT", key]);
        redis::from_redis_value::<u16>(slot).unwrap().to_string()
    }

    /// The slot of a key goes to the next primary.
    pub async fn move_on(&self, key: &str) {
        let from = self.owner(key);
        self.move_slot(&self.slot(key), from, (from + 1) % PRIMARIES).await;
    }

    /// Everything in a slot goes from one to another, and then the slot itself. As `redis-cli --cluster reshard` does it.
    pub async fn move_slot(&self, slot: &str, from: usize, to: usize) {
        self.ok(to, &["CLUSTER", "SETSLOT", slot, "IMPORTING", &self.ids[from]]);
        self.ok(from, &["CLUSTER", "SETSLOT", slot, "MIGRATING", &self.ids[to]]);
        let port = self.servers[to].1.to_string();
        loop {
            let keys = self.ok(from, &["CLUSTER", "GETKEYSINSLOT", slot, "10"]);
            let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
            if keys.is_empty() {
                break;
            }
            let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "AUTH", PASSWORD, "KEYS"];
            let keys = keys.iter().map(String::as_str);
            self.ok(from, &words.into_iter().chain(keys).collect::<Vec<_>>());
            sleep(Duration::from_millis(5)).await;
        }
        for index in [to, from].into_iter().chain((0..PRIMARIES).filter(|&i| i != to && i != from))
        {
            self.ok(index, &["CLUSTER", "SETSLOT", slot, "NODE", &self.ids[to]]);
        }
    }
}

fn start(program: &Path, folder: &Path, port: u16, bus_port: u16) -> Process {
    let dir = folder.join(port.to_string());
    std::fs::create_dir(&dir).unwrap();
    let (port, bus_port) = (port.to_string(), bus_port.to_string());
    let mut arguments = vec!["--port", &port, "--dir", dir.to_str().unwrap()];
    arguments.extend(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
    arguments.extend(["--appendfsync", "always", "--repl-diskless-sync-delay", "0"]);
    arguments.extend(["--requirepass", PASSWORD, "--masterauth", PASSWORD]);
    arguments.extend(["--cluster-enabled", "yes", "--cluster-port", &bus_port]);
    arguments.extend(["--cluster-node-timeout", "1000"]);
    Process::start(program, &arguments)
}
