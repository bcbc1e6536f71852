//! What the server says of itself: who it is, and what its `ok` survives.

use std::collections::HashMap;

use crate::model::{Durability, Level};
use crate::persistence::status::Found;
use crate::redis_link::StandIn;

/// What was found on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Another one after each start of the server's process.
    pub run_id: String,
    /// It follows another server: it takes no writes of its own.
    pub is_replica: bool,
    /// It has followed another server, and may have less than that one had acknowledged.
    pub was_replica: bool,
    /// What an acknowledged message survives.
    pub durability: Durability,
    /// Why it is not more, and what to change; empty at class `disk`.
    pub advice: String,
}

impl Facts {
    /// From the texts of `INFO server`, `INFO replication` and the answer of `CONFIG GET`.
    pub fn new(info: &str, config: &HashMap<String, String>) -> Self {
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let (durability, advice) = class(config);
        Self {
            run_id: field("run_id"),
            is_replica: field("role") == "slave",
            // The id of the history that it followed; zeros where it never did.
            was_replica: field("master_replid2").bytes().any(|byte| byte != b'0'),
            durability,
            advice: advice.to_owned(),
        }
    }

    /// The same where a replica takes its place when it fails. Replicas hear of a message after it was answered, so a failure of the
    /// server's process may lose some, whatever it had on its disk.
    pub fn replaceable_by(self, who: StandIn) -> Self {
        if !self.durability.satisfies(Durability { level: Level::Service, replicated: false }) {
            return self;
        }
        Self { durability: Durability::PROCESS, advice: replaceable(who).to_owned(), ..self }
    }

    /// What of it matters to whoever uses the engine.
    pub fn found(self) -> Found {
        let refusal = self.is_replica.then_some(REPLICA);
        Found { durability: self.durability, advice: self.advice, refusal }
    }
}

/// Why they make it less.
fn replaceable(who: StandIn) -> &'static str {
    match who {
        StandIn::Sentinels => {
            "a failover by the sentinels of CHATCTL_REDIS_SENTINELS may lose what the replica had not received yet: leave the variable out and name one server by REDIS_URL"
        }
        StandIn::Cluster => {
            "a failover in the cluster of CHATCTL_REDIS_CLUSTER may lose what the replica had not received yet: use one server that is in no cluster, by REDIS_URL alone"
        }
    }
}

/// Why a replica is of no use.
const REPLICA: &str = "the server is a replica; set REDIS_URL to its primary";

/// The class of one copy.
///
/// `appendfsync no` writes to the kernel before each answer: class `service`. So does `everysec`, but not
/// while its once-a-second sync is still running: then the server holds writes back for up to 2 s and
/// answers all the same (`flushAppendOnlyFile`), and a kill of its process loses them: class `process`.
fn class(config: &HashMap<String, String>) -> (Durability, &'static str) {
    let of = |name: &str| config.get(name).map_or("", String::as_str);
    let class = |level| Durability { level, replicated: false };
    if of("maxmemory") != "0" && of("maxmemory-policy") != "noeviction" {
        return (
            class(Level::None),
            "the server may evict messages: set maxmemory-policy noeviction, or maxmemory 0",
        );
    }
    match (of("appendonly"), of("appendfsync")) {
        ("yes", "always") => (Durability::DISK, ""),
        ("yes", "no") => (class(Level::Service), "set appendfsync always on the server"),
        ("yes", _) => (Durability::PROCESS, "set appendfsync always on the server"),
        _ => (
            Durability::PROCESS,
            "set appendonly yes and appendfsync always on the server (and let it keep that: in its configuration file)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn what_a_replica_may_take_over_is_not_on_the_disk_for_good() {
        let config = [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory", "0")];
        let config = config.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let zeros = "0".repeat(40);
        let alone = Facts::new(&format!("role:master\r\nmaster_replid2:{zeros}\r\n"), &config);
        assert_eq!((alone.durability, alone.was_replica), (Durability::DISK, false));
        for (who, variable) in [
            (StandIn::Sentinels, "CHATCTL_REDIS_SENTINELS"),
            (StandIn::Cluster, "CHATCTL_REDIS_CLUSTER"),
        ] {
            let watched = alone.clone().replaceable_by(who);
            assert_eq!(watched.durability, Durability::PROCESS);
            assert!(watched.advice.contains(variable), "{watched:?}");
        }
        let promoted = Facts::new("role:master\r\nmaster_replid2:8f3a\r\n", &config);
        assert!(promoted.was_replica);
    }

    #[rstest]
    #[case("no", "everysec", "0", "noeviction", "process", "appendonly yes")]
    #[case("yes", "everysec", "0", "noeviction", "process", "appendfsync always")]
    #[case("yes", "no", "0", "noeviction", "service", "appendfsync always")]
    #[case("yes", "always", "0", "allkeys-lru", "disk", "")]
    #[case("yes", "always", "100", "noeviction", "disk", "")]
    #[case("yes", "always", "100", "allkeys-lru", "none", "maxmemory-policy noeviction")]
    fn the_class_follows_the_settings_and_names_the_one_to_change(
        #[case] appendonly: &str,
        #[case] appendfsync: &str,
        #[case] maxmemory: &str,
        #[case] policy: &str,
        #[case] durability: &str,
        #[case] advice: &str,
    ) {
        let config = [
            ("appendonly", appendonly),
            ("appendfsync", appendfsync),
            ("maxmemory", maxmemory),
            ("maxmemory-policy", policy),
        ];
        let config = config.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let facts = Facts::new("# Server\r\nrun_id:abc\r\nrole:master\r\n", &config);
        assert_eq!((facts.durability.to_string().as_str(), facts.is_replica), (durability, false));
        assert!(facts.advice.contains(advice) && facts.run_id == "abc", "{facts:?}");
    }
}
