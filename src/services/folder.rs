//! The folder of an environment: its label, its lock, its ports.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::ServiceError;
use super::files::replace;

/// What we made carries this file; nothing else is ever wiped.
const LABEL: &str = "chatctl-services.json";
const LABEL_BESIDE: &str = "chatctl-services.json.new";
const LOCK: &str = "lock";

/// Time between two looks at a lock that another holds.
const LOOK: Duration = Duration::from_millis(100);

/// A folder that `init-env` made and labelled.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

/// What the label holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Label {
    /// For people who find the folder.
    pub made_by: String,
    /// The port of each listener, by name, as last chosen.
    pub ports: BTreeMap<String, u16>,
    /// What was created in services that somebody else runs, by name: all that may be removed from them.
    pub created: BTreeMap<String, Vec<String>>,
}

/// The right to change an environment; given back when dropped or when the process ends, however.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl Folder {
    /// Takes a folder: makes and labels it when it is missing or empty.
    pub fn open(path: &Path) -> Result<Self, ServiceError> {
        fs::create_dir_all(path).map_err(ServiceError::file(path))?;
        let path = path.canonicalize().map_err(ServiceError::file(path))?;
        let folder = Self { path };
        if !folder.is_labelled() {
            let entries = fs::read_dir(&folder.path).map_err(ServiceError::file(&folder.path))?;
            // An interrupted first run leaves no more than these.
            let ours = |name: &str| name == LOCK || name == LABEL_BESIDE;
            if !entries.flatten().all(|entry| entry.file_name().to_str().is_some_and(ours)) {
                return Err(ServiceError::NotOurs { path: folder.path });
            }
            folder
                .write_label(&Label { made_by: "chatctl init-env".into(), ..Label::default() })?;
        }
        Ok(folder)
    }

    /// A folder that is there and labelled; `None` when there is none.
    pub fn find(path: &Path) -> Option<Self> {
        let folder = Self { path: path.canonicalize().ok()? };
        folder.is_labelled().then_some(folder)
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is written in its label.
    pub fn label(&self) -> Result<Label, ServiceError> {
        let path = self.path.join(LABEL);
        let text = fs::read_to_string(&path).map_err(ServiceError::file(&path))?;
        serde_json::from_str(&text)
            .map_err(|error| ServiceError::File { path, source: io::Error::other(error) })
    }

    /// Replaces the label. Only with the lock in hand.
    pub fn write_label(&self, label: &Label) -> Result<(), ServiceError> {
        let text = serde_json::to_string_pretty(label).unwrap_or_default();
        replace(&self.path.join(LABEL), &(text + "\n"))
    }

    /// Waits for the right to change it, for `patience`; `on_wait` hears once who has it.
    pub async fn lock(
        &self,
        patience: Duration,
        on_wait: impl FnOnce(&str) + Send,
    ) -> Result<FolderLock, ServiceError> {
        let path = self.path.join(LOCK);
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(ServiceError::file(&path))?;
        let deadline = Instant::now() + patience;
        let mut on_wait = Some(on_wait);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => {
                    return Err(ServiceError::File { path, source });
                }
                Err(TryLockError::WouldBlock) => {}
            }
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = match holder.trim() {
                "" => "another process",
                holder => holder,
            };
            if let Some(on_wait) = on_wait.take() {
                on_wait(holder);
            }
            if Instant::now() >= deadline {
                return Err(ServiceError::Refused(format!(
                    "{} is being changed by {holder}; wait for it, or stop it",
                    self.path.display()
                )));
            }
            sleep(LOOK).await;
        }
        let holder = format!("chatctl with pid {}", std::process::id());
        // Only for those who wait to read.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{holder}"));
        Ok(FolderLock { _file: file })
    }

    fn is_labelled(&self) -> bool {
        self.path.join(LABEL).is_file()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_of_somebody_else_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("new");
        assert!(Folder::find(&path).is_none());
        Folder::open(&path).unwrap();
        assert_eq!(Folder::find(&path).unwrap().label().unwrap().made_by, "chatctl init-env");
        fs::write(parent.path().join("theirs"), "x").unwrap();
        let error = Folder::open(parent.path()).unwrap_err().to_string();
        assert!(error.contains("choose another --dir"), "{error}");
    }

    #[test]
    fn an_interrupted_first_run_is_repaired() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join(LABEL_BESIDE), "{").unwrap();
        fs::write(parent.path().join(LOCK), "").unwrap();
        Folder::open(parent.path()).unwrap().label().unwrap();
    }

    #[tokio::test]
    async fn the_second_waits_and_is_told_for_whom() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(parent.path()).unwrap();
        let first = folder.lock(Duration::ZERO, |_| {}).await.unwrap();
        let mut told = String::new();
        let waited = folder.lock(Duration::from_millis(250), |holder| told = holder.to_owned());
        let error = waited.await.unwrap_err().to_string();
        assert!(told.contains(&std::process::id().to_string()), "{told}");
        assert!(error.contains(&told), "{error}");
        drop(first);
        // Not at once: a process that another test starts holds all our files until it becomes its program.
        folder.lock(Duration::from_secs(5), |_| {}).await.unwrap();
    }
}
