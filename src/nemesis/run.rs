//! The one that acts: by the clock, one thing after the other.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::schedule::Act;
use super::world::World;
use crate::harness::HarnessError;
use crate::history::{NemesisPhase, NemesisTarget, Seen};

/// How long a server may take until it is ready again, once everything else is whole.
const READY_MAX: Duration = Duration::from_secs(30);

/// A world, and what will be done to it.
#[derive(Debug)]
pub struct Nemesis {
    world: World,
    acts: Vec<Act>,
    done: u64,
}

/// Whoever keeps the history: takes one line of the nemesis.
pub type Note<'a> = &'a (dyn Fn(Seen) + Send + Sync);

impl Nemesis {
    /// One that will do `acts`.
    pub fn new(world: World, acts: Vec<Act>) -> Self {
        Self { world, acts, done: 0 }
    }

    /// What it acts on.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The same, where nothing is being broken.
    pub fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// How many acts were begun so far.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Gives the world back.
    pub fn into_world(self) -> World {
        self.world
    }

    /// Does everything, each at its time or, where the one before took longer, right after it, and undoes it. Ends early with
    /// `stop`; an act under way is undone first. [`heal`](Self::heal) comes after it, whatever it returns: a panic of its own is
    /// an error too, so that nothing stays broken.
    pub async fn run(
        &mut self,
        note: Note<'_>,
        stop: &CancellationToken,
    ) -> Result<(), HarnessError> {
        let acting = AssertUnwindSafe(self.act(note, stop)).catch_unwind().await;
        acting.unwrap_or_else(|_| Err(HarnessError::Nemesis("it panicked".to_owned())))
    }

    async fn act(&mut self, note: Note<'_>, stop: &CancellationToken) -> Result<(), HarnessError> {
        let begun = Instant::now();
        for act in self.acts.clone() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = sleep_until(begun + act.at) => {}
            }
            self.do_and_undo(&act, note, stop).await?;
        }
        Ok(())
    }

    async fn do_and_undo(
        &mut self,
        act: &Act,
        note: Note<'_>,
        stop: &CancellationToken,
    ) -> Result<(), HarnessError> {
        let (name, target) = self.world.describe(&act.what);
        let on = act.what.target();
        let tell = |phase| {
            note(Seen::Nemesis { act: name.clone(), on, target: target.clone(), phase });
        };
        // Told before, so that whatever it does has a cause in the history.
        tell(NemesisPhase::Begins);
        self.done += 1;
        let under_way = self.world.begin(&act.what).await?;
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = sleep(act.hold) => {}
        }
        self.world.undo(under_way).await?;
        tell(NemesisPhase::Ends);
        Ok(())
    }

    /// Makes everything whole, and tells so. An error after that is of servers that are not ready all the same: what becomes of those who come
    /// to them is for the history to say.
    pub async fn heal(&mut self, note: Note<'_>) -> Result<(), HarnessError> {
        self.world.heal().await?;
        let ready = self.world.targets().wait_until_ready(READY_MAX).await;
        note(Seen::Nemesis {
            act: "heal".to_owned(),
            on: NemesisTarget::Everything,
            target: "everything".to_owned(),
            phase: NemesisPhase::Healed,
        });
        ready
    }
}
