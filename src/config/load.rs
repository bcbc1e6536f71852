//! From what was set to types.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::identity::admin_token;
use super::{
    AuthenticationConfig, CassandraConfig, Config, ConfigError, DistributionEngine, KafkaConfig,
    Kind, LocalConfig, LocalSync, LogFormat, Origin, PersistenceEngine, RedisConfig,
    RegistryEngine, RiakConfig, Secret, ServicesConfig, Source, Sources, TlsConfig, VARIABLES,
    Variable,
};
use crate::model::{OperatorLimits, PONG_GRACE_MS};

impl Config {
    /// Judges what was set; the first value that cannot be used is the error.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let reader = Reader { sources };
        let data_dir = PathBuf::from(reader.text("CHATCTL_DATA_DIR")?);
        let sync = match reader.choice("CHATCTL_LOCAL_SYNC")? {
            "always" => LocalSync::Always,
            "interval" => LocalSync::Interval(reader.duration("CHATCTL_LOCAL_SYNC_INTERVAL_MS")?),
            "never" => LocalSync::Never,
            _ => LocalSync::Memory,
        };
        let local = LocalConfig {
            data_dir: data_dir.clone(),
            sync,
            reserve_bytes: reader.number("CHATCTL_LOCAL_RESERVE_BYTES")?,
            cache_bytes: reader.number("CHATCTL_LOCAL_CACHE_BYTES")?,
        };
        let services = ServicesConfig::load(sources)?;
        let redis = RedisConfig {
            url: services.redis_url,
            tls_ca: services.redis_tls_ca,
            place: services.redis_place,
            prefix: reader.required("CHATCTL_REDIS_PREFIX", redis_prefix)?,
        };
        let kafka = KafkaConfig {
            brokers: services.kafka_brokers,
            access: services.kafka_access,
            topic: services.kafka_topic,
            partitions: services.kafka_partitions,
            reads_open_only: reader.choice("CHATCTL_KAFKA_READ")? == "open",
        };
        let cassandra = CassandraConfig {
            hosts: services.cassandra_hosts,
            keyspace: services.cassandra_keyspace,
            datacenter: services.cassandra_datacenter,
            translation: services.cassandra_translation,
            login: services.cassandra_login,
            tls: services.cassandra_tls,
        };
        let persistence = match reader.choice("WS_MESSAGE_PERSISTENCE_ENGINE")? {
            "LOCAL" => PersistenceEngine::Local(local),
            "REDIS" => PersistenceEngine::Redis(redis.clone()),
            "CASSANDRA" => PersistenceEngine::Cassandra(cassandra),
            _ => PersistenceEngine::Riak(RiakConfig {
                url: services.riak_url,
                bucket_type: services.riak_bucket_type,
            }),
        };
        let distribution = match reader.choice("WS_MESSAGE_DISTRIBUTION_ENGINE")? {
            "LOCAL" => DistributionEngine::Local,
            "REDIS" => DistributionEngine::Redis(redis.clone()),
            _ => DistributionEngine::Kafka(kafka),
        };
        let registry = match reader.choice("WS_CONN_PERSISTENCE_ENGINE")? {
            "REDIS" => RegistryEngine::Redis(redis),
            _ => RegistryEngine::Local,
        };
        let listen = reader.address("CHATCTL_LISTEN")?;
        let authentication = AuthenticationConfig::load(sources)?;
        authentication.check_listen(listen)?;
        Ok(Self {
            listen,
            tls: reader.tls()?,
            data_dir,
            authentication,
            admin_token: reader.parsed("CHATCTL_ADMIN_TOKEN", admin_token)?,
            admin_listen: reader.address("CHATCTL_ADMIN_LISTEN")?,
            admin_address_file: reader.optional("CHATCTL_ADMIN_ADDRESS_FILE")?.map(PathBuf::from),
            persistence,
            distribution,
            registry,
            node: reader.parsed("CHATCTL_NODE", node_name)?,
            lease: reader.duration("CHATCTL_LEASE_MS")?,
            clock_offset_ms: reader
                .parsed("CHATCTL_CLOCK_OFFSET_MS", |text| text.parse().ok())?
                .unwrap_or(0),
            require_durability: reader
                .parsed("CHATCTL_REQUIRE_DURABILITY", |text| text.parse().ok())?,
            ping: reader.duration("CHATCTL_PING_MS")?,
            drain: reader.duration("CHATCTL_DRAIN_MS")?,
            outbox_bytes_max: reader.count("CHATCTL_OUTBOX_BYTES_MAX")?,
            connections_max: reader.count("CHATCTL_CONNECTIONS_MAX")?,
            header_timeout: reader.duration("CHATCTL_HEADER_TIMEOUT_MS")?,
            limits: reader.limits()?,
            origins: reader.parsed("CHATCTL_ALLOWED_ORIGINS", parse_origins)?.unwrap_or_default(),
            log: reader.text("CHATCTL_LOG")?.to_owned(),
            log_format: match reader.choice("CHATCTL_LOG_FORMAT")? {
                "json" => LogFormat::Json,
                _ => LogFormat::Text,
            },
            #[cfg(feature = "faults")]
            fault: reader.parsed("CHATCTL_FAULT", |text| text.parse().ok())?,
        })
    }

    /// Where a node listens for operators, and what it wants to be shown: for whoever asks it something.
    pub fn admin(sources: &Sources) -> Result<(SocketAddr, Option<Secret>), ConfigError> {
        let reader = Reader { sources };
        let token = reader.parsed("CHATCTL_ADMIN_TOKEN", admin_token)?;
        Ok((reader.address("CHATCTL_ADMIN_LISTEN")?, token))
    }

    /// The error for a value that looked right here and turned out wrong where it is used.
    pub fn refuse(sources: &Sources, key: &'static str) -> ConfigError {
        let variable = variable(key);
        let (value, source) = sources.find(variable).unwrap_or(("", Source::Default));
        ConfigError::invalid(variable, value, source)
    }
}

