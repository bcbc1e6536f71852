//! Which engines the servers of a run have, by name: their variables, and the services that they need.

use std::fmt;
use std::str::FromStr;

use anyhow::Context as _;

use crate::config::Sources;
use crate::harness::fresh_name;
use crate::nearest::did_you_mean;
use crate::services::ServiceKind;

/// An engine's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Local,
    Redis,
    Cassandra,
    Riak,
    Kafka,
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "local" => Ok(Self::Local),
            "redis" => Ok(Self::Redis),
            "cassandra" => Ok(Self::Cassandra),
            "riak" => Ok(Self::Riak),
            "kafka" => Ok(Self::Kafka),
            word => {
                let known = ["local", "redis", "cassandra", "riak", "kafka"];
                let meant = did_you_mean(word, known.into_iter());
                Err(format!(
                    "use local, redis, cassandra, riak (messages) or local, redis, kafka (the bus){meant}"
                ))
            }
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Local => "local",
            Self::Redis => "redis",
            Self::Cassandra => "cassandra",
            Self::Riak => "riak",
            Self::Kafka => "kafka",
        })
    }
}

/// Where messages are, what tells nodes of them, and how many nodes there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct EngineChoice {
    pub(super) messages: Engine,
    pub(super) bus: Engine,
    pub(super) nodes: usize,
}

impl EngineChoice {
    /// Whether there is such a thing.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { messages, bus, .. } = self;
        match *messages == Engine::Kafka || matches!(bus, Engine::Cassandra | Engine::Riak) {
            true => Err(format!("{messages} with {bus} as its bus is nothing that there is")),
            false => Ok(()),
        }
    }

    /// Whether it is several nodes of what runs on one only.
    pub(super) fn is_too_many_nodes(&self) -> bool {
        self.nodes > 1 && (self.messages == Engine::Local || self.bus == Engine::Local)
    }

    /// `redis`, or `redis-kafka`.
    pub(super) fn name(&self) -> String {
        match self.bus {
            Engine::Local => self.messages.to_string(),
            bus => format!("{}-{bus}", self.messages),
        }
    }

    /// Everything that it uses.
    fn used(&self) -> [Engine; 3] {
        [self.messages, self.bus, self.registry()]
    }

    /// Several nodes keep who is connected in Redis.
    fn registry(&self) -> Engine {
        if self.nodes > 1 { Engine::Redis } else { Engine::Local }
    }

    /// Whether its nodes use Redis.
    pub(super) fn uses_redis(&self) -> bool {
        self.used().contains(&Engine::Redis)
    }

    /// The variables of its servers; in Redis they have a part of their own.
    pub(super) fn environment(&self, sources: &Sources) -> anyhow::Result<Vec<(String, String)>> {
        let engine = |engine: Engine| engine.to_string().to_uppercase();
        let mut environment = vec![
            ("WS_MESSAGE_PERSISTENCE_ENGINE".to_owned(), engine(self.messages)),
            ("WS_MESSAGE_DISTRIBUTION_ENGINE".to_owned(), engine(self.bus)),
            ("WS_CONN_PERSISTENCE_ENGINE".to_owned(), engine(self.registry())),
        ];
        for (engine, key) in [
            (Engine::Redis, "REDIS_URL"),
            (Engine::Kafka, "KAFKA_BROKERS"),
            (Engine::Cassandra, "CASSANDRA_HOSTS"),
            (Engine::Riak, "RIAK_URL"),
        ] {
            if self.used().contains(&engine) {
                let value = sources.value(key).with_context(|| format!("{key} is not set"))?;
                environment.push((key.to_owned(), value.to_owned()));
            }
        }
        if self.uses_redis() {
            // Nobody else's data, nodes or users.
            let prefix = format!("{}:", fresh_name("bench"));
            environment.push(("CHATCTL_REDIS_PREFIX".to_owned(), prefix));
        }
        Ok(environment)
    }
}

/// The services that these need and that can be brought up; a Riak is somebody else's always, and servers say what is wrong with it.
pub(super) fn services_of(choices: &[EngineChoice]) -> Vec<ServiceKind> {
    let used = |engine| choices.iter().any(|choice| choice.used().contains(&engine));
    let mut needed = Vec::new();
    // KAFKA keeps its leases there.
    if used(Engine::Redis) || used(Engine::Kafka) {
        needed.push(ServiceKind::Redis);
    }
    if used(Engine::Kafka) {
        needed.push(ServiceKind::Kafka);
    }
    if used(Engine::Cassandra) {
        needed.push(ServiceKind::Cassandra);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(messages: Engine, bus: Engine, nodes: usize) -> EngineChoice {
        EngineChoice { messages, bus, nodes }
    }

    #[test]
    fn servers_are_told_where_their_services_are_and_no_more() {
        let sources = Sources {
            dotenv: [("REDIS_URL", "redis://r"), ("KAFKA_BROKERS", "k:1")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..Sources::default()
        };
        let local = choice(Engine::Local, Engine::Local, 1);
        assert_eq!(
            (local.name().as_str(), local.environment(&sources).unwrap().len()),
            ("local", 3)
        );
        let both = choice(Engine::Redis, Engine::Kafka, 3);
        assert_eq!(both.name(), "redis-kafka");
        let environment = both.environment(&sources).unwrap();
        let value = |key: &str| {
            environment.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
        };
        assert_eq!(value("WS_MESSAGE_DISTRIBUTION_ENGINE"), Some("KAFKA"));
        assert_eq!(value("WS_CONN_PERSISTENCE_ENGINE"), Some("REDIS"));
        assert_eq!(value("KAFKA_BROKERS"), Some("k:1"));
        assert!(value("CHATCTL_REDIS_PREFIX").unwrap().starts_with("bench-"));
        assert_eq!(value("CASSANDRA_HOSTS"), None);
        let usual = choice(Engine::Cassandra, Engine::Local, 1);
        let usual = usual.environment(&Sources::default()).unwrap();
        assert_eq!(usual.last().unwrap().0, "CASSANDRA_HOSTS", "its default");
        assert_eq!(
            services_of(&[choice(Engine::Cassandra, Engine::Kafka, 1)]),
            [ServiceKind::Redis, ServiceKind::Kafka, ServiceKind::Cassandra]
        );
        assert!(services_of(&[choice(Engine::Local, Engine::Local, 1)]).is_empty());
    }
}
