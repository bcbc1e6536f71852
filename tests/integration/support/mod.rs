//! A server process and raw protocol clients for the tests.

pub mod browser;
pub mod certificates;
pub mod jwks_server;
pub mod log;
pub mod npm;
mod peer;
pub mod raw;
pub mod redis;
pub mod redis_cluster;
mod server;
pub mod services;
pub mod stock_client;
pub mod tokens;

pub use peer::{Peer, message};
pub use server::{BINARY, LIFTED, Server};

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Nothing that these tests wait for takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A number from the environment that lengthens a test (`make soak`).
pub fn scale(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// `chatctl` with these arguments: nothing to read, its output kept, ended with the test.
pub fn chatctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The only entry of a folder.
pub fn only_entry(folder: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(folder).unwrap();
    let only = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none(), "more than one in {}", folder.display());
    only
}

/// p50 and p99, ms.
pub fn percentiles(times: &mut [Duration]) -> [f64; 2] {
    times.sort_unstable();
    [0.5, 0.99].map(|share| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3)
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", &uuid::Uuid::now_v7().simple().to_string()[16..])
}
