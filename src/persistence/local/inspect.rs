//! A look at a data folder that changes nothing in it.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, Mode, OFlags, access, open};
use rustix::io::Errno;

use super::FolderError;
use super::folder::{LOCK_NAME, in_use, is_vacant, read_marker};
use super::space::free_bytes;
use crate::model::Epoch;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The life of the store in it, if there is one.
    pub epoch: Option<Epoch>,
    /// Free bytes on its file system; `None` where the system does not tell.
    pub free_bytes: Option<u64>,
}

/// Whether an engine could take the folder, or make it where it is missing. Reads the disk.
pub fn inspect(path: &Path) -> Result<Inspection, FolderError> {
    let failed = |source| FolderError::Io { path: path.to_owned(), source };
    let place = nearest_folder(path).map_err(failed)?;
    let free_bytes = free_bytes(&place);
    check_writable(&place).map_err(failed)?;
    if !path.is_dir() {
        return Ok(Inspection { epoch: None, free_bytes });
    }
    let marker = read_marker(path)?;
    if marker.is_none() && !is_vacant(path).map_err(failed)? {
        return Err(FolderError::Foreign { path: path.to_owned() });
    }
    check_lock(path)?;
    Ok(Inspection { epoch: marker.map(|marker| marker.epoch().clone()), free_bytes })
}

/// The folder itself, or the last that is there on the way to it.
fn nearest_folder(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    for place in path.ancestors() {
        match fs::metadata(place) {
            Ok(found) if found.is_dir() => return Ok(place.to_owned()),
            Ok(_) => return Err(ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::NotFound.into())
}

/// By a file without a name, which is gone when it is closed; where the file system has none such, by what the permissions say.
fn check_writable(folder: &Path) -> io::Result<()> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(_) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
            Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Nobody has the lock. It is had here for as long as it takes to let go of it; who takes it tries more than once.
fn check_lock(path: &Path) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io { path: path.to_owned(), source };
    let lock = match File::open(path.join(LOCK_NAME)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(in_use(path, lock)),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::SyncPolicy;
    use super::super::folder::DataFolder;
    use super::*;

    #[test]
    fn a_folder_is_found_as_it_is_and_stays_so() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let missing = inspect(&path).unwrap();
        assert!(missing.epoch.is_none() && missing.free_bytes.is_some());
        assert!(!parent.path().join("a").exists(), "nothing was made");

        let taken = DataFolder::take(&path, SyncPolicy::Always).unwrap();
        let epoch = taken.epoch().clone();
        let in_use = inspect(&path).unwrap_err().to_string();
        assert!(in_use.contains(&std::process::id().to_string()), "{in_use}");
        drop(taken);
        assert_eq!(inspect(&path).unwrap().epoch, Some(epoch));

        let file = parent.path().join("file");
        fs::write(&file, b"x").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = inspect(&path).unwrap_err();
            assert!(matches!(error, FolderError::Io { .. }), "{error}");
        }
        let foreign = inspect(parent.path()).unwrap_err();
        assert!(matches!(foreign, FolderError::Foreign { .. }), "{foreign}");
    }

    #[test]
    fn who_looks_is_not_in_the_way_of_who_takes() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataFolder::take(folder.path(), SyncPolicy::Always).unwrap());
        let lock = File::open(folder.path().join(LOCK_NAME)).unwrap();
        lock.lock_shared().unwrap();
        let looks = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(10));
            drop(lock);
        });
        DataFolder::take(folder.path(), SyncPolicy::Always).unwrap();
        looks.join().unwrap();
    }
}
