//! What the nodes say of themselves: what an `ok` survives, and when each was started.

use std::collections::BTreeMap;

use crate::model::{Durability, Level};
use crate::persistence::status::Found;

/// What one node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name in the ring.
    pub host_id: String,
    /// Another one after each start of its process.
    pub start: i64,
    /// Its settings by name.
    pub settings: BTreeMap<String, String>,
}

/// What holds for the keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyspaceFacts {
    /// Copies of each message.
    pub copies: u32,
    /// Writes go to the commit log.
    pub durable_writes: bool,
}

impl KeyspaceFacts {
    /// Copies that hold a message when it is acknowledged.
    pub fn quorum(self) -> u32 {
        self.copies / 2 + 1
    }
}

/// The settings that the class depends on.
pub const SETTINGS: [&str; 3] =
    ["commitlog_sync", "commitlog_compression", "commitlog_disk_access_mode"];

/// The class of an acknowledged message: that of the weakest node.
pub fn found(keyspace: KeyspaceFacts, nodes: &[NodeFacts]) -> Found {
    let replicated = keyspace.quorum() > 1;
    let weakest = nodes.iter().map(level).min_by_key(|(level, _)| *level);
    let (level, advice) = if keyspace.durable_writes {
        weakest.unwrap_or((Level::None, "no node says how it syncs its commit log"))
    } else {
        (Level::Process, "alter the keyspace: WITH durable_writes = true")
    };
    let durability = Durability { level, replicated };
    Found { durability, advice: advice.to_owned(), refusal: None }
}

/// What one copy survives.
///
/// `periodic` answers before the sync. A memory-mapped commit log is the kernel's all the same, so a kill of the process
/// loses nothing; one that is compressed, encrypted or written past the kernel's cache is the process's own until the sync.
fn level(node: &NodeFacts) -> (Level, &'static str) {
    let of = |name: &str| node.settings.get(name).map_or("", String::as_str);
    match of("commitlog_sync") {
        "batch" | "group" => (Level::Disk, ""),
        _ => {
            let is_plain = matches!(of("commitlog_compression"), "" | "null")
                && matches!(of("commitlog_disk_access_mode"), "" | "null" | "legacy" | "mmap");
            let level = if is_plain { Level::Service } else { Level::Process };
            (level, "set commitlog_sync: batch in cassandra.yaml of every node")
        }
    }
}

/// The starts of nodes, as the store notes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Starts(BTreeMap<String, i64>);

impl Starts {
    /// Of the nodes that answered.
    pub fn of(nodes: &[NodeFacts]) -> Self {
        Self(nodes.iter().map(|node| (node.host_id.clone(), node.start)).collect())
    }

    /// From the text in the store; what is not a start is left out.
    pub fn parse(text: &str) -> Self {
        let pair = |pair: &str| {
            let (host_id, start) = pair.split_once('=')?;
            Some((host_id.to_owned(), start.parse().ok()?))
        };
        Self(text.split_whitespace().filter_map(pair).collect())
    }

    /// The inverse.
    pub fn text(&self) -> String {
        self.0.iter().map(|(host_id, start)| format!("{host_id}={start} ")).collect()
    }

    /// Nodes that were started since `noted`.
    pub fn changed_since(&self, noted: &Self) -> usize {
        let changed = |(host_id, start): &(&String, &i64)| {
            noted.0.get(*host_id).is_some_and(|noted| noted != *start)
        };
        self.0.iter().filter(changed).count()
    }

    /// These, and what is noted of nodes that did not answer.
    pub fn with(&self, noted: &Self) -> Self {
        let mut all = noted.0.clone();
        all.extend(self.0.clone());
        Self(all)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn node(settings: &[(&str, &str)]) -> NodeFacts {
        let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        NodeFacts { host_id: "a".to_owned(), start: 1, settings: settings.collect() }
    }

    #[rstest]
    #[case("batch", "null", "legacy", true, 1, "disk", "")]
    #[case("group", "null", "legacy", true, 3, "replicated+disk", "")]
    #[case("periodic", "null", "legacy", true, 1, "service", "commitlog_sync: batch")]
    #[case("periodic", "null", "direct", true, 1, "process", "commitlog_sync: batch")]
    #[case("periodic", "LZ4Compressor", "mmap", true, 3, "replicated+process", "commitlog_sync")]
    #[case("batch", "null", "legacy", false, 3, "replicated+process", "durable_writes = true")]
    fn the_class_follows_the_settings_and_names_the_one_to_change(
        #[case] sync: &str,
        #[case] compression: &str,
        #[case] access: &str,
        #[case] durable_writes: bool,
        #[case] copies: u32,
        #[case] class: &str,
        #[case] advice: &str,
    ) {
        let one = node(&[
            ("commitlog_sync", sync),
            ("commitlog_compression", compression),
            ("commitlog_disk_access_mode", access),
        ]);
        let strong = node(&[("commitlog_sync", "batch")]);
        let found = found(KeyspaceFacts { copies, durable_writes }, &[strong, one]);
        assert_eq!(found.durability.to_string(), class);
        assert!(found.advice.contains(advice) && found.advice.is_empty() == advice.is_empty());
    }

    #[test]
    fn starts_are_counted_where_they_were_noted_before() {
        let noted = Starts::parse("a=1 b=2 c=3 nonsense");
        assert_eq!(Starts::parse(&noted.text()), noted);
        let now = Starts::parse("a=1 b=4 d=5");
        assert_eq!(now.changed_since(&noted), 1);
        assert_eq!(now.with(&noted), Starts::parse("a=1 b=4 c=3 d=5"));
    }
}
