//! What a crash may leave of a store: the journal damaged behind what was synced, all else as it was.

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng, RngCore as _, SeedableRng as _};

use super::history::{History, journal_path};

/// What became of the bytes behind the cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// The file ends there.
    Cut,
    /// So many bytes of rubbish, and then the end of the file.
    Garbage(usize),
    /// These bytes, and then the end of the file.
    Bytes(Vec<u8>),
    /// Rubbish, and then zeros up to the length that was given to the file in advance.
    GarbageInside(usize),
    /// Zeros up to that length: written, but not to the disk.
    Zeros,
    /// Zeros in this range only: pages reach the disk in any order.
    Hole(Range<usize>),
}

/// One image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Tells it from the others, and what its rubbish is.
    pub number: u64,
    /// The journal's bytes are what they were up to here; of a hole: what was there at all.
    pub cut: usize,
    /// What follows.
    pub damage: Damage,
}

impl Image {
    /// The image of this number.
    pub fn random(history: &History, number: u64) -> Self {
        const GARBAGE_BYTES_MAX: usize = 6_000;
        let mut random = SmallRng::seed_from_u64(number);
        let damage = match random.random_range(0..4) {
            0 => Damage::Cut,
            1 => Damage::Garbage(random.random_range(1..GARBAGE_BYTES_MAX)),
            2 => Damage::GarbageInside(random.random_range(1..GARBAGE_BYTES_MAX)),
            _ => Damage::Zeros,
        };
        let mut cut = random.random_range(0..=history.journal.len());
        // Batches differ in size: every other cut is near the end of one.
        if random.random_bool(0.5) {
            const NEAR_BYTES: usize = 40;
            let mark = history.marks[random.random_range(0..history.marks.len())];
            let near = mark.length as usize + random.random_range(0..=2 * NEAR_BYTES);
            cut = near.saturating_sub(NEAR_BYTES).min(history.journal.len());
        }
        Self { number, cut, damage }
    }

    /// Makes the image of the store in `from`, which must not be opened itself: what does not change is shared.
    pub fn write(&self, history: &History, from: &Path, to: &Path) {
        link(from, to);
        let path = to.join(journal_path(from).strip_prefix(from).unwrap());
        fs::remove_file(&path).unwrap();
        let mut file = File::create(path).unwrap();
        let mut bytes = history.journal[..self.cut].to_vec();
        match &self.damage {
            Damage::Cut | Damage::Zeros => {}
            Damage::Garbage(length) | Damage::GarbageInside(length) => {
                let mut garbage = vec![0; *length];
                SmallRng::seed_from_u64(!self.number).fill_bytes(&mut garbage);
                // Or the cut would be elsewhere.
                if history.journal.get(self.cut) == garbage.first() {
                    garbage[0] ^= 0xff;
                }
                bytes.extend(garbage);
            }
            Damage::Bytes(other) => bytes.extend(other),
            Damage::Hole(hole) => bytes[hole.clone()].fill(0),
        }
        file.write_all(&bytes).unwrap();
        match self.damage {
            Damage::Cut | Damage::Garbage(_) | Damage::Bytes(_) => {}
            Damage::GarbageInside(_) | Damage::Zeros | Damage::Hole(_) => {
                file.set_len(history.preallocated).unwrap()
            }
        }
    }
}

/// Copies a folder that a store has open, as if another boot of the machine had written it.
pub fn copy(from: &Path, to: &Path) {
    each_file(from, to, &mut |file, copy| {
        fs::copy(file, copy).unwrap();
    });
    set_marker(to, "boot", "another");
}

/// Changes what the marker of a store says. The file is a new one: images share the old.
pub fn set_marker(folder: &Path, key: &str, to: impl Into<serde_json::Value>) {
    let marker = folder.join("chatctl.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&marker).unwrap()).unwrap();
    value[key] = to.into();
    fs::remove_file(&marker).unwrap();
    fs::write(marker, value.to_string()).unwrap();
}

/// By hard links: the store replaces what it changes, all but the journal. Only locks belong to one owner.
fn link(from: &Path, to: &Path) {
    each_file(from, to, &mut |file, copy| {
        if is_lock(&file) {
            File::create(copy).unwrap();
        } else {
            fs::hard_link(file, copy).unwrap();
        }
    });
}

fn is_lock(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "lock" || name == "chatctl.lock")
}

fn each_file(from: &Path, to: &Path, each: &mut dyn FnMut(PathBuf, PathBuf)) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            each_file(&entry.path(), &target, each);
        } else {
            each(entry.path(), target);
        }
    }
}
