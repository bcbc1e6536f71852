//! Who knows where Redis is, when not its URL.

use super::load::Reader;
use super::services::is_address;
use super::{ConfigError, RedisSentinels, RedisUrl};

/// Who says where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisPlace {
    /// The URL.
    Fixed,
    /// Those that look after it.
    Sentinels(RedisSentinels),
    /// Nodes of the cluster that it is one of: host and port of each, at least one.
    Cluster(Vec<(String, u16)>),
}

impl RedisPlace {
    /// As it was set; what does not go together is the error.
    pub(super) fn load(reader: &Reader<'_>, url: &RedisUrl) -> Result<Self, ConfigError> {
        let together = |text: &str| Err(ConfigError::together(text.to_owned()));
        let sentinels = RedisSentinels::load(reader, url)?;
        match (reader.parsed("CHATCTL_REDIS_CLUSTER", addresses)?, sentinels) {
            (None, None) => Ok(Self::Fixed),
            (None, Some(sentinels)) => Ok(Self::Sentinels(sentinels)),
            (Some(_), Some(_)) => together(
                "CHATCTL_REDIS_CLUSTER and CHATCTL_REDIS_SENTINELS are both set; a cluster has no sentinels: leave one of them out",
            ),
            (Some(_), None) if url.database() != 0 => together(
                "CHATCTL_REDIS_CLUSTER is set and REDIS_URL names a database; a cluster has only 0: leave it out",
            ),
            (Some(nodes), None) => Ok(Self::Cluster(nodes)),
        }
    }

    /// The variable that says it, where it is not the URL.
    pub fn variable(&self) -> Option<&'static str> {
        match self {
            Self::Fixed => None,
            Self::Sentinels(_) => Some("CHATCTL_REDIS_SENTINELS"),
            Self::Cluster(_) => Some("CHATCTL_REDIS_CLUSTER"),
        }
    }
}

/// `host:port,host:port…`
pub(super) fn addresses(text: &str) -> Option<Vec<(String, u16)>> {
    let judge = |entry: &str| {
        let (host, port) = is_address(entry).then(|| entry.rsplit_once(':'))??;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), port.parse().ok()?))
    };
    text.split(',').map(|entry| judge(entry.trim())).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::{Config, PersistenceEngine, Sources};

    pub fn load(entries: &[(&str, &str)]) -> Result<RedisPlace, String> {
        let engine = [("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS")];
        let entries = entries.iter().chain(&engine);
        let environment = entries.map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let config = Config::load(&Sources { environment, ..Sources::default() });
        match config.map_err(|error| error.to_string())?.persistence {
            PersistenceEngine::Redis(redis) => Ok(redis.place),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_url_says_it_unless_nodes_of_a_cluster_are_named() {
        assert_eq!(load(&[]).unwrap(), RedisPlace::Fixed);
        let place = load(&[("CHATCTL_REDIS_CLUSTER", "10.0.0.1:7000, [::1]:7001")]).unwrap();
        assert_eq!(place.variable(), Some("CHATCTL_REDIS_CLUSTER"));
        let nodes = [("10.0.0.1", 7_000), ("::1", 7_001)];
        let nodes = nodes.map(|(host, port)| (host.to_owned(), port)).to_vec();
        assert_eq!(place, RedisPlace::Cluster(nodes));
    }

    #[rstest]
    #[case(&[("CHATCTL_REDIS_CLUSTER", "10.0.0.1")], "host:port")]
    #[case(&[("CHATCTL_REDIS_CLUSTER", "a:1"), ("REDIS_URL", "redis://h:1/2")], "a cluster has only 0")]
    #[case(&[("CHATCTL_REDIS_CLUSTER", "a:1"), ("REDIS_URL", "redis://h"), ("CHATCTL_REDIS_SENTINELS", "b:1")], "CHATCTL_REDIS_SENTINELS")]
    fn what_does_not_go_together_is_said(#[case] entries: &[(&str, &str)], #[case] said: &str) {
        let text = load(entries).unwrap_err();
        assert!(text.contains(said) && text.contains("CHATCTL_REDIS_CLUSTER"), "{text}");
    }
}
