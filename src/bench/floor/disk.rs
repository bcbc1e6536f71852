//! What the disk takes for a write that survives a power cut: nobody can be quicker.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

/// About what a journal writes for one short message.
const RECORD_BYTES: usize = 512;

/// Appends to a file in `folder` and waits for the disk, `count` times; ns of each.
pub(super) fn probe(folder: &Path, count: usize) -> io::Result<Vec<u64>> {
    let path = folder.join(format!("chatctl-floor-{}", std::process::id()));
    let mut file = File::create(&path)?;
    let taken = (0..count).map(|_| {
        let began = Instant::now();
        file.write_all(&[0xa5; RECORD_BYTES])?;
        file.sync_data()?;
        Ok(began.elapsed().as_nanos() as u64)
    });
    let taken = taken.collect();
    std::fs::remove_file(&path)?;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_takes_time_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let taken = probe(folder.path(), 3).unwrap();
        assert_eq!(taken.len(), 3);
        assert!(taken.iter().all(|&ns| ns > 0));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(probe(Path::new("/nowhere"), 1).is_err());
    }
}
