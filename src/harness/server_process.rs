//! A server of our own: `chatctl serve` as a child process on free ports with fresh data.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::content::holds_content;
use super::error::HarnessError;
use super::stoppable::Stoppable;
use crate::client::Address;
use crate::services::log_tail;

/// How long a server may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take to drain after SIGTERM.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// Limits of a server that a run asks for as much as it can: a load is no flood, and one address has all clients. What the user says
/// comes after them. An older program does not know them and says so in its log.
const LIFTED: [(&str, &str); 7] = [
    ("CHATCTL_COMMANDS_PER_S_MAX", "0"),
    ("CHATCTL_MESSAGES_PER_S_MAX", "0"),
    ("CHATCTL_INCOMING_BYTES_PER_S_MAX", "0"),
    ("CHATCTL_REPLY_BYTES_PER_S_MAX", "0"),
    ("CHATCTL_CONNECTIONS_PER_ADDRESS_MAX", "0"),
    ("CHATCTL_CONNECTIONS_PER_USER_MAX", "0"),
    ("CHATCTL_CONNECTS_PER_S_MAX", "0"),
];

/// A running `chatctl serve`. Dropping it kills it, waits, and removes its data; [`ServerProcess::stop`]
/// lets it drain first.
#[derive(Debug)]
pub struct ServerProcess {
    launch: Launch,
    child: Child,
    address: Address,
    admin: Option<String>,
    data: DataFolder,
    /// Held open: a server whose stdout is closed would fail if it ever wrote there again.
    _stdout: BufReader<ChildStdout>,
}

/// How it is started, each time.
#[derive(Debug)]
struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Nothing of what is set at this desk counts.
    apart: bool,
}

