//! Where the suite gets REDIS engines from: one server per suite, a prefix per case.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tempfile::TempDir;

use super::local::LocalFactory;
use super::subject::{Ending, Factory};
use crate::model::Epoch;
use crate::persistence::Persistence;
use crate::persistence::local::SyncPolicy;
use crate::persistence::redis::{RedisSettings, open};

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

    /// Starts it again on the same data.
    pub fn restart(&mut self) {
        self.process = spawn(&self.program, self.port, self.folder.path(), &self.options);
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

/// Where a server program is; `None`: not installed, which CI does not accept.
#[expect(clippy::disallowed_methods, reason = "a setting of the test, not of the program")]
pub fn program(variable: &str, names: &[&str]) -> Option<PathBuf> {
    let asked = std::env::var_os(variable).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|file| file.is_file());
    let found = asked.or(found);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "none of {names:?} is installed; set {variable}");
        eprintln!("SKIPPED: none of {names:?} is installed; set {variable} to the program");
    }
    found
}

/// A fast one for many cases.
const SHARED_OPTIONS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "no"];

/// A server that all cases of one suite share, and what ends it.
struct Shared {
    server: Server,
    _guard: Child,
}

impl Shared {
    /// Statics are never dropped, so a shell waits for the end of a pipe that this process holds, and cleans up.
    fn start(program: &Path) -> Self {
        let server = Server::start(program, &SHARED_OPTIONS);
        let guard = Command::new("sh")
            .args(["-c", "read _; kill -9 $0; rm -rf \"$1\""])
            .arg(server.pid().to_string())
            .arg(server.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        Self { server, _guard: guard }
    }
}

/// Engines over one prefix of a shared server.
pub struct RedisFactory {
    /// `None`: no server is installed; the embedded engine stands in, so that everything else runs.
    settings: Result<RedisSettings, LocalFactory>,
}

impl RedisFactory {
    /// On Redis.
    pub fn redis() -> Self {
        static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
        Self::over(&SHARED, || program("CHATCTL_TEST_REDIS_SERVER", &["redis-server"]))
    }

    /// On Valkey.
    pub fn valkey() -> Self {
        static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
        Self::over(&SHARED, || program("CHATCTL_TEST_VALKEY_SERVER", &["valkey-server"]))
    }

    fn over(
        shared: &'static OnceLock<Option<Shared>>,
        program: impl FnOnce() -> Option<PathBuf>,
    ) -> Self {
        let shared = shared.get_or_init(|| program().map(|program| Shared::start(&program)));
        let settings = match shared {
            Some(shared) => Ok(fresh_settings(&shared.server)),
            None => Err(LocalFactory::new(SyncPolicy::Memory)),
        };
        Self { settings }
    }
}

/// A prefix that nobody else uses.
pub fn fresh_settings(server: &Server) -> RedisSettings {
    RedisSettings { url: server.url(), prefix: format!("{}:", Epoch::generate()) }
}

#[async_trait]
impl Factory for RedisFactory {
    async fn create(&self) -> Arc<dyn Persistence> {
        match &self.settings {
            Ok(settings) => open(settings.clone()).await.expect("the server runs"),
            Err(local) => local.create().await,
        }
    }

    async fn second_node(&self) -> Option<Arc<dyn Persistence>> {
        match &self.settings {
            Ok(_) => Some(self.create().await),
            Err(_) => None,
        }
    }

    fn survives(&self) -> bool {
        self.settings.is_ok()
    }

    async fn reopen(&self, engine: Arc<dyn Persistence>, ending: Ending) -> Arc<dyn Persistence> {
        if ending == Ending::Closed {
            engine.close().await;
        }
        drop(engine);
        self.create().await
    }
}
