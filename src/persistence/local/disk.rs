//! The tables on disk: fjall, a log-structured store with a journal.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Snapshot,
};

use super::SyncPolicy;
use super::journal::{self, Unsynced};
use super::keys::Table;
use super::tables::{Batch, Each, TableError, Tables, View, is_crossed};

/// What a start reads again after a crash: a journal is kept until each table has written what the journal has of it, and the small tables
/// keep theirs longest. At the store's own bound of 512 MiB that was 4.9 s (`bench floor`, G23).
const JOURNALS_BYTES: u64 = 128 << 20;

/// What a table keeps in memory before it is written; half the store's own measure, for the same reason.
const MEMTABLE_BYTES: u64 = 32 << 20;

/// How long a stop waits until the tables are written; what is not, the next start reads from the journal.
const SETTLING_MAX: Duration = Duration::from_secs(1);
const SETTLING_LOOK: Duration = Duration::from_millis(2);

/// A fjall database with one keyspace for each table.
pub struct DiskTables {
    database: Database,
    keyspaces: Vec<Keyspace>,
    commit_mode: PersistMode,
    path: PathBuf,
}

impl DiskTables {
    /// Opens or creates the store in `path`; of the journal, what was `unsynced` and is torn is cut off.
    pub fn open(
        path: &Path,
        sync: SyncPolicy,
        cache_bytes: u64,
        unsynced: Unsynced<'_>,
    ) -> Result<Self, TableError> {
        let failed = |error: fjall::Error| located(path, &error);
        let open = || {
            Database::builder(path)
                .cache_size(cache_bytes)
                .manual_journal_persist(true)
                .max_journaling_size(JOURNALS_BYTES)
                .open()
        };
        let database = match open() {
            Err(fjall::Error::JournalRecovery(_)) if cut_torn(path, unsynced)? => open(),
            outcome => outcome,
        };
        let database = database.map_err(failed)?;
        let keyspaces = Table::ALL
            .iter()
            .map(|table| {
                database.keyspace(table.name(), || {
                    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
                })
            })
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        // Every policy reaches the kernel before the reply; `always` also the disk.
        let commit_mode = match sync {
            SyncPolicy::Always => PersistMode::SyncData,
            SyncPolicy::Interval(_) | SyncPolicy::Never | SyncPolicy::Memory => PersistMode::Buffer,
        };
        Ok(Self { database, keyspaces, commit_mode, path: path.to_owned() })
    }
}

#[cfg(test)]
impl DiskTables {
    /// Loses rows, as only a failing disk does.
    pub fn remove_for_test(&self, table: Table, keys: impl Iterator<Item: AsRef<[u8]>>) {
        for key in keys {
            self.keyspaces[table as usize].remove(key.as_ref()).unwrap();
        }
        self.sync().unwrap();
    }

    /// Bytes of rows that stand in the journal only.
    pub fn unwritten_bytes(&self) -> u64 {
        self.database.write_buffer_size()
    }
}

/// Whether it was a torn end of the journal that the store was refused for, and is no more.
fn cut_torn(path: &Path, unsynced: Unsynced<'_>) -> Result<bool, TableError> {
    let cut = journal::cut_torn(path, unsynced)
        .map_err(|error| TableError(format!("{}: {error}", path.display())))?;
    if let Some((journal, length)) = &cut {
        tracing::warn!(journal = %journal.display(), length, "what was not wholly on the disk was cut off");
        if let Unsynced::Tail(kept) = unsynced {
            tracing::warn!(kept = %kept.display(), "the journal as it was is kept: remove it when nothing is missed");
        }
    }
    Ok(cut.is_some())
}

fn located(path: &Path, error: &fjall::Error) -> TableError {
    TableError(format!("{}: {error:?}", path.display()))
}

impl Tables for DiskTables {
    fn view(&self) -> Box<dyn View + '_> {
        Box::new(DiskView { tables: self, snapshot: self.database.snapshot() })
    }

    fn commit(&self, batch: &Batch) -> Result<(), TableError> {
        // fjall writes the journal, persists it, and only then shows the batch to readers.
        let room = OwnedWriteBatch::with_capacity(self.database.clone(), batch.len());
        let mut writes = room.durability(Some(self.commit_mode));
        for insert in batch.inserts() {
            let (key, value) = insert.split();
            writes.insert(&self.keyspaces[insert.table as usize], key, value);
        }
        writes.commit().map_err(|error| located(&self.path, &error))
    }

    fn sync(&self) -> Result<(), TableError> {
        self.database.persist(PersistMode::SyncData).map_err(|error| located(&self.path, &error))
    }

    fn settle(&self) {
        let begun = Instant::now();
        for keyspace in &self.keyspaces {
            if let Err(error) = keyspace.rotate_memtable() {
                tracing::warn!(%error, table = %keyspace.name(), "the next start reads this from the journal");
            }
        }
        let is_writing =
            || self.keyspaces.iter().any(|keyspace| keyspace.sealed_memtable_count() > 0);
        while is_writing() && begun.elapsed() < SETTLING_MAX {
            thread::sleep(SETTLING_LOOK);
        }
    }
}

struct DiskView<'a> {
    tables: &'a DiskTables,
    snapshot: Snapshot,
}

impl View for DiskView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
        self.snapshot
            .get(&self.tables.keyspaces[table as usize], key)
            .map(|value| value.map(|value| value.to_vec()))
            .map_err(|error| located(&self.tables.path, &error))
    }

    fn scan(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        descending: bool,
        each: Each<'_>,
    ) -> Result<(), TableError> {
        if is_crossed(bounds) {
            return Ok(());
        }
        let mut range =
            self.snapshot.range::<&[u8], _>(&self.tables.keyspaces[table as usize], bounds);
        let mut next = || if descending { range.next_back() } else { range.next() };
        while let Some(entry) = next() {
            let (key, value) =
                entry.into_inner().map_err(|error| located(&self.tables.path, &error))?;
            if !each(&key, &value)? {
                break;
            }
        }
        Ok(())
    }
}
