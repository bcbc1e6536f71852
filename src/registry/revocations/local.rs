//! The keeper of a single node: a file of lines, or memory where nothing needs to outlive the process.
//!
//! A line is on the disk before the revocation is answered. What a kill left of a last line was not answered, and is cut off. At a start
//! those that are over are left out and the file is written anew, beside and renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use super::{KeepError, REVOCATIONS_MAX, Revocations};
use crate::clock;
use crate::model::Revocation;
use crate::registry::StartError;

/// The keeper.
#[derive(Default)]
pub struct LocalRevocations {
    path: Option<PathBuf>,
    open: Arc<Mutex<Option<Open>>>,
}

struct Open {
    file: File,
    count: usize,
}

impl LocalRevocations {
    /// Keeps nothing: for a node whose users show no tokens, so that there is nothing to refuse later.
    pub fn none() -> Self {
        Self::default()
    }

    /// Keeps them in this file; it and its folder are made when they are missing.
    pub fn file(path: PathBuf) -> Self {
        Self { path: Some(path), open: Arc::default() }
    }
}

#[async_trait]
impl Revocations for LocalRevocations {
    async fn start(&self) -> Result<Vec<Revocation>, StartError> {
        let Some(path) = self.path.clone() else { return Ok(Vec::new()) };
        let shown = path.display().to_string();
        let opened = spawn_blocking(move || open(&path)).await.map_err(io::Error::other);
        let (open, kept) = opened.and_then(|opened| opened).map_err(|error| {
            StartError(format!("the revocations in {shown} cannot be had: {error}; correct the file, or take it away and revoke again"))
        })?;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        Ok(kept)
    }

    async fn keep(&self, revocation: &Revocation) -> Result<(), KeepError> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let open = Arc::clone(&self.open);
        let failed =
            |error: io::Error| KeepError(format!("{} cannot be written: {error}", path.display()));
        let mut line = serde_json::to_vec(revocation).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let append = move || {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(open) = open.as_mut() else { return Err(io::ErrorKind::NotFound.into()) };
            if open.count >= REVOCATIONS_MAX {
                return Ok(false);
            }
            open.file.write_all(&line)?;
            open.file.sync_data()?;
            open.count += 1;
            Ok(true)
        };
        match spawn_blocking(append).await.map_err(io::Error::other).and_then(|done| done) {
            Ok(true) => Ok(()),
            Ok(false) => Err(KeepError::full()),
            Err(error) => Err(failed(error)),
        }
    }
}

fn open(path: &Path) -> io::Result<(Open, Vec<Revocation>)> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    // What follows the last line end was never answered.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let now = clock::unix_ms();
    let mut kept = Vec::new();
    for (index, line) in whole.lines().enumerate() {
        let revocation: Revocation = serde_json::from_str(line).map_err(|error| {
            io::Error::other(format!("line {} is no revocation: {error}", index + 1))
        })?;
        if revocation.until > now {
            kept.push(revocation);
        }
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    for revocation in &kept {
        serde_json::to_writer(&mut file, revocation)?;
        file.write_all(b"\n")?;
    }
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    let file = OpenOptions::new().append(true).open(path)?;
    Ok((Open { file, count: kept.len() }, kept))
}
