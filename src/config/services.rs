//! Where the services of the engines are: what `serve`, `init-env` and tests connect to.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::load::Reader;
use super::{ConfigError, KafkaAccess, RedisPlace, RedisUrl, Secret, Sources};

/// The addresses of Redis, Kafka, Cassandra and Riak, and the names of what is ours in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicesConfig {
    /// The Redis server.
    pub redis_url: RedisUrl,
    /// The file of who may have issued its certificate; `None`: whom the system trusts.
    pub redis_tls_ca: Option<PathBuf>,
    /// Who says where it is.
    pub redis_place: RedisPlace,
    /// Brokers to begin with, `host:port` each; at least one.
    pub kafka_brokers: Vec<String>,
    /// How to get in there.
    pub kafka_access: KafkaAccess,
    /// The topic of hints.
    pub kafka_topic: String,
    /// Its partitions.
    pub kafka_partitions: u32,
    /// Nodes to begin with, `host:port` each; at least one.
    pub cassandra_hosts: Vec<String>,
    /// The keyspace of messages: `[a-z][a-z0-9_]{0,47}`, so that it needs no quotes in CQL.
    pub cassandra_keyspace: String,
    /// The datacenter that is local to us; letters, digits, `.`, `_` and `-`.
    pub cassandra_datacenter: String,
    /// User and password of Cassandra, where it asks.
    pub cassandra_login: Option<(String, Secret)>,
    /// Whether Cassandra is reached over TLS, and by whose certificates.
    pub cassandra_tls: ServiceTls,
    /// Where nodes are reached instead of where they say.
    pub cassandra_translation: HashMap<IpAddr, SocketAddr>,
    /// A node of Riak: `http://host:port`.
    pub riak_url: String,
    /// The bucket type of messages; letters, digits, `.`, `_` and `-`.
    pub riak_bucket_type: String,
}

/// TLS to a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ServiceTls {
    /// None.
    #[default]
    Off,
    /// The service's certificate is checked.
    On {
        /// A file of certificates that are believed beside those that the system trusts.
        ca: Option<PathBuf>,
    },
}

impl ServicesConfig {
    /// Judges what was set; the first value that cannot be used is the error. Nothing else of the
    /// configuration is looked at: `init-env` works beside a server's settings that are still wrong.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let reader = Reader { sources };
        let partitions = reader.number("CHATCTL_KAFKA_PARTITIONS")?;
        let redis_url: RedisUrl = reader.required("REDIS_URL", |text| text.parse().ok())?;
        let redis_tls_ca = reader.optional("CHATCTL_REDIS_TLS_CA")?.map(PathBuf::from);
        if redis_tls_ca.is_some() && !redis_url.is_tls() {
            let text =
                "CHATCTL_REDIS_TLS_CA is set and REDIS_URL is without TLS; write it as rediss://";
            return Err(ConfigError::together(text.to_owned()));
        }
        Ok(Self {
            redis_place: RedisPlace::load(&reader, &redis_url)?,
            redis_url,
            redis_tls_ca,
            kafka_brokers: reader.required("KAFKA_BROKERS", parse_addresses)?,
            kafka_access: KafkaAccess::load(&reader)?,
            kafka_topic: reader.required("CHATCTL_KAFKA_TOPIC", parse_topic)?,
            // The table allows no more than fits.
            kafka_partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
            cassandra_hosts: reader.required("CASSANDRA_HOSTS", parse_addresses)?,
            cassandra_keyspace: reader.required("CASSANDRA_KEYSPACE", parse_keyspace)?,
            cassandra_datacenter: reader.required("CHATCTL_CASSANDRA_DATACENTER", parse_plain)?,
            cassandra_login: cassandra_login(&reader)?,
            cassandra_tls: cassandra_tls(&reader)?,
            cassandra_translation: reader
                .parsed("CHATCTL_CASSANDRA_TRANSLATE", parse_translation)?
                .unwrap_or_default(),
            riak_url: reader.required("RIAK_URL", parse_http_url)?,
            riak_bucket_type: reader.required("CHATCTL_RIAK_BUCKET_TYPE", parse_plain)?,
        })
    }
}

