//! What a node says of itself, and what it does when several write the same at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::Value;
use uuid::Uuid;

use crate::model::{Durability, Level};
use crate::persistence::status::Found;
use crate::riak_link::{CallError, Condition, Node, Place, Put};

/// Writers of the probe.
const RACERS: usize = 16;
/// Races of the probe: where writers are not kept apart, some of them have one winner all the same (23 of 100 on a real node).
const ROUNDS: usize = 12;
/// A race that takes longer says no more than one that fails.
const PROBE_TIME: Duration = Duration::from_secs(2);
/// Races that may go wrong before that is an answer.
const SLOW_MAX: usize = 3;
/// Below it a ring cannot always give each replica a node of its own.
const REPLICATED_MEMBERS: usize = 5;

/// The class of an acknowledged message.
///
/// `sync_on_write=all`: each replica syncs before it answers. Otherwise bitcask, leveldb and leveled have given it to the kernel.
pub fn found(properties: &Value, stats: &Value) -> Found {
    let backend = stats["storage_backend"].as_str().unwrap_or_default();
    let (level, advice) = match properties["sync_on_write"].as_str() {
        _ if backend.contains("memory") => {
            (Level::Process, "set storage_backend = leveled in riak.conf of every node")
        }
        Some("all") => (Level::Disk, ""),
        _ => (
            Level::Service,
            "set sync_on_write=all of the bucket type: riak-admin bucket-type update",
        ),
    };
    let members = stats["ring_members"].as_array().map_or(0, Vec::len);
    let copies = properties["n_val"].as_u64().unwrap_or(1);
    let replicated = copies >= 3 && members >= REPLICATED_MEMBERS;
    Found { durability: Durability { level, replicated }, advice: advice.to_owned(), refusal: None }
}

/// Whether writers on the same condition all but one lose, found by trying; else why one node must be alone with the store, and which
/// setting would change it.
pub async fn probe(node: &Node) -> Result<Option<String>, CallError> {
    const CHANGE: &str = "set conditional_put_mode = prefer_token in riak.conf of every node, for more than one server";
    let (mut rounds, mut slow) = (0, 0);
    while rounds < ROUNDS {
        let begun = Instant::now();
        let winners = race(node).await?;
        let took = begun.elapsed();
        if winners > 1 {
            return Ok(Some(format!(
                "{winners} of {RACERS} writers who all asked to be the first were told that they are; {CHANGE}"
            )));
        }
        if winners == 1 && took <= PROBE_TIME {
            rounds += 1;
            continue;
        }
        // Once it may be a node that is busy.
        slow += 1;
        if slow == SLOW_MAX {
            return Ok(Some(format!(
                "{RACERS} writers at once took {} ms, and {winners} of them wrote; {CHANGE}",
                took.as_millis()
            )));
        }
    }
    Ok(None)
}

/// How many win of those who write the same new object at once.
async fn race(node: &Node) -> Result<usize, CallError> {
    let place = Place { bucket: "probe".to_owned(), key: Uuid::now_v7().to_string() };
    let value = |racer: usize| Bytes::from(format!("{{\"racer\":{racer}}}"));
    let racers = (0..RACERS).map(|racer| node.put(&place, value(racer), Condition::Absent));
    let mut winners = BTreeSet::new();
    for (racer, outcome) in join_all(racers).await.into_iter().enumerate() {
        match outcome {
            Ok(Put::Stored) => drop(winners.insert(value(racer))),
            // Whoever hears nothing may have won: then it stands there.
            Ok(Put::Taken) | Err(CallError::Doubt(_)) => {}
            Err(error) => return Err(error),
        }
    }
    winners.extend(node.get(&place).await?.into_iter().flat_map(|found| found.values));
    Ok(winners.len())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("all", "riak_kv_leveled_backend", 3, 5, "replicated+disk")]
    #[case("all", "riak_kv_leveled_backend", 3, 3, "disk")]
    #[case("all", "riak_kv_leveled_backend", 1, 5, "disk")]
    #[case("backend", "riak_kv_bitcask_backend", 3, 1, "service")]
    #[case("all", "riak_kv_memory_backend", 3, 1, "process")]
    fn the_class_follows_the_settings(
        #[case] sync: &str,
        #[case] backend: &str,
        #[case] copies: u64,
        #[case] members: usize,
        #[case] class: &str,
    ) {
        let properties = json!({"sync_on_write": sync, "n_val": copies});
        let stats = json!({"storage_backend": backend, "ring_members": vec!["riak@a"; members]});
        let found = found(&properties, &stats);
        assert_eq!(found.durability.to_string(), class);
        assert_eq!(found.advice.is_empty(), class.ends_with("disk"));
    }
}
