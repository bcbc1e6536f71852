//! Proxies in the links of a run, so that these can be broken.

use anyhow::Context as _;

use crate::client::Address;
use crate::harness::TargetOptions;
use crate::nemesis::{Link, Proxy};
use crate::services::Environment;

/// What the proxied address of Redis replaces.
const REDIS_URL: &str = "REDIS_URL";

/// Puts a proxy between each server that will be started and its Redis, where it uses one, and tells the server to go by it.
pub(super) async fn to_services(
    options: &mut TargetOptions,
    _services: Option<&mut Environment>,
) -> anyhow::Result<Vec<Link>> {
    let url = options.environment.iter().rev().find(|(key, _)| key == REDIS_URL);
    let Some(url) = url.map(|(_, url)| url.clone()) else { return Ok(Vec::new()) };
    let mut links = Vec::new();
    for number in 1..=options.nodes {
        let (upstream, around) = split_url(&url)?;
        let proxy = Proxy::start(&upstream).await.context("a proxy")?;
        let through = around.replace("{}", &proxy.address().to_string());
        options.environment_of_each.push(vec![(REDIS_URL.to_owned(), through)]);
        links.push(Link { name: format!("node {number} to redis"), proxy });
    }
    Ok(links)
}

/// Puts a proxy before each server, and gives the addresses that clients then go by.
pub(super) async fn to_servers(addresses: &[Address]) -> anyhow::Result<(Vec<Address>, Vec<Link>)> {
    let (mut through, mut links) = (Vec::new(), Vec::new());
    for (number, address) in (1..).zip(addresses) {
        let proxy = Proxy::start(address.authority()).await.context("a proxy")?;
        through.push(address.elsewhere(&proxy.address().to_string()));
        links.push(Link { name: format!("clients to node {number}"), proxy });
    }
    Ok((through, links))
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
