//! The address of Redis, with its password kept out of sight.

use std::fmt;
use std::str::FromStr;

use super::services::{is_host, is_port};

/// `redis://[user:password@]host[:port][/database]`, or the same with `rediss` over TLS. Shown without its password, always.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    text: String,
}

/// The text is no URL of a Redis server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not redis:// or rediss://[user:password@]host[:port][/database]")]
pub struct RedisUrlError;

impl RedisUrl {
    /// The whole URL, password and all: for whoever connects, never for people.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Whether the server is reached over TLS.
    pub fn is_tls(&self) -> bool {
        scheme(&self.text) == "rediss"
    }

    /// The host where no port is named: with sentinels it is a name that they know.
    pub fn name(&self) -> Option<&str> {
        let (_, address, _) = self.parts();
        port_of(address).is_none().then_some(address)
    }

    /// The number of the database.
    pub fn database(&self) -> u16 {
        let (_, _, database) = self.parts();
        database.trim_start_matches('/').parse().unwrap_or_default()
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> String {
        let (_, address, _) = self.parts();
        if port_of(address).is_some() { address.to_owned() } else { format!("{address}:6379") }
    }

    /// What stands before the `@`, if any; the address; the rest.
    fn parts(&self) -> (Option<&str>, &str, &str) {
        split(&self.text).unwrap_or_default()
    }
}

/// User and password, address, database with its slash. As URLs have it: the authority ends at the first slash,
/// and its last `@` ends the password.
fn split(text: &str) -> Option<(Option<&str>, &str, &str)> {
    let rest = text.strip_prefix(scheme(text))?.strip_prefix("://")?;
    let (authority, database) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Some(match authority.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address, database),
        None => (None, authority, database),
    })
}

/// Over TLS or not.
fn scheme(text: &str) -> &'static str {
    if text.starts_with("rediss:") { "rediss" } else { "redis" }
}

/// The port, which an IPv6 address without one does not have, however many colons it has.
fn port_of(address: &str) -> Option<&str> {
    address.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'))
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (credentials, address, database) = split(text).ok_or(RedisUrlError)?;
        let credentials = credentials.unwrap_or_default();
        let is_address = match port_of(address) {
            Some(port) => is_port(port) && is_host(&address[..address.len() - port.len() - 1]),
            None => is_host(address),
        };
        let database = database.strip_prefix('/').unwrap_or_default();
        let is_database = database.is_empty()
            || database.bytes().all(|byte| byte.is_ascii_digit())
                && database.parse::<u16>().is_ok();
        // A `?` or `#` would end the password for whoever parses it as a URL.
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
        if is_address && is_database && credentials.bytes().all(is_plain) {
            Ok(Self { text: text.to_owned() })
        } else {
            Err(RedisUrlError)
        }
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (credentials, address, database) = self.parts();
        let hidden = if credentials.is_some() { "…@" } else { "" };
        write!(f, "{}://{hidden}{address}{database}", scheme(&self.text))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("redis://127.0.0.1:16379", "redis://127.0.0.1:16379", "127.0.0.1:16379")]
    #[case("redis://redis.internal", "redis://redis.internal", "redis.internal:6379")]
    #[case("redis://[::1]/3", "redis://[::1]/3", "[::1]:6379")]
    #[case("redis://[::1]:7000/", "redis://[::1]:7000/", "[::1]:7000")]
    #[case("redis://:hunter2@localhost:1/0", "redis://…@localhost:1/0", "localhost:1")]
    #[case("redis://chat:hunter2@x@localhost", "redis://…@localhost", "localhost:6379")]
    #[case("rediss://chat:hunter2@r.example", "rediss://…@r.example", "r.example:6379")]
    fn a_password_is_never_shown(#[case] text: &str, #[case] shown: &str, #[case] address: &str) {
        let url: RedisUrl = text.parse().unwrap();
        assert_eq!(url.expose(), text);
        assert_eq!((url.to_string().as_str(), url.address().as_str()), (shown, address));
        assert!(!format!("{url:?}").contains("hunter2"));
    }

    #[rstest]
    #[case("")]
    #[case("127.0.0.1:6379")]
    #[case("redisss://localhost:6379")]
    #[case("rediss:localhost:6379")]
    #[case("redis://")]
    #[case("redis://localhost:0")]
    #[case("redis://localhost:")]
    #[case("redis://::1")]
    #[case("redis://localhost/one")]
    #[case("redis://localhost/1/2")]
    #[case("redis://:a/b@localhost")]
    #[case("redis://:1/2@localhost")]
    #[case("redis://:a?b@localhost")]
    #[case("redis://localhost?protocol=resp3")]
    #[case("redis://local host")]
    fn what_is_no_address_of_redis_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<RedisUrl>(), Err(RedisUrlError));
    }
}
