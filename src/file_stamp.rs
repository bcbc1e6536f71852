//! Whether a file may have other contents than before.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tokio::task::spawn_blocking;

/// Which contents a file had: another stamp, perhaps other contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    file: u64,
    bytes: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl FileStamp {
    /// Of the file that a path leads to now; `None` where there is none.
    pub async fn of(path: &Path) -> Option<Self> {
        let path = path.to_owned();
        let metadata = spawn_blocking(move || fs::metadata(path)).await.ok()?.ok()?;
        Some(Self {
            file: metadata.ino(),
            bytes: metadata.len(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        })
    }
}
