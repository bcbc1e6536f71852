//! The end of a log, for messages.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Lines that are shown.
const LINES_MAX: usize = 12;

/// Bytes from the end of the log that those lines are looked for in.
const BYTES_MAX: u64 = 8 << 10;

/// The last lines of a log; none where it cannot be read.
pub fn log_tail(path: &Path) -> Vec<String> {
    let bytes = tail(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].to_vec()
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
