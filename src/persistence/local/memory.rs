//! The tables in memory: policy `memory`, gone with the process.
//!
//! A search in one sorted set of everything looks at twenty rows, each somewhere else in memory. So what is read in order is sorted within
//! its conversation only, where what is appended comes last, and what is only looked up is not sorted at all.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::{Bound, RangeBounds};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use xxhash_rust::xxh3::xxh3_64;

use super::keys::Table;
use super::tables::{Batch, Each, Insert, TableError, Tables, View, is_crossed};
use crate::model::ConvId;

/// Tables in memory.
pub struct MemoryTables {
    shelves: RwLock<[Shelf; Table::ALL.len()]>,
}

struct MemoryView<'a>(RwLockReadGuard<'a, [Shelf; Table::ALL.len()]>);

/// A key and its value in one piece, and known by its key. Rows are all that grows here, and what a message costs is for a good part
/// the fresh memory that it takes: with a key and a value of their own, in a map, it took a quarter more.
struct Row {
    piece: Box<[u8]>,
    /// Of these the key; beside the piece, since every search looks at it.
    key_bytes: usize,
}

/// A row that is sorted among others. Eight bytes of its key stand beside it, after those that all have in common: nearly every comparison
/// ends there, and looks at no other place.
struct Sorted {
    head: u64,
    row: Row,
}

type Rows = BTreeSet<Sorted>;
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// How a table is kept.
enum Shelf {
    /// Read in order.
    Sorted(Rows),
    /// Read in order within a conversation, which keys begin with.
    Parted(HashMap<[u8; ConvId::BYTES], Rows, ByItself>),
    /// Looked up.
    Hashed(Box<[Drawer; DRAWERS]>),
}

/// A map that grows is moved as a whole, while everybody waits: several small ones are moved one at a time.
const DRAWERS: usize = 64;

/// Rows by the hash of their keys; those of which the place is taken, sorted.
#[derive(Default)]
struct Drawer {
    rows: HashMap<u64, Row, ByItself>,
    others: BTreeMap<Box<[u8]>, Row>,
}

/// Of keys that are hashes: a hash, and the id of a conversation.
type ByItself = BuildHasherDefault<FirstBytes>;

/// The first eight bytes of what is hashed.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    // An array tells its length before its bytes.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for MemoryTables {
    fn default() -> Self {
        Self { shelves: RwLock::new(Table::ALL.map(Shelf::new)) }
    }
}

impl Shelf {
    fn new(table: Table) -> Self {
        match table {
            Table::Messages | Table::ByTime | Table::Late => Self::Parted(HashMap::default()),
            Table::Dedupe | Table::IsMine | Table::Rosters => {
                Self::Hashed(Box::new(std::array::from_fn(|_| Drawer::default())))
            }
            Table::Acks | Table::Mine => Self::Sorted(Rows::new()),
        }
    }

    fn put(&mut self, row: Row) {
        match self {
            Self::Sorted(rows) => drop(rows.replace(Sorted::new(row, 0))),
            Self::Parted(parts) => {
                let rows = parts.entry(part_of(row.key())).or_default();
                drop(rows.replace(Sorted::new(row, ConvId::BYTES)));
            }
            Self::Hashed(drawers) => {
                let hash = xxh3_64(row.key());
                let Drawer { rows, others } = &mut drawers[drawer_of(hash)];
                match rows.get_mut(&hash) {
                    None => drop(rows.insert(hash, row)),
                    Some(there) if there.key() == row.key() => *there = row,
                    Some(_) => drop(others.insert(row.key().into(), row)),
                }
            }
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Row> {
        match self {
            Self::Sorted(rows) => row_of(rows, key, 0),
            Self::Parted(parts) => row_of(parts.get(&part_of(key))?, key, ConvId::BYTES),
            Self::Hashed(drawers) => {
                let hash = xxh3_64(key);
                let Drawer { rows, others } = &drawers[drawer_of(hash)];
                rows.get(&hash).filter(|row| row.key() == key).or_else(|| others.get(key))
            }
        }
    }

    /// Rows between `bounds`, which are not crossed.
    fn scan(&self, bounds: Bounds<'_>, descending: bool, each: Each<'_>) -> Result<(), TableError> {
        let turned = |order: Ordering| if descending { order.reverse() } else { order };
        match self {
            Self::Sorted(rows) => rows_between(rows, bounds, 0, descending, each).map(drop),
            Self::Parted(parts) => match part_of_both(bounds) {
                Some(part) => match parts.get(&part) {
                    Some(rows) => {
                        rows_between(rows, bounds, ConvId::BYTES, descending, each).map(drop)
                    }
                    None => Ok(()),
                },
                // Nobody but a test asks for more than one conversation.
                None => {
                    let mut parts: Vec<_> = parts.iter().collect();
                    parts.sort_unstable_by(|(one, _), (other, _)| turned(one.cmp(other)));
                    for (part, rows) in parts {
                        let Some(bounds) = within(part, bounds) else { continue };
                        if !rows_between(rows, bounds, ConvId::BYTES, descending, each)? {
                            break;
                        }
                    }
                    Ok(())
                }
            },
            // Nor for more than one row.
            Self::Hashed(drawers) => {
                let all = drawers
                    .iter()
                    .flat_map(|drawer| drawer.rows.values().chain(drawer.others.values()));
                let mut rows: Vec<_> = all.filter(|row| is_between(row.key(), bounds)).collect();
                rows.sort_unstable_by(|one, other| turned(one.key().cmp(other.key())));
                for row in rows {
                    let (key, value) = row.split();
                    if !each(key, value)? {
                        break;
                    }
                }
                Ok(())
            }
        }
    }
}

/// The row of a key; `common` bytes are the same in all.
fn row_of<'a>(rows: &'a Rows, key: &[u8], common: usize) -> Option<&'a Row> {
    let sought: &dyn Keyed = &Sought::new(key, common);
    rows.get(sought).map(|found| &found.row)
}

