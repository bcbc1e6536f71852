//! The data folder: whose it is, which format it has, and which life of the store it holds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SyncPolicy;
use crate::model::Epoch;

/// The format that this version writes.
const FORMAT: u32 = 1;
const MARKER_NAME: &str = "chatctl.json";
pub(super) const LOCK_NAME: &str = "chatctl.lock";
/// Whoever only looks whether the lock is taken holds it for microseconds ([`inspect`](super::inspect)): it is tried so often …
const LOOKS: u8 = 3;
/// … with this pause.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Why a data folder cannot be used. Each text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FolderError {
    #[error("data folder {path}: {source}; make it readable and writable or set CHATCTL_DATA_DIR")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "data folder {path} is in use by process {owner}; stop it or set CHATCTL_DATA_DIR to another folder"
    )]
    InUse { path: PathBuf, owner: String },
    #[error(
        "data folder {path} holds files that are not chatctl's; set CHATCTL_DATA_DIR to an empty folder"
    )]
    Foreign { path: PathBuf },
    #[error(
        "data folder {path} has format {found}, and this chatctl knows only format {FORMAT}: use the chatctl that made it, or bring the messages over ('chatctl export' with that one, 'chatctl import' with this one into another CHATCTL_DATA_DIR)"
    )]
    UnknownFormat { path: PathBuf, found: u64 },
    #[error(
        "data folder {path}: {MARKER_NAME} cannot be read ({problem}); restore it or set CHATCTL_DATA_DIR to another folder"
    )]
    BadMarker { path: PathBuf, problem: String },
}

/// What stands in the marker file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Marker {
    format: u32,
    epoch: Epoch,
    /// Which boot of the machine wrote last: what the kernel held is gone after another.
    boot: String,
    /// The last life ended with everything on disk.
    pub clean: bool,
    /// The last life forced every batch to the disk.
    always_synced: bool,
}

impl Marker {
    /// That of a life that begins, and whether its epoch is a new one: messages that were acknowledged may be missing.
    pub fn of_next_life(last: Option<Self>, sync: SyncPolicy, boot: String) -> (Self, bool) {
        let (epoch, renewed) = match last {
            None => (Epoch::generate(), false),
            Some(last) if last.clean || last.always_synced || last.boot == boot => {
                (last.epoch, false)
            }
            Some(_) => (Epoch::generate(), true),
        };
        let always_synced = matches!(sync, SyncPolicy::Always);
        (Self { format: FORMAT, epoch, boot, clean: false, always_synced }, renewed)
    }

    /// The life of the store.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }
}

/// A data folder that is ours until this is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    marker: Marker,
    /// Messages that were acknowledged may be missing: the epoch is a new one.
    pub renewed: bool,
    /// Held for its lock.
    _lock: File,
}

impl DataFolder {
    /// Takes the folder, creating it if need be.
    pub fn take(path: &Path, sync: SyncPolicy) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let existing = read_marker(path)?;
        if existing.is_none() && !is_vacant(path).map_err(failed)? {
            return Err(FolderError::Foreign { path: path.to_owned() });
        }
        let lock = lock(path)?;
        let is_new = existing.is_none();
        let (marker, renewed) = Marker::of_next_life(existing, sync, boot_id());
        let folder = Self { path: path.to_owned(), marker, renewed, _lock: lock };
        // Whose the folder is must be known before there is anything else in it.
        if is_new {
            folder.write_marker().map_err(failed)?;
        }
        Ok(folder)
    }

    /// The life of the store.
    pub fn epoch(&self) -> &Epoch {
        self.marker.epoch()
    }

    /// Where the tables are.
    pub fn store_path(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Where the journal is kept that a renewed epoch could not take over as it was.
    pub fn kept_journal_path(&self) -> PathBuf {
        self.path.join(format!("journal-before-{}", self.marker.epoch))
    }

    /// The new life begins. Not before the store is in line with what the marker says: after a crash in between, what the last
    /// life said of itself must still be true.
    pub fn confirm(&self) -> io::Result<()> {
        self.write_marker()
    }

    /// Records that everything is on disk; the last act of a life.
    pub fn mark_clean(&mut self) -> io::Result<()> {
        self.marker.clean = true;
        self.write_marker()
    }

    fn write_marker(&self) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.marker)?;
        let (next, marker) = (self.path.join("chatctl.json.next"), self.path.join(MARKER_NAME));
        let mut file = File::create(&next)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(next, marker)?;
        File::open(&self.path)?.sync_all()
    }
}