/// A process that said where it is.
struct Ready {
    child: Child,
    address: Address,
    admin: Option<String>,
    stdout: BufReader<ChildStdout>,
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
        Self::start_program(&program, &["serve"], environment, false).await
    }

    /// Starts this very binary with `environment` alone: nothing of ours, and no `.env` of the working folder.
    pub async fn start_apart(environment: &[(String, String)]) -> Result<Self, HarnessError> {
        Self::start_program(&Self::this_binary()?, &["serve"], environment, true).await
    }

    /// A script in its place.
    #[cfg(test)]
    pub async fn start_script(script: &str) -> Result<Self, HarnessError> {
        Self::start_program(Path::new("/bin/sh"), &["-c", script], &[], false).await
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
        apart: bool,
    ) -> Result<Self, HarnessError> {
        let data = DataFolder::create()?;
        let launch = Launch {
            program: program.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: environment.to_vec(),
            apart,
        };
        let anywhere = ["CHATCTL_LISTEN", "CHATCTL_ADMIN_LISTEN"]
            .map(|key| (key.to_owned(), "127.0.0.1:0".to_owned()));
        let Ready { child, address, admin, stdout } = launch.run(&data, &anywhere).await?;
        Ok(Self { launch, child, address, admin, data, _stdout: stdout })
    }

    /// Ends it at once, with whatever is under way (`SIGKILL`); its data stays.
    pub async fn kill(&mut self) -> Result<(), HarnessError> {
        self.child.kill().await.map_err(|error| HarnessError::Server {
            program: self.launch.program.clone(),
            reason: format!("it cannot be killed: {error}"),
            log_tail: Vec::new(),
        })
    }

    /// Starts it again after [`kill`](Self::kill): the same data and addresses; `environment` on top of its own this time. Waits until it
    /// is ready.
    pub async fn restart(&mut self, environment: &[(String, String)]) -> Result<(), HarnessError> {
        let mut environment = environment.to_vec();
        environment.push(("CHATCTL_LISTEN".to_owned(), self.address.authority().to_owned()));
        if let Some(admin) = &self.admin {
            environment.push(("CHATCTL_ADMIN_LISTEN".to_owned(), admin.clone()));
        }
        let ready = self.launch.run(&self.data, &environment).await?;
        (self.child, self._stdout) = (ready.child, ready.stdout);
        Ok(())
    }

    /// Whether its process is there; one that ended by itself is not.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
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

    /// Runs the same program with these arguments, environment and data, gives it `input`, and waits at most `limit`. What it printed;
    /// the error is for people. The server itself should not run: its data may be its alone.
    pub async fn run_beside(
        &self,
        arguments: &[&str],
        input: &str,
        limit: Duration,
    ) -> Result<Vec<u8>, String> {
        let mut child = Command::new(&self.launch.program)
            .args(arguments)
            .env("CHATCTL_DATA_DIR", self.data.path.join("store"))
            .envs(self.launch.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("it cannot be started: {error}"))?;
        let stdin = child.stdin.take();
        let writing = async {
            if let Some(mut stdin) = stdin {
                // One that ends early says why itself.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let both = async { tokio::join!(writing, child.wait_with_output()).1 };
        let output = tokio::time::timeout(limit, both).await;
        let output = output.map_err(|_| format!("it did not end within {} s", limit.as_secs()))?;
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }

    /// Stops it with SIGTERM and waits; after the grace period it is killed. The text says what was
    /// wrong with its end, or with its log, if anything: a log holds no content of messages. Its data goes with `self`.
    pub async fn stop(&mut self) -> Option<String> {
        let Some(pid) = self.process() else {
            return Some("the server had ended before it was stopped".into());
        };
        if let Err(error) = kill_process(pid, Signal::TERM) {
            return Some(format!("the server could not be stopped: {error}"));
        }
        match tokio::time::timeout(STOP_GRACE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => self.content_in_log().await,
            Ok(Ok(status)) => Some(format!("the server ended with {status} when it was stopped")),
            Ok(Err(error)) => Some(format!("the server's end is unknown: {error}")),
            Err(_) => Some(format!("the server did not stop within {} s", STOP_GRACE.as_secs())),
        }
    }
}

impl ServerProcess {
    async fn content_in_log(&self) -> Option<String> {
        let log = self.data.log();
        let searching = tokio::task::spawn_blocking(move || line_with_content(&log));
        match searching.await.map_err(io::Error::other).flatten() {
            Ok(None) => None,
            Ok(Some(line)) => {
                Some(format!("the server's log has the content of a message (line {line})"))
            }
            Err(error) => Some(format!("the server's log cannot be read: {error}")),
        }
    }
}

/// The number, from 1, of the first line with a content of the harness.
fn line_with_content(log: &Path) -> io::Result<Option<usize>> {
    let mut reader = io::BufReader::new(File::open(log)?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if holds_content(&line) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

impl Launch {
    /// Starts it over `data`, with `more` on top of its environment.
    async fn run(
        &self,
        data: &DataFolder,
        more: &[(String, String)],
    ) -> Result<Ready, HarnessError> {
        let folder_error = |source| HarnessError::DataFolder { path: data.path.clone(), source };
        let mut log = OpenOptions::new();
        let log = log.create(true).append(true).open(data.log()).map_err(folder_error)?;
        let failed = |reason: String| HarnessError::Server {
            program: self.program.clone(),
            reason,
            log_tail: log_tail(&data.log()),
        };
        let mut command = Command::new(&self.program);
        if self.apart {
            command.env_clear().current_dir(&data.path);
        }
        let mut child = command
            .args(&self.arguments)
            .env("CHATCTL_ADMIN_ADDRESS_FILE", data.admin_address())
            .env("CHATCTL_DATA_DIR", data.path.join("store"))
            .envs(LIFTED)
            // Where it listens may be the user's to say.
            .envs(more.iter().map(|(key, value)| (key, value)))
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
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
        Ok(Ready { child, address, admin, stdout })
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
        // A server may run in another folder.
        let path = std::path::absolute(&path)
            .map_err(|source| HarnessError::DataFolder { path, source })?;
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
        ServerProcess::start_script(script).await
    }

    #[tokio::test]
    async fn a_ready_server_tells_where_it_is_and_leaves_nothing() {
        let script = r#"echo 127.0.0.1:77 > "$CHATCTL_ADMIN_ADDRESS_FILE"
            trap 'exit 0' TERM
            echo ready ws://127.0.0.1:78/v1/ws
            while :; do sleep 0.02; done"#;
        let mut server = start(script).await.unwrap();
        assert_eq!(server.address().authority(), "127.0.0.1:78");
        assert_eq!(server.admin(), Some("127.0.0.1:77"));
        let data = server.data_folder().to_owned();
        assert!(data.exists());
        assert_eq!(server.stop().await, None);
        drop(server);
        assert!(!data.exists());
    }

    #[tokio::test]
    async fn a_killed_server_comes_back_where_it_was_with_its_data() {
        let script = r#"mkdir -p "$CHATCTL_DATA_DIR"; echo "$EXTRA" >> "$CHATCTL_DATA_DIR/starts"
            echo 127.0.0.1:77 > "$CHATCTL_ADMIN_ADDRESS_FILE"
            echo "$CHATCTL_LISTEN $CHATCTL_ADMIN_LISTEN" >> "$CHATCTL_DATA_DIR/starts"
            trap 'exit 0' TERM
            echo ready ws://127.0.0.1:78/v1/ws
            while :; do sleep 0.02; done"#;
        let mut server = start(script).await.unwrap();
        assert!(server.is_running());
        server.kill().await.unwrap();
        assert!(!server.is_running());
        server.restart(&[("EXTRA".to_owned(), "again".to_owned())]).await.unwrap();
        assert!(server.is_running());
        let starts = fs::read_to_string(server.data_folder().join("store/starts")).unwrap();
        assert_eq!(starts, "\n127.0.0.1:0 127.0.0.1:0\nagain\n127.0.0.1:78 127.0.0.1:77\n");
        assert_eq!(server.stop().await, None);
    }

    #[tokio::test]
    async fn a_log_with_a_content_is_told() {
        let mut server = start(
            r#"echo "WARN refused" >&2; echo "WARN a|ann|c1|0123456789abcdef|text" >&2
            trap 'exit 0' TERM; echo ready ws://127.0.0.1:78/v1/ws; while :; do sleep 0.02; done"#,
        )
        .await
        .unwrap();
        let wrong = server.stop().await.unwrap();
        assert!(wrong.contains("content of a message (line 2)"), "{wrong}");
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