fn cassandra_login(reader: &Reader<'_>) -> Result<Option<(String, Secret)>, ConfigError> {
    let user = reader.optional("CHATCTL_CASSANDRA_USER")?;
    match (user, reader.optional("CHATCTL_CASSANDRA_PASSWORD")?) {
        (Some(user), Some(password)) => Ok(Some((user.to_owned(), Secret::new(password)))),
        (None, None) => Ok(None),
        _ => Err(ConfigError::together(
            "only one of CHATCTL_CASSANDRA_USER and CHATCTL_CASSANDRA_PASSWORD is set; set both, or neither".to_owned(),
        )),
    }
}

fn cassandra_tls(reader: &Reader<'_>) -> Result<ServiceTls, ConfigError> {
    let ca = reader.optional("CHATCTL_CASSANDRA_TLS_CA")?.map(PathBuf::from);
    match (reader.choice("CHATCTL_CASSANDRA_TLS")?, ca) {
        ("yes", ca) => Ok(ServiceTls::On { ca }),
        (_, None) => Ok(ServiceTls::Off),
        (_, Some(_)) => Err(ConfigError::together(
            "CHATCTL_CASSANDRA_TLS_CA is set and CHATCTL_CASSANDRA_TLS is not; set CHATCTL_CASSANDRA_TLS=yes".to_owned(),
        )),
    }
}

fn parse_addresses(text: &str) -> Option<Vec<String>> {
    let judge = |entry: &str| is_address(entry).then(|| entry.to_owned());
    text.split(',').map(|entry| judge(entry.trim())).collect()
}

/// Nodes are told of by addresses, not names, and without ports. An address twice is a mistake.
fn parse_translation(text: &str) -> Option<HashMap<IpAddr, SocketAddr>> {
    let mut all = HashMap::new();
    for entry in text.split(',') {
        let (said, used) = entry.split_once('=')?;
        let twice = all.insert(said.trim().parse().ok()?, used.trim().parse().ok()?);
        twice.is_none().then_some(())?;
    }
    Some(all)
}

/// Whether this is `host:port`, the host a name, an IPv4 address or an IPv6 address in brackets. The port is
/// never guessed: an address without one is more often half an address than the default one.
pub(super) fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    is_host(host) && is_port(port)
}

pub(super) fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    (1..=253).contains(&text.len()) && is_plain(text)
}

pub(super) fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse().is_ok_and(|port: u16| port > 0)
}

/// Kafka's own rule for names of topics.
fn parse_topic(text: &str) -> Option<String> {
    let legal = (1..=249).contains(&text.len()) && is_plain(text) && text != "." && text != "..";
    legal.then(|| text.to_owned())
}

fn parse_keyspace(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let legal = text.len() <= 48
        && bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    legal.then(|| text.to_owned())
}

/// Without a path, a user or a password: nothing would be done with them.
fn parse_http_url(text: &str) -> Option<String> {
    let address = text.strip_prefix("http://")?;
    let address = address.strip_suffix('/').unwrap_or(address);
    is_address(address).then(|| format!("http://{address}"))
}