/// Whether to go on after them; `common` bytes are the same in all, and in the bounds.
fn rows_between(
    rows: &Rows,
    (low, high): Bounds<'_>,
    common: usize,
    descending: bool,
    each: Each<'_>,
) -> Result<bool, TableError> {
    let (low, high) =
        (low.map(|key| Sought::new(key, common)), high.map(|key| Sought::new(key, common)));
    fn keyed<'a>(bound: &'a Bound<Sought<'a>>) -> Bound<&'a (dyn Keyed + 'a)> {
        bound.as_ref().map(|sought| sought as &dyn Keyed)
    }
    let mut range = rows.range::<dyn Keyed, _>((keyed(&low), keyed(&high)));
    let mut next = || if descending { range.next_back() } else { range.next() };
    while let Some(found) = next() {
        let (key, value) = found.row.split();
        if !each(key, value)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What of the bounds concerns the rows of `part`; `None`: none of them is between.
fn within<'a>(part: &[u8; ConvId::BYTES], (low, high): Bounds<'a>) -> Option<Bounds<'a>> {
    let of = |bound: Bound<&'a [u8]>, beyond: Ordering| match bound {
        Bound::Included(key) | Bound::Excluded(key) => match part_of(key).cmp(part) {
            Ordering::Equal => Some(bound),
            order if order == beyond => None,
            _ => Some(Bound::Unbounded),
        },
        Bound::Unbounded => Some(bound),
    };
    Some((of(low, Ordering::Greater)?, of(high, Ordering::Less)?))
}

fn is_between(key: &[u8], bounds: Bounds<'_>) -> bool {
    RangeBounds::<[u8]>::contains(&bounds, key)
}

/// What the key of a table begins with that is parted; shorter keys, of which there are none, are filled up.
fn part_of(key: &[u8]) -> [u8; ConvId::BYTES] {
    let mut part = [0; ConvId::BYTES];
    let length = key.len().min(part.len());
    part[..length].copy_from_slice(&key[..length]);
    part
}

/// The conversation that both bounds are in.
fn part_of_both(bounds: Bounds<'_>) -> Option<[u8; ConvId::BYTES]> {
    let part = |bound: Bound<&[u8]>| match bound {
        Bound::Included(key) | Bound::Excluded(key) => key.first_chunk().copied(),
        Bound::Unbounded => None,
    };
    part(bounds.0).filter(|low| part(bounds.1).as_ref() == Some(low))
}

/// By bits that the map within does not use.
fn drawer_of(hash: u64) -> usize {
    (hash >> 32) as usize % DRAWERS
}

impl Row {
    fn split(&self) -> (&[u8], &[u8]) {
        self.piece.split_at(self.key_bytes)
    }

    fn key(&self) -> &[u8] {
        self.split().0
    }
}

impl Sorted {
    fn new(row: Row, common: usize) -> Self {
        Self { head: head_of(row.key(), common), row }
    }
}

/// Eight bytes of a key after those that are `common`, as a number that sorts as they do.
fn head_of(key: &[u8], common: usize) -> u64 {
    let tail = key.get(common..).unwrap_or_default();
    let mut head = [0; 8];
    let length = tail.len().min(head.len());
    head[..length].copy_from_slice(&tail[..length]);
    u64::from_be_bytes(head)
}

/// What is sorted, or sought among it.
trait Keyed {
    fn head(&self) -> u64;
    fn key(&self) -> &[u8];
}

