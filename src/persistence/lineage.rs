//! Which life of the store numbers belong to, and how a node hears of a new one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::Lost;
use crate::model::Epoch;

/// One life of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Rises from life to life; fences the writes of nodes that have not heard of the newest.
    pub generation: u64,
    /// Its name for clients.
    pub epoch: Epoch,
}

/// What this node knows of the store's lives; shared by all its connections.
#[derive(Debug)]
pub struct Lineage {
    engine: &'static str,
    state: Mutex<State>,
    renewed: Renewals,
}

/// Counts the changes of life after the first; of all parts of a store.
pub type Renewals = watch::Sender<u64>;

#[derive(Debug, Default)]
struct State {
    life: Option<Arc<Life>>,
    /// The highest beat of this life that the server acknowledged to this node.
    beat: u64,
    lost: Option<Lost>,
}

impl Lineage {
    /// Nothing is known yet. `engine`: who it is that tells of it in logs.
    pub fn new(engine: &'static str) -> Self {
        Self::of_part(engine, Renewals::new(0))
    }

    /// The same of a part of a store, which is counted with the others.
    pub fn of_part(engine: &'static str, renewed: Renewals) -> Self {
        Self { engine, state: Mutex::default(), renewed }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Every change under the lock is a single assignment or a few that cannot panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life and the highest acknowledged beat; `None` before the first connection.
    pub fn known(&self) -> Option<(Arc<Life>, u64)> {
        let state = self.state();
        state.life.clone().map(|life| (life, state.beat))
    }

    /// Takes what the store says. `lost`: this very question found that something is missing.
    /// Answers whether the life is another than the one known before.
    pub fn learn(&self, life: Life, lost: bool) -> bool {
        let mut state = self.state();
        let known = state.life.clone();
        if known.as_deref() == Some(&life) {
            return false;
        }
        // Two connections may ask around a change: the older answer must not win.
        if known.as_ref().is_some_and(|known| known.generation > life.generation) {
            return false;
        }
        let renewed = known.is_some();
        if renewed || lost {
            state.lost = Some(Lost { at: Instant::now(), epoch: life.epoch.clone() });
            tracing::warn!(
                engine = self.engine, epoch = %life.epoch,
                "the store came back with less than it had acknowledged, or may have; a new epoch begins"
            );
        }
        state.life = Some(Arc::new(life));
        state.beat = 0;
        drop(state);
        if renewed {
            self.renewed.send_modify(|count| *count += 1);
        }
        renewed
    }

    /// The server acknowledged this beat of `life`.
    pub fn acknowledge(&self, life: &Life, beat: u64) {
        let mut state = self.state();
        if state.life.as_deref() == Some(life) {
            state.beat = state.beat.max(beat);
        }
    }

    /// The loss that was noticed last.
    pub fn lost(&self) -> Option<Lost> {
        self.state().lost.clone()
    }

    /// Counts the changes of life after the first.
    pub fn renewals(&self) -> watch::Receiver<u64> {
        self.renewed.subscribe()
    }
}
