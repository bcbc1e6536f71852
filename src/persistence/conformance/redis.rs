//! Where the suite gets REDIS engines from: one server per suite, a prefix per case.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tempfile::TempDir;

use super::service::{Guard, ServiceFactory, Store};
use crate::config;
use crate::model::Epoch;
use crate::persistence::Persistence;
use crate::persistence::redis::{RedisSettings, open, open_cluster};
use crate::services::{Artifacts, Progress, ServiceKind};

/// A server of our own: on loopback, in a folder of its own, ended when it is dropped.
pub struct Server {
    process: Child,
    port: u16,
    program: PathBuf,
    folder: TempDir,
    options: Vec<String>,
}

impl Server {
    /// Starts a server with these options (`["--appendonly", "yes"]`).
    pub fn start(program: &Path, options: &[&str]) -> Self {
        let folder = TempDir::with_prefix("chatctl-redis").expect("a folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let process = spawn(program, port, folder.path(), &options);
        let server = Self { process, port, program: program.to_owned(), folder, options };
        server.wait();
        server
    }

    /// What clients connect to.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// Its data and its log of writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the next start is told besides.
    pub fn add_options(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(|&option| option.to_owned()));
    }

    /// Starts it again on the same data.
    pub fn restart(&mut self) {
        self.process = spawn(&self.program, self.port, self.folder.path(), &self.options);
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Until it takes connections.
    pub fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_up = || {
            let mut connection = redis::Client::open(self.url()).ok()?.get_connection().ok()?;
            redis::cmd("PING").query::<String>(&mut connection).ok()
        };
        while is_up().is_none() {
            assert!(Instant::now() < deadline, "{} does not start", self.program.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(program: &Path, port: u16, folder: &Path, options: &[String]) -> Child {
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"])
        .arg(folder)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

/// The program of a service: the one that its variable names, or else what [`Artifacts`] finds or fetches. `None`: there is
/// none and none can be had, which CI does not accept.
#[expect(clippy::disallowed_methods, reason = "settings of the test, not of the program")]
pub fn program(service: ServiceKind) -> Option<PathBuf> {
    let variable = match service {
        ServiceKind::Valkey => "CHATCTL_TEST_VALKEY_SERVER",
        _ => "CHATCTL_TEST_REDIS_SERVER",
    };
    if let Some(asked) = std::env::var_os(variable) {
        return Some(asked.into());
    }
    let find = move || {
        let folder = config::cache_folder().ok_or("there is no home folder to keep programs in")?;
        let artifacts = Artifacts::new(folder);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(async {
            let progress = Progress::silent();
            let found = match service {
                ServiceKind::Valkey => artifacts.valkey(&progress).await,
                _ => artifacts.redis(&progress).await,
            };
            found.map_err(|error| error.to_string())
        })
    };
    // In a thread of its own, because a runtime may be at work in this one.
    let found: Result<PathBuf, String> = std::thread::spawn(find).join().expect("it ends");
    match found {
        Ok(program) => Some(program),
        Err(reason) => {
            assert!(std::env::var_os("CI").is_none(), "{service}: {reason}");
            eprintln!("LEFT OUT: everything on {service}, for {reason}; or set {variable}");
            None
        }
    }
}

/// A fast one for many cases.
const SHARED_OPTIONS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "no"];

/// A server that all cases of one suite share, and what ends it.
struct Shared {
    server: Server,
    _guard: Guard,
}

impl Shared {
    fn start(program: &Path) -> Self {
        let server = Server::start(program, &SHARED_OPTIONS);
        let guard = Guard::new(server.pid(), server.folder.path());
        Self { server, _guard: guard }
    }
}

/// Engines over one prefix of a shared server.
pub type RedisFactory = ServiceFactory<RedisSettings>;

impl RedisFactory {
    /// On Redis.
    pub fn redis() -> Self {
        static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
        Self::over(&SHARED, || program(ServiceKind::Redis))
    }

    /// On Valkey.
    pub fn valkey() -> Self {
        static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
        Self::over(&SHARED, || program(ServiceKind::Valkey))
    }

    fn over(
        shared: &'static OnceLock<Option<Shared>>,
        program: impl FnOnce() -> Option<PathBuf>,
    ) -> Self {
        let shared = shared.get_or_init(|| program().map(|program| Shared::start(&program)));
        Self::new(shared.as_ref().map(|shared| fresh_settings(&shared.server)))
    }
}

/// A prefix that nobody else uses.
pub fn fresh_settings(server: &Server) -> RedisSettings {
    RedisSettings { server: server.url().into(), prefix: format!("{}:", Epoch::generate()) }
}

#[async_trait]
impl Store for RedisSettings {
    async fn engine(&self) -> Arc<dyn Persistence> {
        if self.server.is_in_cluster() {
            return open_cluster(self.clone()).await.expect("the servers run");
        }
        open(self.clone()).await.expect("the server runs")
    }
}
