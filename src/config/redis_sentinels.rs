//! The sentinels of a Redis.

use super::load::Reader;
use super::redis_place::addresses;
use super::{ConfigError, RedisUrl, Secret};

/// The sentinels that look after a Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSentinels {
    /// Host and port of each; at least one.
    pub addresses: Vec<(String, u16)>,
    /// What they call the primary: the host of `REDIS_URL`.
    pub primary: String,
    /// Their own password, where they ask for one.
    pub password: Option<Secret>,
}

impl RedisSentinels {
    /// Those that were named; `None`: none were, and `url` says where the server is.
    pub(super) fn load(reader: &Reader<'_>, url: &RedisUrl) -> Result<Option<Self>, ConfigError> {
        let together = |text: &str| ConfigError::together(text.to_owned());
        let addresses = reader.parsed("CHATCTL_REDIS_SENTINELS", addresses)?;
        let password = reader.optional("CHATCTL_REDIS_SENTINEL_PASSWORD")?.map(Secret::new);
        let Some(addresses) = addresses else {
            return match password {
                None => Ok(None),
                Some(_) => Err(together(
                    "CHATCTL_REDIS_SENTINEL_PASSWORD is set and CHATCTL_REDIS_SENTINELS is not; set it to where the sentinels are",
                )),
            };
        };
        match url.name() {
            Some(primary) => Ok(Some(Self { addresses, primary: primary.to_owned(), password })),
            None => Err(together(
                "CHATCTL_REDIS_SENTINELS is set and REDIS_URL names a port; with sentinels its host is their name of the primary, without a port, as in redis://mymaster",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::config::RedisPlace;
    use crate::config::redis_place::tests::load;

    #[test]
    fn the_host_of_the_url_is_the_name_of_the_primary() {
        let place = load(&[
            ("REDIS_URL", "redis://chat:hunter2@mymaster/2"),
            ("CHATCTL_REDIS_SENTINELS", "10.0.0.1:26379, [::1]:26380"),
            ("CHATCTL_REDIS_SENTINEL_PASSWORD", "hunter3"),
        ]);
        let RedisPlace::Sentinels(sentinels) = place.unwrap() else { panic!("they were named") };
        assert!(!format!("{sentinels:?}").contains("hunter"), "{sentinels:?}");
        assert_eq!(sentinels.primary, "mymaster");
        let addresses = [("10.0.0.1", 26379), ("::1", 26380)];
        assert_eq!(sentinels.addresses, addresses.map(|(host, port)| (host.to_owned(), port)));
    }

    #[rstest]
    #[case(&[("REDIS_URL", "redis://mymaster"), ("CHATCTL_REDIS_SENTINELS", "sentinel-1")], "host:port")]
    #[case(&[("REDIS_URL", "redis://db:6379"), ("CHATCTL_REDIS_SENTINELS", "a:1")], "redis://mymaster")]
    #[case(&[("CHATCTL_REDIS_SENTINEL_PASSWORD", "hunter2")], "CHATCTL_REDIS_SENTINELS")]
    fn what_does_not_go_together_is_said(#[case] entries: &[(&str, &str)], #[case] said: &str) {
        let text = load(entries).unwrap_err();
        assert!(text.contains(said) && !text.contains("hunter2"), "{text}");
    }
}
