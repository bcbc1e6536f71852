//! Sorted tables with atomic batches: what the engine needs of a store, on disk or in memory.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::keys::Table;
use crate::model::Seq;

/// Inserts that take effect together or not at all. Nothing is ever deleted.
#[derive(Debug, Default)]
pub struct Batch {
    /// Table, key, value.
    pub inserts: Vec<(Table, Vec<u8>, Vec<u8>)>,
}

impl Batch {
    /// Adds one insert.
    pub fn insert(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.inserts.push((table, key, value));
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.inserts.is_empty()
    }
}

/// The store could not be read or written; the text names the place.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct TableError(pub String);

impl TableError {
    /// A value is not what was written there.
    pub fn corrupt(what: &str, seq: Seq) -> Self {
        Self(format!("the stored {what} (seq {seq}) cannot be read back; restore the data folder"))
    }
}

/// Why a conversation did not answer a question.
#[derive(Debug)]
pub enum Miss {
    /// It is not held here; ask the tables.
    Elsewhere,
    /// The tables cannot be read.
    Failed(TableError),
}

impl From<TableError> for Miss {
    fn from(error: TableError) -> Self {
        Self::Failed(error)
    }
}

/// Called with each key and value of a scan; `false` ends it.
pub type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<bool, TableError>;

/// The tables at one moment. Later batches do not show.
pub trait View {
    /// One value.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TableError>;

    /// Keys between two bounds, ascending or descending. May read the disk: never on a runtime thread.
    fn scan(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        descending: bool,
        each: Each<'_>,
    ) -> Result<(), TableError>;
}

/// A store of tables.
pub trait Tables: Send + Sync + 'static {
    /// The tables as they are now.
    fn view(&self) -> Box<dyn View + '_>;

    /// Makes a batch visible, after it has reached what the sync policy asks for, and leaves it empty. An error is indefinite.
    fn commit(&self, batch: &mut Batch) -> Result<(), TableError>;

    /// Forces everything committed to the disk.
    fn sync(&self) -> Result<(), TableError>;

    /// Spares the next start what it can, at the end of a clean stop; everything is synced already, so nothing depends on it.
    fn settle(&self) {}
}

/// Tables in memory: policy `memory`, gone with the process.
#[derive(Default)]
pub struct MemoryTables {
    tables: RwLock<[BTreeSet<Row>; Table::ALL.len()]>,
}

struct MemoryView<'a>(RwLockReadGuard<'a, [BTreeSet<Row>; Table::ALL.len()]>);

/// A key and its value in one piece, and known by its key. Rows are all that grows here, and what a message costs is for a good part
/// the fresh memory that it takes: with a key and a value of their own, in a map, it took a quarter more.
struct Row {
    piece: Box<[u8]>,
    /// Of these the key; beside the piece, since every search looks at it.
    key_bytes: usize,
}

impl Row {
    fn new(key: &[u8], value: &[u8]) -> Self {
        Self { piece: [key, value].concat().into_boxed_slice(), key_bytes: key.len() }
    }

    fn split(&self) -> (&[u8], &[u8]) {
        self.piece.split_at(self.key_bytes)
    }
}

impl Borrow<[u8]> for Row {
    fn borrow(&self) -> &[u8] {
        self.split().0
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        self.split().0.cmp(other.split().0)
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Row {}

impl Tables for MemoryTables {
    fn view(&self) -> Box<dyn View + '_> {
        Box::new(MemoryView(self.tables.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn commit(&self, batch: &mut Batch) -> Result<(), TableError> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        for (table, key, value) in batch.inserts.drain(..) {
            tables[table as usize].replace(Row::new(&key, &value));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), TableError> {
        Ok(())
    }
}

impl View for MemoryView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
        Ok(self.0[table as usize].get(key).map(|row| row.split().1.to_vec()))
    }

    fn scan(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        descending: bool,
        each: Each<'_>,
    ) -> Result<(), TableError> {
        // `BTreeSet::range` panics on bounds that cross; to a scan they are merely empty.
        if is_crossed(bounds) {
            return Ok(());
        }
        let mut range = self.0[table as usize].range::<[u8], _>(bounds);
        let mut next = || if descending { range.next_back() } else { range.next() };
        while let Some(row) = next() {
            let (key, value) = row.split();
            if !each(key, value)? {
                break;
            }
        }
        Ok(())
    }
}

/// Whether no key can be between the bounds.
pub fn is_crossed((low, high): (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match (low, high) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low >= high,
        _ => false,
    }
}
