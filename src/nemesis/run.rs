//! The one that acts: by the clock, one thing after the other.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::schedule::Act;
use super::world::{READY_MAX, World};
use crate::harness::HarnessError;
use crate::history::{NemesisPhase, NemesisTarget, Seen};

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

    /// The same, to be changed.
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::harness::{ServerProcess, Targets};
    use crate::nemesis::What;

    /// Writes down with which clock it is started, each time.
    const SERVER: &str = r#"mkdir -p "$CHATCTL_DATA_DIR"
        echo "clock $CHATCTL_CLOCK_OFFSET_MS" >> "$CHATCTL_DATA_DIR/starts"
        trap 'exit 0' TERM
        echo ready ws://127.0.0.1:78/v1/ws
        while :; do sleep 0.02; done"#;

    async fn world() -> World {
        let server = ServerProcess::start_script(SERVER).await.unwrap();
        World::new(Targets::of_own(vec![server]), Vec::new(), None)
    }

    fn starts(nemesis: &Nemesis) -> String {
        let data = nemesis.world().targets().own()[0].data_folder();
        std::fs::read_to_string(data.join("store/starts")).unwrap()
    }

    #[tokio::test]
    async fn after_a_panic_with_a_wrong_clock_every_server_has_its_own() {
        let mut world = world().await;
        world.begin(&What::Clock { node: 0, offset_ms: 5_000 }).await.unwrap();
        let (now, hold) = (Duration::ZERO, Duration::from_secs(60));
        let act = Act { at: now, hold, what: What::Pause { node: 0 } };
        let mut nemesis = Nemesis::new(world, vec![act]);
        assert_eq!(starts(&nemesis), "clock \nclock 5000\n");
        let panics = |_| panic!("of the one who writes it down");
        let error = nemesis.run(&panics, &CancellationToken::new()).await.unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");

        let said = Mutex::new(Vec::new());
        nemesis.heal(&|seen| said.lock().unwrap().push(seen)).await.unwrap();
        assert_eq!(starts(&nemesis), "clock \nclock 5000\nclock \n");
        let said = said.into_inner().unwrap();
        assert!(matches!(said[..], [Seen::Nemesis { phase: NemesisPhase::Healed, .. }]));
        // What is whole is left alone.
        nemesis.heal(&|_| ()).await.unwrap();
        assert_eq!(starts(&nemesis).lines().count(), 3);
        assert_eq!(nemesis.into_world().targets_mut().stop().await, None);
    }

    #[tokio::test]
    async fn a_server_that_does_not_drain_well_is_told_and_healed() {
        let server = SERVER.replace("exit 0", "exit 7");
        let server = ServerProcess::start_script(&server).await.unwrap();
        let world = World::new(Targets::of_own(vec![server]), Vec::new(), None);
        let act = Act { at: Duration::ZERO, hold: Duration::ZERO, what: What::Restart { node: 0 } };
        let mut nemesis = Nemesis::new(world, vec![act]);
        let error = nemesis.run(&|_| (), &CancellationToken::new()).await.unwrap_err().to_string();
        assert!(error.contains("node 1") && error.contains("exit status: 7"), "{error}");
        nemesis.heal(&|_| ()).await.unwrap();
        assert_eq!(starts(&nemesis), "clock \nclock \n");
    }

    #[tokio::test]
    async fn an_act_that_was_dropped_in_the_middle_is_healed() {
        let act = Act {
            at: Duration::ZERO,
            hold: Duration::from_secs(60),
            what: What::Clock { node: 0, offset_ms: -700 },
        };
        let mut nemesis = Nemesis::new(world().await, vec![act]);
        let (nobody, never) = (|_| (), CancellationToken::new());
        // Until it is held: the server was started with the wrong clock.
        let held = async |data: std::path::PathBuf| {
            while std::fs::read_to_string(&data).unwrap().lines().count() < 2 {
                sleep(Duration::from_millis(10)).await;
            }
            sleep(Duration::from_millis(100)).await;
        };
        let data = nemesis.world().targets().own()[0].data_folder().join("store/starts");
        tokio::select! {
            ended = nemesis.run(&nobody, &never) => panic!("{ended:?}"),
            () = held(data) => {}
        }
        nemesis.heal(&nobody).await.unwrap();
        assert_eq!(starts(&nemesis), "clock \nclock -700\nclock \n");
        assert_eq!(nemesis.into_world().targets_mut().stop().await, None);
    }
}
