//! `chatctl serve` as a child process.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{PATIENCE, Peer, log};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_chatctl");

/// What is no limit to the servers of tests.
pub const LIFTED: [&str; 7] = [
    "CHATCTL_COMMANDS_PER_S_MAX",
    "CHATCTL_MESSAGES_PER_S_MAX",
    "CHATCTL_INCOMING_BYTES_PER_S_MAX",
    "CHATCTL_REPLY_BYTES_PER_S_MAX",
    "CHATCTL_CONNECTIONS_PER_ADDRESS_MAX",
    "CHATCTL_CONNECTIONS_PER_USER_MAX",
    "CHATCTL_CONNECTS_PER_S_MAX",
];

/// A running server; killed when dropped. What it has logged until then must hold no canary.
pub struct Server {
    child: Child,
    data_dir: PathBuf,
    log: PathBuf,
    variables: Vec<(String, String)>,
    /// Where the WebSocket is.
    pub url: String,
    admin: String,
    _folder: Option<tempfile::TempDir>,
}

impl Server {
    /// Starts one on a free port with a fresh data folder.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more variables.
    pub async fn start_with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let variables = variables.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        let mut server = Self::launch(&folder.path().join("data"), variables).await.unwrap();
        server._folder = Some(folder);
        server
    }

    /// A command that would serve `data_dir`, with nothing of this process's environment in it.
    pub fn command(data_dir: &Path) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("serve");
        Self::told(command, data_dir)
    }

    /// The same by a shell that does something first: limits of the process are inherited.
    pub fn command_after(setup: &str, data_dir: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{setup}; exec \"$0\" \"$@\""), BINARY, "serve"]);
        Self::told(command, data_dir)
    }

    fn told(mut command: Command, data_dir: &Path) -> Command {
        command
            .env_clear()
            .env("CHATCTL_LISTEN", "127.0.0.1:0")
            .env("CHATCTL_ADMIN_LISTEN", "127.0.0.1:0")
            .env("CHATCTL_DATA_DIR", data_dir)
            // Ports change from start to start.
            .env("CHATCTL_NODE", data_dir)
            // A test is a flood to a server that people use. Those of limits say what they are.
            .envs(LIFTED.map(|key| (key, "0")))
            .env("CHATCTL_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// One that a shell starts after doing something.
    pub async fn start_after(setup: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_logging_to(None, setup, variables).await
    }

    /// The same, whose log goes where its test says, and is for it to search.
    pub async fn start_logging_to(
        log: Option<Stdio>,
        setup: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let mut command = Self::command_after(setup, &data_dir);
        let log = log.unwrap_or_else(|| Self::log_file(&data_dir));
        command.stderr(log);
        let variables = variables.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        let mut server = Self::launch_by(command, &data_dir, variables).await.unwrap();
        server._folder = Some(folder);
        server
    }

    /// The end that a piped log comes out of, once.
    pub fn log_pipe(&mut self) -> tokio::process::ChildStderr {
        self.child.stderr.take().expect("asked for")
    }

    /// What it has logged so far, also before a restart.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    fn log_file(data_dir: &Path) -> Stdio {
        std::fs::create_dir_all(data_dir).unwrap();
        let mut file = OpenOptions::new();
        file.create(true).append(true).open(data_dir.with_extension("log")).unwrap().into()
    }

    /// CPU time that it has used, in all.
    pub fn cpu_time(&self) -> std::time::Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id().unwrap()));
        let stat = stat.unwrap();
        // User and system time are the 14th and 15th field; the second may hold blanks.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().unwrap()).sum();
        std::time::Duration::from_millis(ticks * 10)
    }

    async fn launch(data_dir: &Path, variables: Vec<(String, String)>) -> Result<Self, String> {
        let mut command = Self::command(data_dir);
        command.stderr(Self::log_file(data_dir));
        Self::launch_by(command, data_dir, variables).await
    }

    async fn launch_by(
        mut command: Command,
        data_dir: &Path,
        variables: Vec<(String, String)>,
    ) -> Result<Self, String> {
        std::fs::create_dir_all(data_dir).unwrap();
        let admin_file = data_dir.with_extension("admin");
        let mut child = command
            .env("CHATCTL_ADMIN_ADDRESS_FILE", &admin_file)
            // All that our own code says is searched for canaries.
            .env("CHATCTL_LOG", "info,chatctl=debug")
            .envs(variables.iter().map(|(key, value)| (key.as_str(), value.as_str())))
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.map_err(|_| "not ready in time")?;
        let first = first.unwrap().ok_or_else(|| {
            let log = std::fs::read_to_string(data_dir.with_extension("log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(5).collect();
            format!("ended before it was ready; its log, the last line first: {last:#?}")
        })?;
        let url = first.strip_prefix("ready ").ok_or(format!("printed {first:?}"))?.to_owned();
        let admin = std::fs::read_to_string(&admin_file).unwrap().trim().to_owned();
        let (data_dir, log) = (data_dir.to_owned(), data_dir.with_extension("log"));
        Ok(Self { child, data_dir, log, variables, url, admin, _folder: None })
    }

    /// `kill -9`, at once.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// The exit code of a server that was told to end, by a signal or a rival.
    pub async fn wait_for_end(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.expect("ends in time").unwrap().code()
    }

    /// Any signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = self.child.id().expect("still running");
        let pid = rustix::process::Pid::from_raw(id as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// What has not come to `ready` within the time of a test, or ended: why.
    pub async fn refused(variables: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let output = Self::command(&folder.path().join("data"))
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output();
        let output = timeout(PATIENCE, output).await.expect("ends in time").unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        log::check(&output.stderr);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Starts again on the same folder, after a kill or an end.
    pub async fn restart(&mut self) {
        let mut next =
            Self::launch(&self.data_dir, std::mem::take(&mut self.variables)).await.unwrap();
        next._folder = self._folder.take();
        *self = next;
    }

    /// The same with other variables, which win over those that it was started with; an empty one is not set.
    pub async fn restart_with(&mut self, variables: &[(&str, &str)]) {
        self.variables.retain(|(key, _)| variables.iter().all(|(other, _)| key != other));
        let set = variables.iter().filter(|(_, value)| !value.is_empty());
        self.variables.extend(set.map(|&(key, value)| (key.to_owned(), value.to_owned())));
        self.restart().await;
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Host and port of the public listener.
    pub fn address(&self) -> String {
        self.url.split('/').nth(2).unwrap().to_owned()
    }

    /// Host and port of the admin listener.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// A session of `user`.
    pub async fn connect(&self, user: &str) -> Peer {
        Peer::connect(&self.url, user).await
    }

    /// A GET on the admin listener: status and body.
    pub async fn admin_get(&self, path: &str) -> (u16, String) {
        get(&self.admin, path, "").await
    }

    /// A GET on the public listener, with more header lines: status and body.
    pub async fn get(&self, path: &str, headers: &str) -> (u16, String) {
        get(&self.address(), path, headers).await
    }

    /// A POST on the public listener: its status.
    pub async fn post(&self, path: &str, body: &str) -> u16 {
        let length = format!("Content-Length: {}\r\n", body.len());
        let address = self.address();
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\n{length}\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut status)).await.expect("in time").unwrap();
        String::from_utf8_lossy(&status[9..]).parse().unwrap()
    }

    /// Any request on the public listener: the head of the answer, in lower case.
    pub async fn head(&self, method: &str, path: &str, headers: &str) -> String {
        let address = self.address();
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.expect("in time").unwrap());
        }
        String::from_utf8(head).unwrap().to_lowercase()
    }

    /// One counter of `/metrics`, summed over its labels.
    pub async fn counter(&self, name: &str) -> f64 {
        let (_, text) = self.admin_get("/metrics").await;
        text.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended, and its log may be a pipe.
        let _ = self.child.start_kill();
        if !std::thread::panicking() {
            log::check(&std::fs::read(&self.log).unwrap_or_default());
        }
    }
}

async fn get(address: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let host = if headers.to_ascii_lowercase().contains("host:") {
        String::new()
    } else {
        format!("Host: {address}\r\n")
    };
    let request = format!("GET {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut response)).await.expect("answers in time").unwrap();
    let response = String::from_utf8_lossy(&response).into_owned();
    let status = response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    (status, body)
}