/// Braces would move the hash tags of keys.
fn redis_prefix(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'{' && byte != b'}';
    text.bytes().all(allowed).then(|| text.to_owned())
}

fn node_name(text: &str) -> Option<String> {
    let is_short = (1..=200).contains(&text.len());
    (is_short && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}

fn parse_origins(text: &str) -> Option<Vec<Origin>> {
    text.split(',').map(|origin| origin.trim().parse().ok()).collect()
}

/// The entry of the table. Keys are written by us: a test loads every one of them.
fn variable(key: &'static str) -> &'static Variable {
    #[cfg(feature = "faults")]
    if key == super::variables::FAULT.key {
        return &super::variables::FAULT;
    }
    VARIABLES
        .iter()
        .find(|variable| variable.key == key)
        .unwrap_or_else(|| unreachable!("{key} is not in the table"))
}

/// Reads single variables; each error names the variable and where its value came from.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources,
}

impl Reader<'_> {
    pub(super) fn optional(&self, key: &'static str) -> Result<Option<&str>, ConfigError> {
        let variable = variable(key);
        match self.sources.find(variable) {
            Some(("", source)) => Err(ConfigError::invalid(variable, "", source)),
            found => Ok(found.map(|(value, _)| value)),
        }
    }

    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let variable = variable(key);
        let Some((value, source)) = self.sources.find(variable) else { return Ok(None) };
        match parse(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(ConfigError::invalid(variable, value, source)),
        }
    }

    /// A variable that has a default.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        self.parsed(key, parse)?
            .ok_or_else(|| ConfigError::invalid(variable(key), "", Source::Default))
    }

    pub(super) fn text(&self, key: &'static str) -> Result<&str, ConfigError> {
        self.optional(key)?.ok_or_else(|| ConfigError::invalid(variable(key), "", Source::Default))
    }

    pub(super) fn choice(&self, key: &'static str) -> Result<&'static str, ConfigError> {
        let Kind::Choice(words) = variable(key).kind else { unreachable!("{key} is no choice") };
        self.required(key, |value| words.iter().copied().find(|word| *word == value))
    }

    pub(super) fn number(&self, key: &'static str) -> Result<u64, ConfigError> {
        let Kind::Number { min, max, .. } = variable(key).kind else {
            unreachable!("{key} is no number")
        };
        self.required(key, |value| {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            value.parse().ok().filter(|number| digits && (min..=max).contains(number))
        })
    }

    fn count(&self, key: &'static str) -> Result<usize, ConfigError> {
        let number = self.number(key)?;
        usize::try_from(number)
            .map_err(|_| ConfigError::invalid(variable(key), &number.to_string(), Source::Default))
    }

    pub(super) fn duration(&self, key: &'static str) -> Result<Duration, ConfigError> {
        self.number(key).map(Duration::from_millis)
    }

    fn limits(&self) -> Result<OperatorLimits, ConfigError> {
        let set = |key| self.number(key).map(Some);
        // Zero: no limit.
        let limit = |key| self.number(key).map(|number| (number > 0).then_some(number));
        let ping_ms = self.number("CHATCTL_PING_MS")?;
        Ok(OperatorLimits {
            connections_max: set("CHATCTL_CONNECTIONS_MAX")?,
            connections_per_address_max: limit("CHATCTL_CONNECTIONS_PER_ADDRESS_MAX")?,
            connects_per_s_max: limit("CHATCTL_CONNECTS_PER_S_MAX")?,
            connections_per_user_max: limit("CHATCTL_CONNECTIONS_PER_USER_MAX")?,
            commands_per_s_max: limit("CHATCTL_COMMANDS_PER_S_MAX")?,
            messages_per_s_max: limit("CHATCTL_MESSAGES_PER_S_MAX")?,
            incoming_bytes_per_s_max: limit("CHATCTL_INCOMING_BYTES_PER_S_MAX")?,
            reply_bytes_per_s_max: limit("CHATCTL_REPLY_BYTES_PER_S_MAX")?,
            rate_burst_ms: set("CHATCTL_RATE_BURST_MS")?,
            rate_sustained_ms: set("CHATCTL_RATE_SUSTAINED_MS")?,
            queue_wait_ms_max: limit("CHATCTL_QUEUE_WAIT_MS")?,
            idle_ms_max: Some(ping_ms + PONG_GRACE_MS),
            header_ms_max: set("CHATCTL_HEADER_TIMEOUT_MS")?,
            outbox_bytes_max: set("CHATCTL_OUTBOX_BYTES_MAX")?,
        })
    }

    fn tls(&self) -> Result<Option<TlsConfig>, ConfigError> {
        let path = |key| self.optional(key).map(|path| path.map(PathBuf::from));
        match (path("CHATCTL_TLS_CERT")?, path("CHATCTL_TLS_KEY")?) {
            (Some(certificate), Some(key)) => Ok(Some(TlsConfig { certificate, key })),
            (None, None) => Ok(None),
            (certificate, _) => {
                let (set, other) = match certificate {
                    Some(_) => ("CHATCTL_TLS_CERT", "CHATCTL_TLS_KEY"),
                    None => ("CHATCTL_TLS_KEY", "CHATCTL_TLS_CERT"),
                };
                let text = format!("{set} is set and {other} is not; set both for TLS, or neither");
                Err(ConfigError::together(text))
            }
        }
    }

    fn address(&self, key: &'static str) -> Result<SocketAddr, ConfigError> {
        self.required(key, |value| value.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::KafkaAccess;
    use crate::model::Durability;

    fn load(entries: &[(&str, &str)]) -> Result<Config, String> {
        let environment =
            entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Config::load(&Sources { environment, ..Sources::default() })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_durable_and_local() {
        let config = load(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        let PersistenceEngine::Local(local) = config.persistence else { panic!("not LOCAL") };
        assert_eq!(local.sync, LocalSync::Always);
        assert_eq!(local.reserve_bytes, 256 << 20);
        assert_eq!(config.require_durability, None);
        assert!(config.origins.is_empty());
    }

    #[test]
    fn values_are_typed() {
        let config = load(&[
            ("CHATCTL_LISTEN", "[::1]:0"),
            ("CHATCTL_LOCAL_SYNC", "interval"),
            ("CHATCTL_LOCAL_SYNC_INTERVAL_MS", "7"),
            ("CHATCTL_REQUIRE_DURABILITY", "disk"),
            ("CHATCTL_ALLOWED_ORIGINS", "https://chat.example, http://localhost:3000"),
            ("CHATCTL_LOG_FORMAT", "json"),
        ])
        .unwrap();
        let PersistenceEngine::Local(local) = config.persistence else { panic!("not LOCAL") };
        assert_eq!(local.sync, LocalSync::Interval(Duration::from_millis(7)));
        assert_eq!(config.require_durability, Some(Durability::DISK));
        assert_eq!(config.origins.len(), 2);
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.listen.port(), 0);
    }

    #[test]
    fn cassandra_has_nodes_a_keyspace_and_a_datacenter() {
        let config = load(&[
            ("WS_MESSAGE_PERSISTENCE_ENGINE", "CASSANDRA"),
            ("CASSANDRA_HOSTS", "a:1, b:2"),
        ])
        .unwrap();
        let PersistenceEngine::Cassandra(cassandra) = &config.persistence else {
            panic!("not CASSANDRA")
        };
        assert_eq!(cassandra.hosts, ["a:1", "b:2"]);
        assert_eq!(
            (cassandra.keyspace.as_str(), cassandra.datacenter.as_str()),
            ("chatctl", "datacenter1")
        );
    }

    #[test]
    fn riak_has_a_node_and_a_bucket_type() {
        let config = load(&[
            ("WS_MESSAGE_PERSISTENCE_ENGINE", "RIAK"),
            ("RIAK_URL", "http://riak-1:8098"),
            ("CHATCTL_RIAK_BUCKET_TYPE", "chat"),
        ]);
        let riak = RiakConfig { url: "http://riak-1:8098".into(), bucket_type: "chat".into() };
        assert_eq!(config.unwrap().persistence, PersistenceEngine::Riak(riak));
    }

    #[test]
    fn cassandra_may_ask_for_a_password_and_speak_tls() {
        let user = ("CHATCTL_CASSANDRA_USER", "chat");
        let password = ("CHATCTL_CASSANDRA_PASSWORD", "hidden");
        let engine = ("WS_MESSAGE_PERSISTENCE_ENGINE", "CASSANDRA");
        let (tls, ca) = (("CHATCTL_CASSANDRA_TLS", "yes"), ("CHATCTL_CASSANDRA_TLS_CA", "ca.pem"));
        let config = load(&[engine, user, password, tls, ca]).unwrap();
        assert!(!format!("{config:?}").contains("hidden"));
        let PersistenceEngine::Cassandra(cassandra) = config.persistence else { panic!("another") };
        assert_eq!(cassandra.login.unwrap().1.expose(), "hidden");
        assert_eq!(cassandra.tls, crate::config::ServiceTls::On { ca: Some("ca.pem".into()) });
        for alone in [user, password] {
            let text = load(&[alone]).unwrap_err();
            assert!(text.contains(user.0) && text.contains(password.0), "{text}");
        }
        assert!(load(&[ca]).unwrap_err().contains("CHATCTL_CASSANDRA_TLS=yes"));
    }

    #[test]
    fn kafka_has_brokers_and_one_topic() {
        let config = load(&[
            ("WS_MESSAGE_DISTRIBUTION_ENGINE", "KAFKA"),
            ("KAFKA_BROKERS", "a:1, b:2"),
            ("CHATCTL_KAFKA_PARTITIONS", "128"),
        ])
        .unwrap();
        let (brokers, topic) = (vec!["a:1".into(), "b:2".into()], "chatctl-hints".into());
        let kafka = KafkaConfig {
            brokers,
            access: KafkaAccess::default(),
            topic,
            partitions: 128,
            reads_open_only: false,
        };
        assert_eq!(config.distribution, DistributionEngine::Kafka(kafka));
    }

    #[test]
    fn redis_has_an_address_that_is_never_shown() {
        let config = load(&[
            ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
            ("REDIS_URL", "redis://ann:hidden@localhost:7000/3"),
        ])
        .unwrap();
        let PersistenceEngine::Redis(redis) = &config.persistence else { panic!("not REDIS") };
        assert_eq!(redis.url.expose(), "redis://ann:hidden@localhost:7000/3");
        assert_eq!(redis.prefix, "chatctl:");
        assert!(!format!("{config:?}").contains("hidden"));
        let ca = ("CHATCTL_REDIS_TLS_CA", "ca.pem");
        let text = load(&[("REDIS_URL", "redis://localhost"), ca]).unwrap_err();
        assert!(text.contains("CHATCTL_REDIS_TLS_CA") && text.contains("rediss://"), "{text}");
        assert!(load(&[("REDIS_URL", "rediss://localhost"), ca]).is_ok());
        let text = load(&[("REDIS_URL", "http://ann:hidden@localhost")]).unwrap_err();
        assert!(text.contains("REDIS_URL") && text.contains("redis://"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
    }

    #[test]
    fn tls_takes_a_certificate_and_a_key() {
        let both = [("CHATCTL_TLS_CERT", "a.pem"), ("CHATCTL_TLS_KEY", "b.pem")];
        let tls = TlsConfig { certificate: "a.pem".into(), key: "b.pem".into() };
        assert_eq!(load(&both).unwrap().tls, Some(tls));
        assert_eq!(load(&[]).unwrap().tls, None);
        for (alone, other) in [(both[0], both[1].0), (both[1], both[0].0)] {
            let text = load(&[alone]).unwrap_err();
            assert!(text.contains(alone.0) && text.contains(other), "{text}");
        }
    }

    #[rstest]
    #[case("CHATCTL_LISTEN", "localhost", "an IP address and a port")]
    #[case("CHATCTL_PING_MS", "1", "an integer from 10 to 86400000 (MS)")]
    #[case("CHATCTL_PING_MS", "+50", "an integer from 10")]
    #[case("CHATCTL_CONNECTIONS_MAX", "0", "an integer from 1")]
    #[case("CHATCTL_LOCAL_SYNC", "ALWAYS", "always, interval, never, memory")]
    #[case("CHATCTL_LOG_FORMAT", "xml", "text, json")]
    #[case("CHATCTL_REQUIRE_DURABILITY", "strong", "replicated+")]
    #[case("CHATCTL_ALLOWED_ORIGINS", "https://a,b", "origins with commas")]
    #[case("WS_MESSAGE_PERSISTENCE_ENGINE", "MYSQL", "LOCAL, REDIS, CASSANDRA, RIAK")]
    #[case("CASSANDRA_HOSTS", "localhost", "host:port")]
    #[case("CASSANDRA_KEYSPACE", "Chat", "lower-case letters")]
    #[case("CHATCTL_REDIS_PREFIX", "a{b}", "visible ASCII")]
    #[case("WS_MESSAGE_DISTRIBUTION_ENGINE", "NATS", "LOCAL, REDIS, KAFKA")]
    #[case("WS_CONN_PERSISTENCE_ENGINE", "KAFKA", "LOCAL, REDIS")]
    #[case("CHATCTL_NODE", "two words", "visible ASCII")]
    #[case("CHATCTL_LEASE_MS", "499", "an integer from 500")]
    #[case("CHATCTL_CLOCK_OFFSET_MS", "1s", "such as -5000")]
    fn an_error_names_the_variable_the_value_and_what_is_allowed(
        #[case] key: &str,
        #[case] value: &str,
        #[case] allowed: &str,
    ) {
        let text = load(&[(key, value)]).unwrap_err();
        assert!(text.contains(key) && text.contains(value) && text.contains(allowed), "{text}");
    }
}
