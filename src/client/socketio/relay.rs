//! One node process and the lines between it and us.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// What the process runs.
const DRIVER: &str = include_str!("driver.js");
/// Lines that wait for the process; more make their clients wait.
const LINES_MAX: usize = 1_024;
/// Lines that wait for one client; more make all of the process wait.
const HEARD_MAX: usize = 1_024;

/// A line about one client.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) kind: String,
    pub(super) value: String,
}

/// A node process. It ends with the last of its clients.
#[derive(Debug)]
pub(super) struct Relay {
    lines: mpsc::Sender<String>,
    clients: Arc<Clients>,
    number_last: AtomicU64,
    _tasks: [AbortOnDropHandle<()>; 2],
}

#[derive(Debug, Default)]
struct Clients(Mutex<HashMap<u64, mpsc::Sender<Heard>>>);

impl Clients {
    fn table(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Heard>>> {
        // No code under this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    /// Starts one. The error says what is missing.
    pub(super) fn start(modules: &Path, certificates: Option<&Path>) -> Result<Arc<Self>, String> {
        let mut command = Command::new("node");
        command
            .arg("--eval")
            .arg(DRIVER)
            .arg(modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if let Some(certificates) = certificates {
            command.env("NODE_EXTRA_CA_CERTS", certificates);
        }
        let mut node = command.spawn().map_err(|error| {
            format!("node cannot be started: {error}; install Node.js 20 or newer")
        })?;
        let (Some(input), Some(output)) = (node.stdin.take(), node.stdout.take()) else {
            return Err("node has no input or output".to_owned());
        };
        let (lines, receiver) = mpsc::channel(LINES_MAX);
        let clients = Arc::new(Clients::default());
        let heard = Arc::clone(&clients);
        let tasks = [
            tokio::spawn(write(input, receiver)),
            tokio::spawn(async move {
                read(output, &heard).await;
                // Whoever is left hears that nothing more comes.
                heard.table().clear();
                drop(node);
            }),
        ];
        let tasks = tasks.map(AbortOnDropHandle::new);
        Ok(Arc::new(Self { lines, clients, number_last: AtomicU64::new(0), _tasks: tasks }))
    }

    /// How many clients it has.
    pub(super) fn clients(&self) -> usize {
        self.clients.table().len()
    }

    /// A number for one more, and what it hears.
    pub(super) fn enter(&self) -> (u64, mpsc::Receiver<Heard>) {
        let number = self.number_last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = mpsc::channel(HEARD_MAX);
        self.clients.table().insert(number, sender);
        (number, receiver)
    }

    /// It hears nothing more.
    pub(super) fn leave(&self, number: u64) {
        self.clients.table().remove(&number);
    }

    /// Where lines to it go.
    pub(super) fn lines(&self) -> mpsc::Sender<String> {
        self.lines.clone()
    }
}

async fn write(mut input: ChildStdin, mut lines: mpsc::Receiver<String>) {
    let mut taken = Vec::new();
    while lines.recv_many(&mut taken, LINES_MAX).await > 0 {
        if input.write_all(taken.concat().as_bytes()).await.is_err() {
            return;
        }
        taken.clear();
    }
}

async fn read(output: ChildStdout, clients: &Clients) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut parts = line.splitn(3, ' ');
        let (Some(number), Some(kind), Some(value)) = (parts.next(), parts.next(), parts.next())
        else {
            tracing::error!("the driver of socket.io-client says what nobody expects");
            return;
        };
        let client = number.parse().ok().and_then(|number| clients.table().get(&number).cloned());
        if let Some(client) = client {
            // Who left hears no more.
            let _ = client.send(Heard { kind: kind.to_owned(), value: value.to_owned() }).await;
        }
    }
}
