//! A server of our own: `chatctl serve` as a child process on free ports with fresh data.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::error::HarnessError;
use super::stoppable::Stoppable;
use crate::client::Address;
use crate::services::log_tail;

/// How long a server may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take to drain after SIGTERM.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// A running `chatctl serve`. Dropping it kills it, waits, and removes its data; [`ServerProcess::stop`]
/// lets it drain first.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: Address,
    admin: Option<String>,
    data: DataFolder,
    /// Held open: a server whose stdout is closed would fail if it ever wrote there again.
    _stdout: BufReader<ChildStdout>,
}

impl ServerProcess {
    /// Starts `program` (`None`: this very binary) with `environment` on top of ours, and waits until it is ready.
    pub async fn start(
        program: Option<&Path>,
        environment: &[(String, String)],
    ) -> Result<Self, HarnessError> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => Self::this_binary()?,
        };
        Self::start_program(&program, &["serve"], environment).await
    }

    /// Where this binary is.
    pub fn this_binary() -> Result<PathBuf, HarnessError> {
        std::env::current_exe().map_err(|error| HarnessError::Server {
            program: PathBuf::from("chatctl"),
            reason: format!("the path of this binary is unknown: {error}"),
            log_tail: Vec::new(),
        })
    }

    async fn start_program(
        program: &Path,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Result<Self, HarnessError> {
        let data = DataFolder::create()?;
        let folder_error = |source| HarnessError::DataFolder { path: data.path.clone(), source };
        let log = File::create(data.log()).map_err(folder_error)?;
        let failed = |reason: String| HarnessError::Server {
            program: program.to_owned(),
            reason,
            log_tail: log_tail(&data.log()),
        };
        let mut child = Command::new(program)
            .args(arguments)
            .env("CHATCTL_LISTEN", "127.0.0.1:0")
            .env("CHATCTL_ADMIN_LISTEN", "127.0.0.1:0")
            .env("CHATCTL_ADMIN_ADDRESS_FILE", data.admin_address())
            .env("CHATCTL_DATA_DIR", data.path.join("store"))
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // A Ctrl-C at the terminal stops the harness, which then stops the server in its own time.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("it cannot be started: {error}")))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("it has no stdout".into()))?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        match tokio::time::timeout(READY_TIMEOUT, stdout.read_line(&mut line)).await {
            Ok(Ok(length)) if length > 0 => {}
            Ok(Ok(_)) => {
                let status = child.wait().await;
                let status = status.map_or_else(|error| error.to_string(), |s| s.to_string());
                return Err(failed(format!("it ended with {status}")));
            }
            Ok(Err(error)) => return Err(failed(format!("its stdout cannot be read: {error}"))),
            Err(_) => {
                return Err(failed(format!("nothing within {} s", READY_TIMEOUT.as_secs())));
            }
        }
        let address =
            line.trim().strip_prefix("ready ").and_then(|url| url.parse().ok()).ok_or_else(
                || failed(format!("it printed {:?} instead of ready ws://…", line.trim())),
            )?;
        let admin = fs::read_to_string(data.admin_address()).ok();
        let admin = admin.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Self { child, address, admin, data, _stdout: stdout })
    }

    /// Where clients connect.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// `host:port` of its admin listener, if it told.
    pub fn admin(&self) -> Option<&str> {
        self.admin.as_deref()
    }

    /// Its process id; `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Itself, to be stopped where it is and to go on; `None` once it has ended.
    pub fn stoppable(&self) -> Option<Stoppable> {
        self.process().map(Stoppable::new)
    }

    fn process(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.pid()?).ok()?)
    }

    /// Where its data is.
    pub fn data_folder(&self) -> &Path {
        &self.data.path
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> Vec<String> {
        log_tail(&self.data.log())
    }

    /// Stops it with SIGTERM and waits; after the grace period it is killed. The text says what was
    /// wrong with its end, if anything.
    pub async fn stop(mut self) -> Option<String> {
        let Some(pid) = self.process() else {
            return Some("the server had ended before it was stopped".into());
        };
        if let Err(error) = kill_process(pid, Signal::TERM) {
            return Some(format!("the server could not be stopped: {error}"));
        }
        match tokio::time::timeout(STOP_GRACE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => None,
            Ok(Ok(status)) => Some(format!("the server ended with {status} when it was stopped")),
            Ok(Err(error)) => Some(format!("the server's end is unknown: {error}")),
            Err(_) => Some(format!("the server did not stop within {} s", STOP_GRACE.as_secs())),
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Nothing to kill once it was waited for. Blocking is right here: the data folder must not be
        // removed under a living server, and a killed process is gone in a moment.
        if self.child.start_kill().is_ok() {
            let deadline = Instant::now() + Duration::from_secs(2);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// A fresh folder that is removed at the end.
#[derive(Debug)]
struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    fn create() -> Result<Self, HarnessError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("chatctl-harness-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(HarnessError::DataFolder { path, source }),
        }
    }

    fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }

    fn admin_address(&self) -> PathBuf {
        self.path.join("admin-address")
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "server data was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn start(script: &str) -> Result<ServerProcess, HarnessError> {
        ServerProcess::start_program(Path::new("/bin/sh"), &["-c", script], &[]).await
    }

    #[tokio::test]
    async fn a_ready_server_tells_where_it_is_and_leaves_nothing() {
        let script = r#"echo 127.0.0.1:77 > "$CHATCTL_ADMIN_ADDRESS_FILE"
            trap 'exit 0' TERM
            echo ready ws://127.0.0.1:78/v1/ws
            while :; do sleep 0.02; done"#;
        let server = start(script).await.unwrap();
        assert_eq!(server.address().authority(), "127.0.0.1:78");
        assert_eq!(server.admin(), Some("127.0.0.1:77"));
        let data = server.data_folder().to_owned();
        assert!(data.exists());
        assert_eq!(server.stop().await, None);
        assert!(!data.exists());
    }

    #[tokio::test]
    async fn a_failed_start_shows_the_log() {
        let error = start("echo no such engine >&2; exit 3").await.unwrap_err().to_string();
        assert!(error.contains("no such engine") && error.contains('3'), "{error}");
        let error = start("echo hello; sleep 60").await.unwrap_err().to_string();
        assert!(error.contains("\"hello\""), "{error}");
    }

    #[tokio::test]
    async fn a_dropped_server_is_dead() {
        let server = start("echo ready ws://127.0.0.1:78; exec sleep 600").await.unwrap();
        let (pid, data) = (server.pid().unwrap(), server.data_folder().to_owned());
        drop(server);
        assert!(!data.exists());
        assert_eq!(crate::services::resident_bytes(pid), None);
    }
}
