//! Files of services: never there in part, and gone without a fuss.

use std::fs;
use std::io;
use std::path::Path;

use super::ServiceError;

/// Writes a file beside its name and renames it, so that nobody, and no later run, reads half of it.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), ServiceError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(ServiceError::file(path))
}

/// Removes a file that may be there.
pub(super) fn remove_file(path: &Path) -> Result<(), ServiceError> {
    unless_missing(fs::remove_file(path), path)
}

/// Removes a folder that may be there, with all that is in it.
pub(super) fn remove_folder(path: &Path) -> Result<(), ServiceError> {
    unless_missing(fs::remove_dir_all(path), path)
}

fn unless_missing(removed: io::Result<()>, path: &Path) -> Result<(), ServiceError> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(ServiceError::file(path)),
    }
}
