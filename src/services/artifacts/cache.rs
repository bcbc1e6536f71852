//! Folders that are complete or not there.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::super::{Progress, ServiceError, ServiceKind};
use crate::services::files::remove_folder;

/// Written last, into the folder it describes.
const MANIFEST: &str = "chatctl-manifest.json";

/// Time between two looks at a lock that another holds.
const LOOK: Duration = Duration::from_millis(100);

/// The longest fetch and some more.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// A folder of fetched folders.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

/// What a complete folder holds, by path below it. Sizes find what was cut short; whoever fetched it has compared checksums.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    bytes_of: BTreeMap<String, u64>,
}

/// The right to fill one entry. Dropped before it is complete, it leaves nothing.
#[derive(Debug)]
pub(super) struct Vacancy {
    beside: PathBuf,
    entry: PathBuf,
    _lock: File,
}

impl Cache {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// An entry that is whole.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        let entry = self.folder.join(name);
        let manifest = fs::read(entry.join(MANIFEST)).ok()?;
        let manifest: Manifest = serde_json::from_slice(&manifest).ok()?;
        let whole = manifest.bytes_of.iter().all(|(path, &bytes)| {
            fs::metadata(entry.join(path)).is_ok_and(|file| file.is_file() && file.len() == bytes)
        });
        (whole && !manifest.bytes_of.is_empty()).then_some(entry)
    }

    /// Waits until nobody else fills the entry, and takes away what they left unfinished.
    pub(super) async fn vacancy(
        &self,
        service: ServiceKind,
        name: &str,
        progress: &Progress,
    ) -> Result<Vacancy, ServiceError> {
        fs::create_dir_all(&self.folder).map_err(ServiceError::file(&self.folder))?;
        let path = self.folder.join(format!("{name}.lock"));
        let lock = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
        let lock = lock.map_err(ServiceError::file(&path))?;
        let deadline = Instant::now() + PATIENCE;
        let mut told = false;
        while let Err(error) = lock.try_lock() {
            if let TryLockError::Error(source) = error {
                return Err(ServiceError::File { path, source });
            }
            if Instant::now() >= deadline {
                let path = path.display();
                return Err(ServiceError::Refused(format!(
                    "another process has been fetching {name} for too long (it holds {path}); stop it"
                )));
            }
            if !std::mem::replace(&mut told, true) {
                progress.say(service, format!("waits for another process that fetches {name}"));
            }
            sleep(LOOK).await;
        }
        let (beside, entry) = (self.folder.join(format!("{name}.part")), self.folder.join(name));
        remove_folder(&beside)?;
        fs::create_dir(&beside).map_err(ServiceError::file(&beside))?;
        Ok(Vacancy { beside, entry, _lock: lock })
    }
}

impl Vacancy {
    /// The empty folder to fill.
    pub(super) fn folder(&self) -> &Path {
        &self.beside
    }

    /// Says that the folder is filled, and makes it the entry.
    pub(super) fn complete(self) -> Result<PathBuf, ServiceError> {
        let at_fault = || ServiceError::file(&self.beside);
        let mut manifest = Manifest::default();
        manifest.add(&self.beside, "").map_err(at_fault())?;
        let text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
        fs::write(self.beside.join(MANIFEST), text).map_err(at_fault())?;
        remove_folder(&self.entry)?;
        fs::rename(&self.beside, &self.entry).map_err(ServiceError::file(&self.entry))?;
        Ok(self.entry.clone())
    }
}

impl Drop for Vacancy {
    fn drop(&mut self) {
        // The next one that fills it takes away what cannot be taken away now.
        let _ = remove_folder(&self.beside);
    }
}

impl Manifest {
    fn add(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|_| io::ErrorKind::InvalidData)?;
            let path = format!("{prefix}{name}");
            match entry.file_type()?.is_dir() {
                true => self.add(&entry.path(), &format!("{path}/"))?,
                false => drop(self.bytes_of.insert(path, fs::metadata(entry.path())?.len())),
            }
        }
        Ok(())
    }
}