struct Sought<'a> {
    head: u64,
    key: &'a [u8],
}

impl<'a> Sought<'a> {
    fn new(key: &'a [u8], common: usize) -> Self {
        Self { head: head_of(key, common), key }
    }
}

impl Keyed for Sought<'_> {
    fn head(&self) -> u64 {
        self.head
    }

    fn key(&self) -> &[u8] {
        self.key
    }
}

impl Keyed for Sorted {
    fn head(&self) -> u64 {
        self.head
    }

    fn key(&self) -> &[u8] {
        self.row.key()
    }
}

impl<'a> Borrow<dyn Keyed + 'a> for Sorted {
    fn borrow(&self) -> &(dyn Keyed + 'a) {
        self
    }
}

fn order(one: &(impl Keyed + ?Sized), other: &(impl Keyed + ?Sized)) -> Ordering {
    one.head().cmp(&other.head()).then_with(|| one.key().cmp(other.key()))
}

impl Ord for dyn Keyed + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self, other)
    }
}

impl PartialOrd for dyn Keyed + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Keyed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Keyed + '_ {}

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self, other)
    }
}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sorted {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Sorted {}

impl Tables for MemoryTables {
    fn view(&self) -> Box<dyn View + '_> {
        Box::new(MemoryView(self.shelves.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn commit(&self, batch: &Batch) -> Result<(), TableError> {
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        for Insert { table, piece, key_bytes } in batch.inserts() {
            shelves[table as usize].put(Row { piece: piece.into(), key_bytes });
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
        self.0[table as usize].scan(bounds, descending, each)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn row(key: &[u8], value: &[u8]) -> Row {
        Row { piece: [key, value].concat().into(), key_bytes: key.len() }
    }

    /// Keys as they are: of few conversations, so that they meet.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        let tail = proptest::collection::vec(0u8..4, 0..4);
        (0u8..3, 0u8..2, tail).prop_map(|(first, last, tail)| {
            let mut key = vec![first; ConvId::BYTES];
            *key.last_mut().unwrap() = last;
            key.extend(tail);
            key
        })
    }

    fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
        prop_oneof![
            key().prop_map(Bound::Included),
            key().prop_map(Bound::Excluded),
            Just(Bound::Unbounded),
        ]
    }

    fn inserts() -> impl Strategy<Value = Vec<(Vec<u8>, u8)>> {
        proptest::collection::vec((key(), any::<u8>()), 0..60)
    }

    proptest! {
        #[test]
        fn every_table_is_a_sorted_map(
            inserts in inserts(),
            asked in key(),
            bounds in (bound(), bound()),
            descending in any::<bool>(),
            enough in 1usize..70,
        ) {
            let bounds = (bounds.0.as_ref().map(Vec::as_slice), bounds.1.as_ref().map(Vec::as_slice));
            for table in Table::ALL {
                let (tables, mut map, mut batch) =
                    (MemoryTables::default(), BTreeMap::new(), Batch::default());
                for (key, value) in &inserts {
                    batch.insert(table, key, [*value]);
                    map.insert(key.clone(), vec![*value]);
                }
                tables.commit(&batch).unwrap();
                let view = tables.view();
                prop_assert_eq!(view.get(table, &asked).unwrap(), map.get(&asked).cloned());
                let mut found = Vec::new();
                let each: Each<'_> = &mut |key, value| {
                    found.push((key.to_vec(), value.to_vec()));
                    Ok(found.len() < enough)
                };
                view.scan(table, bounds, descending, each).unwrap();
                let between = map.into_iter().filter(|(key, _)| is_between(key, bounds));
                let mut expected: Vec<_> = between.collect();
                if descending {
                    expected.reverse();
                }
                expected.truncate(enough);
                prop_assert_eq!(found, expected, "{}", table.name());
            }
        }
    }

    #[test]
    fn a_place_that_is_taken_by_another_key_loses_nothing() {
        let mut shelf = Shelf::new(Table::Dedupe);
        let (key, other) = (b"a key".as_slice(), b"another".as_slice());
        let Shelf::Hashed(drawers) = &mut shelf else { panic!("hashed") };
        let hash = xxh3_64(key);
        // As if both had the same hash, which nobody can wait for.
        drawers[drawer_of(hash)].rows.insert(hash, row(other, b"1"));
        shelf.put(row(key, b"2"));
        shelf.put(row(key, b"3"));
        assert_eq!(shelf.get(key).unwrap().split().1, b"3");
        let mut found = Vec::new();
        let each: Each<'_> = &mut |key, _| {
            found.push(key.to_vec());
            Ok(true)
        };
        shelf.scan((Bound::Unbounded, Bound::Unbounded), false, each).unwrap();
        assert_eq!(found, [key, other]);
    }
}
