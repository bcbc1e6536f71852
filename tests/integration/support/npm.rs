//! What tests need of npm: exactly what a lock file says, installed on first use.

use std::path::{Path, PathBuf};

use tokio::process::Command;

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
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("npm, for {}: {error}", folder.display()))?;
    if !npm.status.success() {
        return Err(format!("npm ci: {}", String::from_utf8_lossy(&npm.stderr)));
    }
    std::fs::write(&mark, locked).unwrap();
    Ok(modules)
}
