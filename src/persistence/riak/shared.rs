//! Objects that several may change at once: what each adds is kept, whoever was first.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::failure;
use crate::persistence::EngineError;
use crate::riak_link::{Condition, Node, Place, Put, Version};

/// How long a change is tried beside others.
const CHANGE_TIME: Duration = Duration::from_secs(4);
/// The first pause, before it is tried again; the next is twice as long.
const PAUSE: Duration = Duration::from_millis(2);

/// A value that can be united with another one of itself, in any order and twice.
pub trait Mergeable: Default + Clone + PartialEq + Serialize + DeserializeOwned + Send {
    /// What it is, for errors.
    const WHAT: &'static str;

    /// Whether it is as all are that were made here: what was read may be anything.
    fn is_sound(&self) -> bool;

    /// Takes what the other one has more.
    fn merge(&mut self, other: Self);
}

/// Reads it; where there is none it is empty.
pub async fn read<T: Mergeable>(node: &Node, place: &Place) -> Result<T, EngineError> {
    Ok(versioned(node, place).await?.0)
}

async fn versioned<T: Mergeable>(
    node: &Node,
    place: &Place,
) -> Result<(T, Option<Version>), EngineError> {
    let Some(found) = node.get(place).await? else { return Ok((T::default(), None)) };
    let mut merged = T::default();
    for value in &found.values {
        let value: Option<T> = serde_json::from_slice(value).ok();
        let value = value.filter(T::is_sound).ok_or_else(|| failure::unreadable(T::WHAT))?;
        merged.merge(value);
    }
    Ok((merged, Some(found.version)))
}

/// Changes it until the change holds; `change` answers what is told, and may be asked again of what another one wrote meanwhile. It must be
/// such that doing it twice is doing it once, and answers the same.
pub async fn change<T: Mergeable, R: Send>(
    node: &Node,
    place: &Place,
    mut change: impl FnMut(&mut T) -> R + Send,
) -> Result<R, EngineError> {
    let (deadline, mut pause) = (Instant::now() + CHANGE_TIME, PAUSE);
    let mut doubt = None;
    loop {
        let read = versioned::<T>(node, place).await;
        let (before, version) = match (read, &doubt) {
            (Ok(read), _) => read,
            (Err(error), None) => return Err(failure::before_anything(error)),
            // What was sent before may have been done, whatever is answered now.
            (Err(_), Some(_)) if Instant::now() < deadline => {
                sleep(pause).await;
                continue;
            }
            (Err(_), Some(doubt)) => return Err(EngineError::clone(doubt)),
        };
        let mut after = before.clone();
        let answer = change(&mut after);
        // What is there may be on less than a quorum, of a call that was told so: it is written once more.
        if after == before && version.is_none() {
            return Ok(answer);
        }
        let bytes = serde_json::to_vec(&after)
            .map_err(|error| EngineError::Internal(format!("riak: {}: {error}", T::WHAT)))?;
        let condition = version.as_ref().map_or(Condition::Absent, Condition::Unchanged);
        match node.put(place, bytes.into(), condition).await.map_err(EngineError::from) {
            Ok(Put::Stored) => return Ok(answer),
            Ok(Put::Taken) => {}
            Err(error) if error.is_definite() && doubt.is_none() => return Err(error),
            Err(error) => doubt = doubt.or(Some(error)),
        }
        if Instant::now() > deadline {
            return Err(doubt.unwrap_or_else(|| failure::crowded("many change the same at once")));
        }
        sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
        pause *= 2;
    }
}
