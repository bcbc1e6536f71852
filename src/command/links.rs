//! Proxies in the links between servers of a run and the services that they use, so that these can be broken.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::lookup_host;

use crate::client::Address;
use crate::harness::TargetOptions;
use crate::nemesis::{Link, Proxy};
use crate::services::{Environment, KafkaListener, Progress, ServiceKind, free_ports};

/// The variables that proxied addresses replace.
const REDIS_URL: &str = "REDIS_URL";
const REDIS_PLACES: [&str; 2] = ["CHATCTL_REDIS_SENTINELS", "CHATCTL_REDIS_CLUSTER"];
const KAFKA_BROKERS: &str = "KAFKA_BROKERS";
const RIAK_URL: &str = "RIAK_URL";
const CASSANDRA_HOSTS: &str = "CASSANDRA_HOSTS";
/// Where the nodes of Cassandra say that they are, and where they are reached.
const CASSANDRA_TRANSLATE: &str = "CHATCTL_CASSANDRA_TRANSLATE";

/// The links of one server, and the variables that make it use them.
#[derive(Default)]
struct Led {
    environment: Vec<(String, String)>,
    links: Vec<Link>,
}

/// Puts a proxy between each server that will be started and each node of each service that its variables name, and tells the server
/// to go by it. Brokers name each other to whoever asks, so each is given a listener for each server that says that it is where the
/// proxy is; that takes brokers of our own, which are started again: links to others stay whole.
pub(super) async fn to_services(
    options: &mut TargetOptions,
    services: Option<&mut Environment>,
) -> anyhow::Result<Vec<Link>> {
    let progress = Progress::on_stderr();
    let of = |key: &str| {
        let found = options.environment.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone())
    };
    let (redis, mut kafka, cassandra) = (of(REDIS_URL), of(KAFKA_BROKERS), of(CASSANDRA_HOSTS));
    if kafka.is_some() && !services.as_deref().is_some_and(runs_kafka) {
        progress.note(
            "links to kafka stay whole: somebody else runs it, and its brokers say where they are",
        );
        kafka = None;
    }
    let (mut links, mut listeners) = (Vec::new(), Vec::new());
    let brokers = kafka.as_deref().map_or(0, |brokers| brokers.split(',').count());
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let mut ports = free_ports(&loopback, options.nodes * brokers)?;
    for server in 1..=options.nodes {
        let mut led = Led::default();
        if let Some(url) = &redis {
            if let Some(variable) = REDIS_PLACES.into_iter().find(|place| of(place).is_some()) {
                anyhow::bail!(
                    "a link to Redis cannot be broken where others say where it is; name one server by REDIS_URL, without {variable}"
                );
            }
            led.through_redis(server, url).await?;
        }
        if let Some(url) = of(RIAK_URL) {
            led.through_riak(server, &url).await?;
        }
        if let Some(hosts) = &cassandra {
            led.through_cassandra(server, hosts).await?;
        }
        if brokers > 0 {
            let of_server = ports.split_off(ports.len() - brokers);
            listeners.extend(led.through_kafka(server, &of_server).await?);
        }
        let each = &mut options.environment_of_each;
        each.resize_with(each.len().max(server), Vec::new);
        each[server - 1].extend(led.environment);
        links.extend(led.links);
    }
    if let (Some(environment), false) = (services, listeners.is_empty()) {
        environment.add_kafka_listeners(listeners, &progress).await?;
    }
    Ok(links)
}

fn runs_kafka(environment: &Environment) -> bool {
    let kafka = environment.services().iter().find(|service| service.kind() == ServiceKind::Kafka);
    kafka.is_some_and(|kafka| !kafka.processes().is_empty())
}

/// Puts a proxy before each server, and gives the addresses that clients then go by.
pub(super) async fn to_servers(addresses: &[Address]) -> anyhow::Result<(Vec<Address>, Vec<Link>)> {
    let (mut through, mut links) = (Vec::new(), Vec::new());
    for (number, address) in (1..).zip(addresses) {
        let proxy = Proxy::start(address.authority()).await.context("a proxy")?;
        through.push(address.elsewhere(&proxy.address().to_string()));
        links.push(Link::new(format!("clients to node {number}"), vec![Arc::new(proxy)]));
    }
    Ok((through, links))
}

