//! Sorted tables with atomic batches: what the engine needs of a store, on disk or in memory.

use std::ops::Bound;

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