pub(super) fn read_marker(path: &Path) -> Result<Option<Marker>, FolderError> {
    let text = match fs::read(path.join(MARKER_NAME)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FolderError::Io { path: path.to_owned(), source }),
    };
    let bad = |error: serde_json::Error| FolderError::BadMarker {
        path: path.to_owned(),
        problem: error.to_string(),
    };
    /// Read first: another format may have other fields.
    #[derive(Deserialize)]
    struct Versioned {
        format: u64,
    }
    let found = serde_json::from_slice::<Versioned>(&text).map_err(bad)?.format;
    if found != u64::from(FORMAT) {
        return Err(FolderError::UnknownFormat { path: path.to_owned(), found });
    }
    serde_json::from_slice(&text).map(Some).map_err(bad)
}

/// Whether the folder holds nothing but what a start that was cut short leaves.
pub(super) fn is_vacant(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != LOCK_NAME && name != "chatctl.json.next" {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(path: &Path) -> Result<File, FolderError> {
    let failed = |source| FolderError::Io { path: path.to_owned(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join(LOCK_NAME))
        .map_err(failed)?;
    let mut looks = LOOKS;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if looks > 1 => {
                looks -= 1;
                sleep(LOOK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Err(in_use(path, file)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    file.set_len(0).map_err(failed)?;
    file.write_all(std::process::id().to_string().as_bytes()).map_err(failed)?;
    Ok(file)
}

/// The error for a folder whose lock another process has.
pub(super) fn in_use(path: &Path, mut lock: File) -> FolderError {
    let mut owner = String::new();
    // Only for the message; the lock itself says that it is taken.
    let _ = lock.read_to_string(&mut owner);
    let owner = if owner.is_empty() { "(unknown)".to_owned() } else { owner };
    FolderError::InUse { path: path.to_owned(), owner }
}

/// Identifies the running boot of the machine. Where the kernel does not tell, every start counts as another
/// boot, which is the safe side.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_else(|_| Epoch::generate().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_a_foreign_folder_and_a_newer_format_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::take(folder.path(), SyncPolicy::Always).unwrap();
        let second = DataFolder::take(folder.path(), SyncPolicy::Always).unwrap_err();
        assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
        drop(first);
        DataFolder::take(folder.path(), SyncPolicy::Always).unwrap();

        let marker = folder.path().join(MARKER_NAME);
        for other in [2, 0, u64::MAX] {
            fs::write(&marker, format!("{{\"format\":{other},\"something\":\"else\"}}")).unwrap();
            let error = DataFolder::take(folder.path(), SyncPolicy::Always).unwrap_err();
            let FolderError::UnknownFormat { found, .. } = error else { panic!("{error}") };
            assert_eq!(found, other);
        }
        fs::write(&marker, b"{").unwrap();
        let bad = DataFolder::take(folder.path(), SyncPolicy::Always).unwrap_err();
        assert!(matches!(bad, FolderError::BadMarker { .. }), "{bad}");

        let foreign = tempfile::tempdir().unwrap();
        fs::write(foreign.path().join("thesis.tex"), b"dear").unwrap();
        let refused = DataFolder::take(foreign.path(), SyncPolicy::Always).unwrap_err();
        assert!(matches!(refused, FolderError::Foreign { .. }), "{refused}");
    }

    #[test]
    fn another_boot_renews_the_epoch_only_when_something_can_be_missing() {
        let pretend_other_boot = |path: &Path| {
            let mut marker = read_marker(path).unwrap().unwrap();
            marker.boot = "another".to_owned();
            fs::write(path.join(MARKER_NAME), serde_json::to_vec(&marker).unwrap()).unwrap();
        };
        for (sync, clean, renewed) in [
            (SyncPolicy::Always, false, false),
            (SyncPolicy::Never, true, false),
            (SyncPolicy::Never, false, true),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut first = DataFolder::take(folder.path(), sync).unwrap();
            let epoch = first.epoch().clone();
            if clean {
                first.mark_clean().unwrap();
            }
            drop(first);
            pretend_other_boot(folder.path());
            let second = DataFolder::take(folder.path(), sync).unwrap();
            assert_eq!(second.renewed, renewed, "{sync:?} {clean}");
            assert_eq!(*second.epoch() != epoch, renewed);
            drop(second);
            // Not confirmed: the next start must renew again.
            assert_eq!(DataFolder::take(folder.path(), sync).unwrap().renewed, renewed);
        }
    }
}
