//! A Redis Cluster of three primaries, which all suites share.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, RedisResult};

use super::redis::{RedisFactory, Server, program};
use super::service::Guard;
use crate::model::Epoch;
use crate::persistence::redis::RedisSettings;
use crate::redis_link::{ClusterNodes, RedisServer};
use crate::services::{ServiceKind, free_port};

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

/// The servers, and what ends each.
struct Cluster {
    servers: Vec<Server>,
    _guards: Vec<Guard>,
}

/// The cluster, as engines are told of it; `None` where there is no Redis.
pub fn shared() -> Option<RedisServer> {
    let cluster = cluster()?;
    let nodes = cluster.servers.iter().map(|server| ("127.0.0.1".to_owned(), server.port()));
    let first = RedisServer::from(cluster.servers[0].url());
    Some(first.in_cluster(ClusterNodes::new(nodes.skip(1).collect())))
}

/// The cluster, under a prefix that nobody else has.
pub struct Corner {
    /// How engines are told of it.
    pub server: RedisServer,
    /// What its keys begin with.
    pub prefix: String,
}

impl Corner {
    /// `None` where Redis is not installed.
    pub fn find() -> Option<Self> {
        Some(Self { server: shared()?, prefix: format!("{}:", Epoch::generate()) })
    }
}

/// What a server of the cluster answers to words that are about none of its keys.
pub fn ask<T: FromRedisValue>(words: &[&str]) -> Option<T> {
    Some(command(&cluster()?.servers[0].url(), words).expect("it answers"))
}

fn cluster() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    SHARED.get_or_init(Cluster::start).as_ref()
}

impl Cluster {
    fn start() -> Option<Self> {
        let program = program(ServiceKind::Redis)?;
        let start = |_| {
            let bus = free_port(&[std::net::Ipv4Addr::LOCALHOST.into()], None).expect("a port");
            let (bus_text, mut options) = (bus.to_string(), vec!["--cluster-enabled", "yes"]);
            options.extend(["--appendonly", "yes", "--appendfsync", "no", "--cluster-port"]);
            options.push(&bus_text);
            (Server::start(&program, &options), bus_text)
        };
        let started: Vec<_> = (0..PRIMARIES).map(start).collect();
        let first = started[0].0.url();
        for (index, (server, bus)) in started.iter().enumerate() {
            let port = server.port().to_string();
            let (from, to) = (SLOTS * index / PRIMARIES, SLOTS * (index + 1) / PRIMARIES - 1);
            let words = ["ADDSLOTSRANGE", &from.to_string(), &to.to_string()];
            done(&server.url(), &words);
            done(&server.url(), &["SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            done(&first, &["MEET", "127.0.0.1", &port, bus]);
        }
        let servers: Vec<_> = started.into_iter().map(|(server, _)| server).collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_whole = |server: &Server| {
            let info: RedisResult<String> = command(&server.url(), &["CLUSTER", "INFO"]);
            info.is_ok_and(|info| {
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
        };
        while !servers.iter().all(is_whole) {
            assert!(Instant::now() < deadline, "the cluster does not form");
            std::thread::sleep(Duration::from_millis(50));
        }
        let guards = servers.iter().map(|server| Guard::new(server.pid(), server.folder()));
        Some(Self { _guards: guards.collect(), servers })
    }
}

fn command<T: FromRedisValue>(url: &str, words: &[&str]) -> RedisResult<T> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
}

fn done(url: &str, words: &[&str]) {
    let words: Vec<_> = ["CLUSTER"].iter().chain(words).copied().collect();
    command::<()>(url, &words).expect("it does so");
}

impl RedisFactory {
    /// On a Redis Cluster.
    pub fn cluster() -> Self {
        Self::new(Corner::find().map(|Corner { server, prefix }| RedisSettings { server, prefix }))
    }
}
