//! Sorted tables with atomic batches: what the engine needs of a store, on disk or in memory.

use std::ops::Bound;

use super::keys::Table;
use crate::model::Seq;

/// Inserts that take effect together or not at all. Nothing is ever deleted.
///
/// All rows lie in one piece of memory, which a batch that is cleared keeps: a message is three rows, and each key and each value by itself
/// would be taken and given back.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    rows: Vec<Place>,
}

/// Where a row stands: it begins where the one before ends.
#[derive(Debug)]
struct Place {
    table: Table,
    /// Of these the key.
    key_bytes: usize,
    /// Behind its last byte.
    end: usize,
}

/// Room that an empty batch keeps: more than nearly all need.
const ROOM_BYTES_MAX: usize = 1 << 20;

/// A row that a batch inserts: the key, and right behind it the value.
#[derive(Debug, Clone, Copy)]
pub struct Insert<'a> {
    /// Where to.
    pub table: Table,
    /// Key and value.
    pub piece: &'a [u8],
    /// Of these the key.
    pub key_bytes: usize,
}

impl<'a> Insert<'a> {
    /// Key and value.
    pub fn split(self) -> (&'a [u8], &'a [u8]) {
        self.piece.split_at(self.key_bytes)
    }
}

impl Batch {
    /// Adds one insert.
    pub fn insert(&mut self, table: Table, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.insert_with(table, key, |bytes| bytes.extend_from_slice(value.as_ref()));
    }

    /// Adds one insert whose value is appended by `write`, which does nothing else.
    pub fn insert_with(
        &mut self,
        table: Table,
        key: impl AsRef<[u8]>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let key = key.as_ref();
        self.bytes.extend_from_slice(key);
        write(&mut self.bytes);
        self.rows.push(Place { table, key_bytes: key.len(), end: self.bytes.len() });
    }

    /// What is inserted, in order.
    pub fn inserts(&self) -> impl Iterator<Item = Insert<'_>> {
        let mut from = 0;
        self.rows.iter().map(move |&Place { table, key_bytes, end }| {
            let piece = &self.bytes[from..end];
            from = end;
            Insert { table, piece, key_bytes }
        })
    }

    /// How many inserts.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Nothing is in it any more.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(ROOM_BYTES_MAX);
        self.rows.clear();
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

    /// Makes a batch visible, after it has reached what the sync policy asks for. An error is indefinite.
    fn commit(&self, batch: &Batch) -> Result<(), TableError>;

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