impl Led {
    async fn through_redis(&mut self, server: usize, url: &str) -> anyhow::Result<()> {
        anyhow::ensure!(
            !url.starts_with("rediss:"),
            "a link to Redis over TLS cannot be broken: its certificate is not for the proxy; use a redis:// URL"
        );
        let (upstream, around) = split_url(url)?;
        let proxies = self.through(server, "redis", &[upstream]).await?;
        self.set(REDIS_URL, around.replace("{}", &addresses(&proxies)));
        Ok(())
    }

    async fn through_riak(&mut self, server: usize, url: &str) -> anyhow::Result<()> {
        let upstream = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let proxies = self.through(server, "riak", &[upstream]).await?;
        self.set(RIAK_URL, format!("http://{}", addresses(&proxies)));
        Ok(())
    }

    async fn through_cassandra(&mut self, server: usize, hosts: &str) -> anyhow::Result<()> {
        let hosts: Vec<_> = hosts.split(',').map(|host| host.trim().to_owned()).collect();
        let proxies = self.through(server, "cassandra", &hosts).await?;
        let mut pairs = Vec::new();
        for (host, proxy) in hosts.iter().zip(&proxies) {
            for said in
                lookup_host(host).await.with_context(|| format!("{CASSANDRA_HOSTS}={host}"))?
            {
                pairs.push(format!("{}={}", said.ip(), proxy.address()));
            }
        }
        self.set(CASSANDRA_HOSTS, addresses(&proxies));
        self.set(CASSANDRA_TRANSLATE, pairs.join(","));
        Ok(())
    }

    /// `ports`: where each broker is to listen for this server.
    async fn through_kafka(
        &mut self,
        server: usize,
        ports: &[u16],
    ) -> anyhow::Result<Vec<KafkaListener>> {
        let upstreams: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let proxies = self.through(server, "kafka", &upstreams).await?;
        self.set(KAFKA_BROKERS, addresses(&proxies));
        let listeners = ports.iter().zip(&proxies).enumerate();
        Ok(listeners
            .map(|(broker, (&port, proxy))| KafkaListener {
                protocol: "PLAINTEXT",
                name: format!("SERVER{server}"),
                broker,
                port,
                advertised_port: proxy.address().port(),
            })
            .collect())
    }

    /// Proxies to all nodes of a service: one link to it as a whole, and, where it has several, one to each of them.
    async fn through(
        &mut self,
        server: usize,
        service: &str,
        upstreams: &[String],
    ) -> anyhow::Result<Vec<Arc<Proxy>>> {
        let mut proxies = Vec::new();
        for upstream in upstreams {
            proxies.push(Arc::new(Proxy::start(upstream).await.context("a proxy")?));
        }
        let name = format!("node {server} to {service}");
        self.links.push(Link::new(name.clone(), proxies.clone()));
        if proxies.len() > 1 {
            for (number, proxy) in (1..).zip(&proxies) {
                self.links.push(Link::new(format!("{name} {number}"), vec![Arc::clone(proxy)]));
            }
        }
        Ok(proxies)
    }

    fn set(&mut self, key: &str, value: String) {
        self.environment.push((key.to_owned(), value));
    }
}

fn addresses(proxies: &[Arc<Proxy>]) -> String {
    proxies.iter().map(|proxy| proxy.address().to_string()).collect::<Vec<_>>().join(",")
}

/// `host:port` of a Redis URL, and the URL with `{}` in its place.
fn split_url(url: &str) -> anyhow::Result<(String, String)> {
    let rest = url
        .strip_prefix("redis://")
        .context("only redis:// can be led through a proxy, not TLS or a socket")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (user, host) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:6379") };
    Ok((host, format!("redis://{user}{{}}{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_led_elsewhere_and_keeps_the_rest() {
        for (url, upstream, around) in [
            ("redis://127.0.0.1:16379", "127.0.0.1:16379", "redis://{}"),
            ("redis://me:p@ss@host:1/3", "host:1", "redis://me:p@ss@{}/3"),
            ("redis://host", "host:6379", "redis://{}"),
        ] {
            assert_eq!(split_url(url).unwrap(), (upstream.to_owned(), around.to_owned()));
        }
        assert!(split_url("rediss://host:1").is_err());
    }
}
