//! One node of a native service: a child process that outlives us, and how it is found again.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::files::{remove_file, replace};
use super::log::log_tail;
use super::{ServiceError, ServiceKind};

/// Tells a process of ours from everybody else's even when its record was never written: its value
/// is the folder of the node.
const MARK: &str = "CHATCTL_SERVICE_NODE";

/// A log longer than this is begun anew at the next start.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// Time between two looks at a process.
const LOOK: Duration = Duration::from_millis(50);

/// How a node is started.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables on top of ours.
    pub environment: Vec<(String, String)>,
}

/// One node: a folder with its data, configuration, log and the record of its process.
#[derive(Debug, Clone)]
pub struct NodeProcess {
    service: ServiceKind,
    folder: PathBuf,
    address: String,
}

/// Which process it was. A pid alone may be somebody else's by now; with its start time and the boot it is one process for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// Clock ticks between boot and its start.
    start_ticks: u64,
    boot: String,
}

impl NodeProcess {
    /// The node of `folder`, running or not; `address` is for messages.
    pub fn new(service: ServiceKind, folder: PathBuf, address: String) -> Self {
        Self { service, folder, address }
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where clients reach it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The pid of its process, if that lives and is certainly ours. A process whose record was lost (we were killed between starting and noting it) is found
    /// by its mark, and recorded.
    pub fn running(&self) -> Option<u32> {
        let recorded = self.recorded().filter(Record::lives);
        let record = recorded.or_else(|| {
            let found = self.find_marked()?;
            // The next look finds it again.
            let _ = self.write(&found);
            Some(found)
        })?;
        u32::try_from(record.pid).ok()
    }

    /// Starts it, detached: in a process group of its own, without a terminal, its output appended to
    /// `out.log`. The pid is recorded.
    pub fn spawn(&self, recipe: &Recipe) -> Result<u32, ServiceError> {
        fs::create_dir_all(&self.folder).map_err(ServiceError::file(&self.folder))?;
        let log = self.open_log().map_err(ServiceError::file(self.log()))?;
        let errors = log.try_clone().map_err(ServiceError::file(self.log()))?;
        let child = Command::new(&recipe.program)
            .args(&recipe.arguments)
            .envs(recipe.environment.iter().map(|(key, value)| (key, value)))
            .env(MARK, &self.folder)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // A Ctrl-C at the terminal is for us, not for it.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                self.error(format!("{} cannot be started: {error}", recipe.program.display()))
            })?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let record = pid.and_then(Record::of).ok_or_else(|| self.error("it ended at once"))?;
        self.write(&record)?;
        Ok(record.pid.unsigned_abs())
    }

    /// Asks `probe` until it is content. An error when the process ends, or is not ready within `limit`;
    /// it shows what the probe said last and the end of the log.
    pub async fn wait_until_serving<F>(
        &self,
        limit: Duration,
        probe: impl Fn() -> F + Send + Sync,
    ) -> Result<(), ServiceError>
    where
        F: Future<Output = Result<(), String>> + Send,
    {
        let deadline = Instant::now() + limit;
        loop {
            let Err(reason) = probe().await else { return Ok(()) };
            if self.running().is_none() {
                return Err(self.error("its process ended"));
            }
            if Instant::now() >= deadline {
                let seconds = limit.as_secs();
                return Err(self.error(format!("not ready within {seconds} s: {reason}")));
            }
            sleep(LOOK).await;
        }
    }

    /// Asks it to end, and ends it by force when it has not after `grace`.
    pub async fn stop(&self, grace: Duration) -> Result<(), ServiceError> {
        let deadline = Instant::now() + grace;
        self.signal(Signal::TERM)?;
        // A stopped (paused) process would not hear it.
        self.signal(Signal::CONT)?;
        while self.running().is_some() {
            if Instant::now() >= deadline {
                return self.kill().await;
            }
            sleep(LOOK).await;
        }
        self.forget()
    }

    /// Ends it by force and waits until it is gone.
    pub async fn kill(&self) -> Result<(), ServiceError> {
        self.signal(Signal::KILL)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.running().is_some() {
            if Instant::now() >= deadline {
                return Err(self.error("it does not end, not even by SIGKILL"));
            }
            sleep(LOOK).await;
        }
        self.forget()
    }

    /// Sends a signal, to this process and no other; nothing when it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), ServiceError> {
        let Some(pid) = self.running().and_then(|pid| i32::try_from(pid).ok()) else {
            return Ok(());
        };
        let Some(handle) = open_handle(pid) else { return Ok(()) };
        // Looked at again with the handle in hand: from here on the number cannot become another's.
        if self.running().and_then(|pid| i32::try_from(pid).ok()) != Some(pid) {
            return Ok(());
        }
        match pidfd_send_signal(&handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(self.error(format!("pid {pid} cannot be signalled: {error}"))),
        }
    }

    /// Bytes of memory that it holds; `None` when it does not run.
    pub fn resident_bytes(&self) -> Option<u64> {
        resident_bytes(self.running()?)
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> Vec<String> {
        log_tail(&self.log())
    }

    /// An error of this node, with the end of its log.
    pub fn error(&self, reason: impl Into<String>) -> ServiceError {
        ServiceError::Process {
            service: self.service,
            address: self.address.clone(),
            reason: reason.into(),
            log_tail: self.log_tail(),
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("out.log")
    }

    fn record_path(&self) -> PathBuf {
        self.folder.join("process.json")
    }

    fn open_log(&self) -> std::io::Result<File> {
        let long = fs::metadata(self.log()).is_ok_and(|log| log.len() > LOG_BYTES_MAX);
        if long {
            fs::remove_file(self.log())?;
        }
        OpenOptions::new().create(true).append(true).open(self.log())
    }

    fn recorded(&self) -> Option<Record> {
        let text = fs::read_to_string(self.record_path()).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn write(&self, record: &Record) -> Result<(), ServiceError> {
        let text = serde_json::to_string(record).unwrap_or_default();
        replace(&self.record_path(), &text)
    }

    fn forget(&self) -> Result<(), ServiceError> {
        remove_file(&self.record_path())
    }

    fn find_marked(&self) -> Option<Record> {
        let mut entry = format!("{MARK}=").into_bytes();
        entry.extend_from_slice(self.folder.as_os_str().as_encoded_bytes());
        let processes = fs::read_dir("/proc").ok()?.flatten();
        processes
            .filter_map(|process| process.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                // Other users' are unreadable, and not ours.
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|&byte| byte == 0).any(|variable| variable == entry)
            })
            .filter_map(Record::of)
            // The node itself is older than what it may have started.
            .min_by_key(|record| record.start_ticks)
    }
}

