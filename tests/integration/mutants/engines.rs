//! Engines that the servers of a series have.

use crate::support::services::SharedServices;

/// A choice of engines, as `CHATCTL_MUTANT_ENGINES` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engines {
    pub name: &'static str,
    /// What `check validity` is told of them.
    pub arguments: &'static [&'static str],
    /// What may be broken beside them without a wrong answer, in servers and links of the run alone.
    pub nemesis: &'static str,
}

pub const LOCAL: Engines = Engines {
    name: "local",
    arguments: &["--engine", "local"],
    nemesis: "kill,pause,cut,partition,latency,clock",
};

pub const REDIS: Engines = Engines {
    name: "redis-redis",
    arguments: &["--engine", "redis", "--distribution", "redis"],
    nemesis: "kill,pause,cut,partition,latency,clock",
};

const ALL: [Engines; 4] = [
    LOCAL,
    REDIS,
    Engines {
        name: "cassandra-redis",
        arguments: &[
            "--engine",
            "cassandra",
            "--distribution",
            "redis",
            // Where who is connected is a node's own, no other may be on the same store, and other tests are.
            "--server-env",
            "WS_CONN_PERSISTENCE_ENGINE=REDIS",
        ],
        nemesis: "kill,pause,cut,partition,latency",
    },
    Engines {
        name: "redis-kafka",
        arguments: &["--engine", "redis", "--distribution", "kafka"],
        nemesis: "kill,pause,cut,partition,latency",
    },
];

/// Those that are asked for; LOCAL where none is.
pub fn chosen() -> Vec<Engines> {
    let names = std::env::var("CHATCTL_MUTANT_ENGINES").unwrap_or_default();
    let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return vec![LOCAL];
    }
    let known = |name: &&str| {
        let found = ALL.into_iter().find(|engines| engines.name == *name);
        found.unwrap_or_else(|| panic!("{name:?} is none of {:?}", ALL.map(|known| known.name)))
    };
    names.iter().map(known).collect()
}

/// Where the services are, as variables.
pub fn variables(shared: &SharedServices) -> [(&'static str, String); 3] {
    ["REDIS_URL", "KAFKA_BROKERS", "CASSANDRA_HOSTS"]
        .map(|key| (key, shared.variable(key).to_owned()))
}
