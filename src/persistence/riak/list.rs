//! The conversations of a user: one object, in which all of them stand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as Turn, oneshot};

use super::shared::{self, Mergeable};
use crate::model::{Place, UserName};
use crate::persistence::EngineError;
use crate::riak_link::{self, Node};

/// The bucket of all lists; the key is the user.
pub const BUCKET: &str = "lists";

/// What stands in a user's list, by the id of the conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct List(pub BTreeMap<String, Listed>);

/// A conversation in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// What it is.
    pub place: Arc<Place>,
    /// When it became theirs, µs since 1970 UTC.
    pub since_us: u64,
}

impl Mergeable for List {
    const WHAT: &'static str = "a list of conversations";

    fn is_sound(&self) -> bool {
        self.0.iter().all(|(conv, listed)| *conv == listed.place.conv_id().to_string())
    }

    fn merge(&mut self, other: Self) {
        for (conv, listed) in other.0 {
            let known = self.0.entry(conv).or_insert_with(|| listed.clone());
            // It became theirs once: the first time.
            known.since_us = known.since_us.min(listed.since_us);
        }
    }
}

impl List {
    /// Adds a conversation that is not there.
    pub fn add(&mut self, place: &Arc<Place>, since_us: u64) {
        let listed = || Listed { place: Arc::clone(place), since_us };
        self.0.entry(place.conv_id().to_string()).or_insert_with(listed);
    }
}

/// Where it is.
pub fn place(user: &UserName) -> riak_link::Place {
    riak_link::Place { bucket: BUCKET.to_owned(), key: user.to_string() }
}

/// The way into lists: what is added to one list of this node at once is one write, not a race for it.
pub struct Lists {
    by_user: Cache<UserName, Arc<Desk>>,
}

#[derive(Default)]
struct Desk {
    waiting: Mutex<Vec<Waiting>>,
    turn: Turn<()>,
}

struct Waiting {
    place: Arc<Place>,
    since_us: u64,
    answer: oneshot::Sender<Result<(), EngineError>>,
}

impl Default for Lists {
    fn default() -> Self {
        const USERS_MAX: usize = 10_000;
        Self { by_user: Cache::new(USERS_MAX) }
    }
}

impl Lists {
    /// Adds a conversation to a user's list, unless it is there.
    pub async fn add(
        &self,
        node: &Node,
        user: &UserName,
        place: &Arc<Place>,
        since_us: u64,
    ) -> Result<(), EngineError> {
        let desk = self.by_user.get_or_insert_with(user, || Ok::<_, ()>(Arc::default()));
        let desk = desk.unwrap_or_default();
        loop {
            let (answer, mut told) = oneshot::channel();
            // A push cannot leave it half done.
            let waiting = || desk.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting().push(Waiting { place: Arc::clone(place), since_us, answer });
            let turn = desk.turn.lock().await;
            match told.try_recv() {
                Ok(outcome) => return outcome,
                Err(oneshot::error::TryRecvError::Empty) => {}
                // Whoever wrote for this one went away in the middle.
                Err(oneshot::error::TryRecvError::Closed) => continue,
            }
            let batch = std::mem::take(&mut *waiting());
            let add = |list: &mut List| {
                for Waiting { place, since_us, .. } in &batch {
                    list.add(place, *since_us);
                }
            };
            let outcome = shared::change(node, &self::place(user), add).await;
            for Waiting { answer, .. } in batch {
                let _ = answer.send(outcome.clone());
            }
            drop(turn);
            return outcome;
        }
    }
}