impl Record {
    /// Of a process that lives now.
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything, spaces and parentheses too; what follows the last
        // one is the state (field 3) and so on to the start time (field 22).
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let dead = matches!(state, "Z" | "X" | "x");
        let start_ticks = fields.nth(18)?.parse().ok()?;
        (!dead).then(|| Self { pid, start_ticks, boot: boot_id() })
    }

    fn lives(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }
}

/// Resident memory of a process, bytes; `None` when it is gone or the system does not say.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}

fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

fn open_handle(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(folder: &Path) -> NodeProcess {
        NodeProcess::new(ServiceKind::Redis, folder.to_owned(), "127.0.0.1:1".into())
    }

    fn shell(script: &str) -> Recipe {
        Recipe {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
        }
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes(std::process::id()).is_some_and(|bytes| bytes > 100_000));
    }

    #[tokio::test]
    async fn a_process_is_found_again_by_another_of_us_and_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let pid = node(folder.path()).spawn(&shell("echo up; exec sleep 600")).unwrap();
        let again = node(folder.path());
        assert_eq!(again.running(), Some(pid));
        while again.log_tail().is_empty() {
            sleep(LOOK).await;
        }
        assert!(again.resident_bytes().unwrap() > 0);
        again.stop(Duration::from_secs(5)).await.unwrap();
        assert_eq!(again.running(), None);
        assert_eq!(again.log_tail(), ["up"]);
    }

    #[tokio::test]
    async fn a_process_whose_record_was_lost_is_found_by_its_mark() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path());
        let pid = node.spawn(&shell("exec sleep 600")).unwrap();
        node.forget().unwrap();
        // While a process replaces its program, nobody can read its environment.
        let deadline = Instant::now() + Duration::from_secs(5);
        while node.running() != Some(pid) && Instant::now() < deadline {
            sleep(LOOK).await;
        }
        assert_eq!(node.running(), Some(pid));
        assert!(node.recorded().is_some(), "recorded again");
        node.kill().await.unwrap();
    }

    #[tokio::test]
    async fn somebody_elses_process_of_the_same_number_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path());
        let mut other = Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
        let pid = i32::try_from(other.id().unwrap()).unwrap();
        let mut record = Record::of(pid).unwrap();
        record.start_ticks -= 1;
        node.write(&record).unwrap();
        assert_eq!(node.running(), None);
        node.stop(Duration::from_secs(1)).await.unwrap();
        assert!(other.try_wait().unwrap().is_none(), "it lives");
        // A record of before the last boot is no better.
        let boot = "another".to_owned();
        node.write(&Record { boot, ..Record::of(pid).unwrap() }).unwrap();
        assert_eq!(node.running(), None);
    }

    #[tokio::test]
    async fn one_that_does_not_listen_or_is_paused_is_ended_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path());
        node.spawn(&shell("trap '' TERM; while :; do sleep 0.05; done")).unwrap();
        sleep(Duration::from_millis(100)).await;
        node.stop(Duration::from_millis(200)).await.unwrap();
        assert_eq!(node.running(), None);
        node.spawn(&shell("exec sleep 600")).unwrap();
        node.signal(Signal::STOP).unwrap();
        node.stop(Duration::from_secs(5)).await.unwrap();
        assert_eq!(node.running(), None);
    }

    #[tokio::test]
    async fn waiting_ends_when_the_process_does_and_shows_why() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path());
        node.spawn(&shell("echo no such topic; sleep 0.1; exit 1")).unwrap();
        let never = || async { Err("nobody listens".to_owned()) };
        let error = node.wait_until_serving(Duration::from_secs(5), never).await.unwrap_err();
        assert!(error.to_string().contains("no such topic"), "{error}");
        node.spawn(&shell("exec sleep 600")).unwrap();
        let error = node.wait_until_serving(Duration::ZERO, never).await.unwrap_err();
        assert!(error.to_string().contains("nobody listens"), "{error}");
        node.kill().await.unwrap();
    }
}
