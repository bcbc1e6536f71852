//! Free space on the disk: writes stop while there is still room to shut down well.

use std::path::{Path, PathBuf};

/// Free bytes on the file system of `path`; `None` where the system does not tell.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Compares the free space of a file system with a reserve.
#[derive(Debug, Clone)]
pub struct SpaceGuard {
    /// A folder on the file system.
    pub path: PathBuf,
    /// Bytes that must stay free.
    pub reserve_bytes: u64,
}

impl SpaceGuard {
    /// Why nothing may be written now; `None` when there is room. Where the system does not tell,
    /// there is: the write itself will.
    pub fn shortage(&self) -> Option<String> {
        let free_bytes = free_bytes(&self.path)?;
        (free_bytes < self.reserve_bytes).then(|| {
            format!(
                "{} has {free_bytes} bytes free, less than the reserve of {}; free some space or \
                 lower CHATCTL_LOCAL_RESERVE_BYTES",
                self.path.display(),
                self.reserve_bytes
            )
        })
    }
}