fn parse_plain(text: &str) -> Option<String> {
    (!text.is_empty() && is_plain(text)).then(|| text.to_owned())
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn load(entries: &[(&str, &str)]) -> Result<ServicesConfig, String> {
        let environment =
            entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        ServicesConfig::load(&Sources { environment, ..Sources::default() })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_what_init_env_starts() {
        let services = load(&[]).unwrap();
        assert_eq!(services.redis_url.expose(), "redis://127.0.0.1:16379");
        assert_eq!(services.kafka_brokers, ["127.0.0.1:19092"]);
        assert_eq!(
            (services.kafka_topic.as_str(), services.kafka_partitions),
            ("chatctl-hints", 16)
        );
        assert_eq!(services.cassandra_hosts, ["127.0.0.1:9042"]);
        assert_eq!(services.cassandra_keyspace, "chatctl");
        assert_eq!(services.cassandra_datacenter, "datacenter1");
        assert_eq!(services.riak_url, "http://127.0.0.1:8098");
        assert_eq!(services.riak_bucket_type, "chatctl");
    }

    #[test]
    fn lists_are_taken_apart() {
        let services = load(&[
            ("KAFKA_BROKERS", "kafka-1.internal:9092, [::1]:19092"),
            ("CASSANDRA_HOSTS", "127.0.0.1:9042,127.0.0.2:9042,127.0.0.3:9042"),
            ("CASSANDRA_KEYSPACE", "chat_2"),
        ])
        .unwrap();
        assert_eq!(services.kafka_brokers, ["kafka-1.internal:9092", "[::1]:19092"]);
        assert_eq!(services.cassandra_hosts.len(), 3);
        assert!(services.cassandra_translation.is_empty());
        let pairs = "10.0.0.1=192.0.2.1:19042, ::1=[::2]:9042";
        let translated = load(&[("CHATCTL_CASSANDRA_TRANSLATE", pairs)]).unwrap();
        assert_eq!(
            translated.cassandra_translation,
            [("10.0.0.1", "192.0.2.1:19042"), ("::1", "[::2]:9042")]
                .map(|(said, used)| (said.parse().unwrap(), used.parse().unwrap()))
                .into()
        );
        assert_eq!(services.cassandra_keyspace, "chat_2");
        let riak = load(&[("RIAK_URL", "http://[::1]:18098/")]).unwrap();
        assert_eq!(riak.riak_url, "http://[::1]:18098");
    }

    #[rstest]
    #[case("KAFKA_BROKERS", "localhost", "host:port")]
    #[case("KAFKA_BROKERS", "localhost:9092,", "host:port")]
    #[case("KAFKA_BROKERS", "localhost:0", "host:port")]
    #[case("KAFKA_BROKERS", "localhost:+1", "host:port")]
    #[case("KAFKA_BROKERS", "::1:9092", "brackets")]
    #[case("KAFKA_BROKERS", "[nine]:9092", "brackets")]
    #[case("KAFKA_BROKERS", "PLAINTEXT://localhost:9092", "host:port")]
    #[case("CASSANDRA_HOSTS", "localhost:9042;other:9042", "commas")]
    #[case("CASSANDRA_KEYSPACE", "Chat", "lower-case")]
    #[case("CASSANDRA_KEYSPACE", "chat-2", "lower-case")]
    #[case("CASSANDRA_KEYSPACE", "a23456789_123456789_123456789_123456789_123456789", "48")]
    #[case("CHATCTL_CASSANDRA_DATACENTER", "dc'1", "letters, digits")]
    #[case("CHATCTL_CASSANDRA_TRANSLATE", "10.0.0.1:9042", "ip=ip:port")]
    #[case("CHATCTL_CASSANDRA_TRANSLATE", "db-1=10.0.0.1:9042", "ip=ip:port")]
    #[case("CHATCTL_CASSANDRA_TRANSLATE", "1.1.1.1=2.2.2.2:2,1.1.1.1=3.3.3.3:3", "ip=ip:port")]
    #[case("CHATCTL_RIAK_BUCKET_TYPE", "chat/ctl", "letters, digits")]
    #[case("CHATCTL_RIAK_BUCKET_TYPE", "chat ctl", "letters, digits")]
    #[case("CHATCTL_KAFKA_TOPIC", "hints of chat", "letters, digits")]
    #[case("CHATCTL_KAFKA_TOPIC", "..", "letters, digits")]
    #[case("CHATCTL_KAFKA_PARTITIONS", "0", "an integer from 1 to 1024")]
    #[case("CHATCTL_KAFKA_PARTITIONS", "1025", "an integer from 1 to 1024")]
    fn an_error_names_the_variable_the_value_and_what_is_allowed(
        #[case] key: &str,
        #[case] value: &str,
        #[case] allowed: &str,
    ) {
        let text = load(&[(key, value)]).unwrap_err();
        assert!(text.contains(key) && text.contains(value) && text.contains(allowed), "{text}");
    }

    #[rstest]
    #[case("127.0.0.1:8098")]
    #[case("http://riak")]
    #[case("https://riak:8098")]
    #[case("http://riak:8098/riak")]
    #[case("http://ann:hunter2@riak:8098")]
    fn a_riak_is_a_host_and_a_port(#[case] url: &str) {
        let text = load(&[("RIAK_URL", url)]).unwrap_err();
        assert!(text.contains("RIAK_URL") && text.contains("http://host:port"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_refused_secret_is_not_shown() {
        let text = load(&[("REDIS_URL", "http://:hunter2@localhost")]).unwrap_err();
        assert!(text.contains("REDIS_URL from the environment"), "{text}");
        assert!(text.contains("redis://") && !text.contains("hunter2"), "{text}");
    }
}
