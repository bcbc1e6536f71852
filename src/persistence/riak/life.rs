//! Which life the store is in: one object that all nodes read, and replace when something is missing.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::failure;
use crate::model::Epoch;
use crate::persistence::EngineError;
use crate::persistence::lineage::{Life, Lineage};
use crate::riak_link::{CallError, Condition, Found, Node, Place, Put};

/// How often it is tried beside others.
const TRIES: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    generation: u64,
    epoch: Epoch,
}

fn place() -> Place {
    Place { bucket: "store".to_owned(), key: "life".to_owned() }
}

/// The newest of what stands there; of two that began at once, the one that all nodes take.
fn newest(found: &Found) -> Result<Stored, EngineError> {
    let read = |value: &Bytes| {
        serde_json::from_slice::<Stored>(value)
            .map_err(|_| failure::unreadable("a life of the store"))
    };
    let lives: Vec<Stored> = found.values.iter().map(read).collect::<Result<_, _>>()?;
    let newest = lives.into_iter().max_by(|one, other| {
        one.generation
            .cmp(&other.generation)
            .then_with(|| other.epoch.as_str().cmp(one.epoch.as_str()))
    });
    newest.ok_or_else(|| failure::unreadable("no life of the store"))
}

/// Reads it, and begins the first where there is none.
pub async fn learn(node: &Node, lineage: &Lineage) -> Result<Life, EngineError> {
    let mut lost = false;
    for _ in 0..TRIES {
        let known = lineage.known().map(|(life, _)| life);
        let Some(found) = node.get(&place()).await? else {
            // It was there, and is gone: nobody knows what else is.
            lost = known.is_some();
            let generation = known.map_or(Ok(1), |life| next(life.generation))?;
            put(node, generation, Condition::Absent).await?;
            continue;
        };
        let stored = newest(&found)?;
        if let Some(known) = known.filter(|known| known.generation > stored.generation) {
            lost = true;
            put(node, next(known.generation)?, Condition::Unchanged(&found.version)).await?;
            continue;
        }
        if found.values.len() > 1 {
            write(node, &stored, Condition::Replaces(&found.version)).await?;
        }
        let life = Life { generation: stored.generation, epoch: stored.epoch };
        lineage.learn(life.clone(), lost);
        return Ok(life);
    }
    Err(failure::crowded("other nodes change the life of the store all the time"))
}

/// Begins another life than this one, of a higher generation than `above`, unless somebody has. Answers only with a life that a quorum has.
pub async fn renew(
    node: &Node,
    lineage: &Lineage,
    life: &Life,
    above: u64,
) -> Result<Life, EngineError> {
    let before = life.generation.max(above);
    for _ in 0..TRIES {
        if let Some(found) = node.get(&place()).await? {
            let stored = newest(&found)?;
            if stored.generation > before {
                write(node, &stored, Condition::Replaces(&found.version)).await?;
                return learn(node, lineage).await;
            }
            put(node, next(before)?, Condition::Unchanged(&found.version)).await?;
        } else {
            put(node, next(before)?, Condition::Absent).await?;
        }
    }
    Err(failure::crowded("another life of the store cannot begin now"))
}

fn next(generation: u64) -> Result<u64, EngineError> {
    generation.checked_add(1).ok_or_else(|| failure::unreadable("a life with no number after it"))
}

async fn put(node: &Node, generation: u64, condition: Condition<'_>) -> Result<Put, EngineError> {
    write(node, &Stored { generation, epoch: Epoch::generate() }, condition).await
}

async fn write(node: &Node, stored: &Stored, condition: Condition<'_>) -> Result<Put, EngineError> {
    let bytes =
        serde_json::to_vec(stored).unwrap_or_else(|_| unreachable!("a life has only string keys"));
    match node.put(&place(), bytes.into(), condition).await {
        Ok(put) => Ok(put),
        // What became of it is read again anyway.
        Err(CallError::Doubt(_)) => Ok(Put::Taken),
        Err(error) => Err(error.into()),
    }
}
