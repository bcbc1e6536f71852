//! A simulated machine: its clock, its disk, and what a crash leaves of it.

use std::sync::{Arc, Mutex, Weak};

use rand::Rng;
use rand::rngs::SmallRng;

use super::flaw::Flaw;
use super::world::World;
use crate::persistence::local::SyncPolicy;
use crate::persistence::local::folder::Marker;
use crate::persistence::local::keys::Table;
use crate::persistence::local::memory::MemoryTables;
use crate::persistence::local::tables::{Batch, TableError, Tables, View};

/// Table, key, value.
type Insert = (Table, Vec<u8>, Vec<u8>);

/// What outlives a process.
#[derive(Default)]
pub struct Disk {
    /// The marker of the data folder: always replaced whole, and forced to the disk.
    pub marker: Option<Marker>,
    /// The batches that reached the kernel, in their order.
    batches: Vec<Vec<Insert>>,
    /// So many of them are forced to the disk.
    synced: usize,
    /// Which boot of the machine it is.
    boot: u64,
}

impl Disk {
    /// The name of the boot.
    pub fn boot(&self) -> String {
        format!("boot {}", self.boot)
    }

    /// The power is gone: of what was not forced to the disk, only a beginning survives.
    pub fn lose_power(&mut self, dice: &mut SmallRng, flaw: Option<Flaw>) {
        let kept = dice.random_range(self.synced..=self.batches.len());
        self.batches.truncate(kept);
        if let (Some(Flaw::HalfBatch), Some(last)) = (flaw, self.batches.last_mut()) {
            let half = last.len() / 2;
            last.truncate(half);
        }
        self.synced = self.batches.len();
        self.boot += 1;
    }

    /// What was sent under which `cid` is gone.
    pub fn forget_cids(&mut self) {
        for batch in &mut self.batches {
            batch.retain(|(table, _, _)| *table != Table::Dedupe);
        }
    }
}

/// How the next write or sync goes.
pub struct Fate {
    /// How long it takes, µs.
    pub write_us: u64,
    /// Its sync, µs.
    pub sync_us: u64,
    /// From when it shows to when that is known, µs.
    pub known_us: u64,
    /// It fails, having written or not.
    pub fails: Option<bool>,
}

/// The tables of one process on it.
pub struct DiskTables {
    world: Weak<World>,
    memory: MemoryTables,
    policy: SyncPolicy,
    flaw: Option<Flaw>,
    /// The process is not answering anybody yet.
    pub is_opening: Mutex<bool>,
}

impl DiskTables {
    /// Opens what is there.
    pub fn open(world: &Arc<World>, policy: SyncPolicy, flaw: Option<Flaw>) -> Arc<Self> {
        let memory = MemoryTables::default();
        for batch in &world.state().disk.batches {
            let mut again = Batch::default();
            batch.iter().for_each(|(table, key, value)| again.insert(*table, key, value));
            memory.commit(&again).unwrap();
        }
        let world = Arc::downgrade(world);
        Arc::new(Self { world, memory, policy, flaw, is_opening: Mutex::new(true) })
    }

    fn world(&self) -> Arc<World> {
        self.world.upgrade().unwrap()
    }

    fn failed(&self, world: &World) -> Result<(), TableError> {
        if self.flaw == Some(Flaw::SwallowedFailure) {
            world.state().goes_on_for_a_while();
            return Ok(());
        }
        world.state().has_failed = true;
        Err(TableError("the disk failed".to_owned()))
    }

    fn force(&self, world: &World, sync_us: u64) {
        let written = world.state().disk.batches.len();
        world.pass(sync_us);
        let disk = &mut world.state().disk;
        disk.synced = disk.synced.max(written);
    }
}

impl Tables for DiskTables {
    fn view(&self) -> Box<dyn View + '_> {
        self.memory.view()
    }

    fn commit(&self, batch: &Batch) -> Result<(), TableError> {
        let world = self.world();
        let fate = world.fate();
        world.pass(fate.write_us);
        if fate.fails == Some(false) {
            return self.failed(&world);
        }
        let inserts = batch.inserts().map(|insert| {
            let (key, value) = insert.split();
            (insert.table, key.to_vec(), value.to_vec())
        });
        world.state().disk.batches.push(inserts.collect());
        if fate.fails == Some(true) {
            return self.failed(&world);
        }
        if self.policy == SyncPolicy::Always && self.flaw != Some(Flaw::AnsweredUnsynced) {
            self.force(&world, fate.sync_us);
        }
        self.memory.commit(batch)?;
        // Readers come between the moment from which it shows and the moment at which the committer knows.
        world.pass(fate.known_us);
        Ok(())
    }

    fn sync(&self) -> Result<(), TableError> {
        let world = self.world();
        let is_opening = *self.is_opening.lock().unwrap();
        let lies = match self.flaw {
            Some(Flaw::NeverSynced) => !is_opening,
            Some(Flaw::FoundUnsynced) => is_opening,
            _ => false,
        };
        let fate = world.fate();
        if !lies {
            self.force(&world, fate.sync_us);
        }
        Ok(())
    }
}
