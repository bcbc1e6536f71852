//! The end of fjall's journal after a power cut.
//!
//! The pages of a batch that is being synced reach the disk in any order. fjall drops a last batch that has no
//! end, but refuses a store whose last batch has its end and lacks a page before it (`ChecksumMismatch`), or has rubbish for
//! an end that happens to begin as an entry does (`TooManyItems`). Nobody was answered for such a batch. Where batches were
//! synced only now and then, the same may have become of any since the last sync, with whole ones behind it.
//!
//! The format is that of `journal/entry.rs` in fjall 3: a batch is a start, items, and an end with the checksum of the items.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// What an end ends with.
const TRAILER: &[u8] = b"FJL\x03";

/// What may never have reached the disk.
#[derive(Debug, Clone, Copy)]
pub enum Unsynced<'a> {
    /// The last batch: each one was synced before the next.
    LastBatch,
    /// Nobody knows how many batches. The first broken one ends the journal; as it might be an older one that was spoilt, the whole
    /// journal is kept in this file.
    Tail(&'a Path),
}

/// Cuts what never wholly reached the disk off the newest journal of the store in `store`. Answers the file and its new length; `None` when that is
/// not what is wrong.
pub fn cut_torn(store: &Path, unsynced: Unsynced<'_>) -> io::Result<Option<(PathBuf, usize)>> {
    let Some(path) = newest_journal(store)? else { return Ok(None) };
    let bytes = fs::read(&path)?;
    let length = match unsynced {
        Unsynced::LastBatch => torn_batch(&bytes),
        Unsynced::Tail(_) => broken_batch(&bytes),
    };
    let Some(length) = length else { return Ok(None) };
    if let Unsynced::Tail(kept) = unsynced {
        fs::copy(&path, kept)?;
        File::open(kept)?.sync_all()?;
    }
    let file = OpenOptions::new().write(true).open(&path)?;
    file.set_len(length as u64)?;
    file.sync_all()?;
    Ok(Some((path, length)))
}

fn newest_journal(store: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".jnl")?.parse::<u64>().ok());
        if let Some(number) = number {
            newest = newest.max(Some((number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// Where the journal must end: before a batch without an end, as fjall does it, only if no whole batch follows; before a batch with a wrong
/// checksum only if zeros follow. What follows a batch was written after it had been synced: then it is not torn but spoilt, and may hold
/// what was answered.
fn torn_batch(bytes: &[u8]) -> Option<usize> {
    let is_zero = |rest: &[u8]| rest.iter().all(|byte| *byte == 0);
    let mut rest = bytes;
    while !is_zero(rest) {
        let begin = bytes.len() - rest.len();
        match read_batch(&mut rest) {
            Some(true) => {}
            Some(false) => return is_zero(rest).then_some(begin),
            None => return (!holds_a_batch(&bytes[begin..])).then_some(begin),
        }
    }
    None
}

/// Where the first batch begins that is not whole; `None` where all are.
fn broken_batch(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while rest.iter().any(|byte| *byte != 0) {
        let begin = bytes.len() - rest.len();
        if read_batch(&mut rest) != Some(true) {
            return Some(begin);
        }
    }
    None
}

/// Whether a whole batch begins anywhere behind the first byte: it was written after whatever is before it had been synced.
fn holds_a_batch(bytes: &[u8]) -> bool {
    let begins = bytes.iter().enumerate().skip(1).filter(|(_, byte)| **byte == START);
    begins.map(|(at, _)| at).any(|at| read_batch(&mut &bytes[at..]) == Some(true))
}

/// Reads a batch from start to end, and answers whether its checksum is right; `None` where there is no batch.
fn read_batch(rest: &mut &[u8]) -> Option<bool> {
    const ITEM_COUNT_AND_SEQNO_BYTES: usize = 4 + 8;
    if take(rest, 1)? != [START] {
        return None;
    }
    skip(rest, ITEM_COUNT_AND_SEQNO_BYTES)?;
    let items = *rest;
    loop {
        let items_bytes = items.len() - rest.len();
        match *take(rest, 1)?.first()? {
            ITEM => skip_item(rest)?,
            CLEAR => skip(rest, 8)?,
            END => {
                let checksum = u64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
                let is_right = xxh3_64(&items[..items_bytes]) == checksum;
                return (take(rest, TRAILER.len())? == TRAILER).then_some(is_right);
            }
            _ => return None,
        }
    }
}

/// Kind, compression, keyspace; the lengths of key, value and stored value; key and stored value.
fn skip_item(rest: &mut &[u8]) -> Option<()> {
    skip(rest, 1 + 1 + 8)?;
    let key_bytes = u16::from_le_bytes(take(rest, 2)?.try_into().ok()?);
    skip(rest, 4)?;
    let stored_bytes = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?);
    skip(rest, usize::from(key_bytes))?;
    skip(rest, usize::try_from(stored_bytes).ok()?)
}

fn skip(rest: &mut &[u8], count: usize) -> Option<()> {
    take(rest, count).map(|_| ())
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}
