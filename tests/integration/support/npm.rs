//! What tests need of npm: exactly what a lock file says, installed on first use.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::services::leave_out;

/// For what has to be fetched.
const PATIENCE: Duration = Duration::from_secs(300);

/// The modules of one folder, for all tests.
pub struct Modules {
    folder: &'static str,
    installed: OnceCell<Result<PathBuf, String>>,
}

impl Modules {
    pub const fn of(folder: &'static str) -> Self {
        Self { folder, installed: OnceCell::const_new() }
    }

    /// Where they are; `None`: there is no node or no npm, so the test is to be left out.
    pub async fn get(&self) -> Option<PathBuf> {
        match self.installed.get_or_init(|| install(Path::new(self.folder))).await {
            Ok(modules) => Some(modules.clone()),
            Err(reason) => leave_out(reason),
        }
    }
}

/// The modules of a folder with `package.json` and `package-lock.json`; the error says why they cannot be had. To be called once at a
/// time for a folder.
pub async fn install(folder: &Path) -> Result<PathBuf, String> {
    let modules = folder.join("node_modules");
    let locked = std::fs::read(folder.join("package-lock.json")).unwrap();
    // A mark of ours: npm's own files are there before it has ended.
    let mark = modules.join("installed-lock.json");
    if std::fs::read(&mark).is_ok_and(|installed| installed == locked) {
        return Ok(modules);
    }
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let npm = timeout(PATIENCE, npm)
        .await
        .map_err(|_| format!("npm ci, for {}, did not end", folder.display()))?
        .map_err(|error| format!("npm, for {}: {error}", folder.display()))?;
    if !npm.status.success() {
        return Err(format!("npm ci: {}", String::from_utf8_lossy(&npm.stderr)));
    }
    std::fs::write(&mark, locked).unwrap();
    Ok(modules)
}
