//! Where the suite gets engines from whose store is a service: one store for a suite, any number of engines over it.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;

use super::local::LocalFactory;
use super::subject::{Ending, Factory};
use crate::config;
use crate::persistence::Persistence;
use crate::persistence::local::SyncPolicy;
use crate::services::{Artifacts, NodeProcess, Progress, Service, free_port};

/// What leads to a store.
#[async_trait]
pub trait Store: Clone + Send + Sync + 'static {
    /// Another engine over it.
    async fn engine(&self) -> Arc<dyn Persistence>;
}

/// Engines over one store.
pub struct ServiceFactory<S> {
    /// Without one nothing is installed; the embedded engine stands in, so that everything else runs.
    store: Result<S, LocalFactory>,
    is_alone: bool,
}

impl<S> ServiceFactory<S> {
    /// Over a store, if there is one.
    pub fn new(store: Option<S>) -> Self {
        let store = store.ok_or_else(|| LocalFactory::new(SyncPolicy::Memory));
        Self { store, is_alone: false }
    }

    /// Of a store that has one node at a time.
    pub fn alone(store: S) -> Self {
        Self { store: Ok(store), is_alone: true }
    }
}

#[async_trait]
impl<S: Store> Factory for ServiceFactory<S> {
    async fn create(&self) -> Arc<dyn Persistence> {
        match &self.store {
            Ok(store) => store.engine().await,
            Err(local) => local.create().await,
        }
    }

    async fn second_node(&self) -> Option<Arc<dyn Persistence>> {
        match &self.store {
            Ok(store) if !self.is_alone => Some(store.engine().await),
            _ => None,
        }
    }

    fn survives(&self) -> bool {
        self.store.is_ok()
    }

    async fn reopen(&self, engine: Arc<dyn Persistence>, ending: Ending) -> Arc<dyn Persistence> {
        if ending == Ending::Closed {
            engine.close().await;
        }
        drop(engine);
        self.create().await
    }
}

/// Nodes of our own: on loopback, in a folder of their own, ended with this process.
pub struct Own<S> {
    service: S,
    guards: Vec<Guard>,
    folder: TempDir,
}

impl<S: Service> Own<S> {
    /// Starts what `make` makes in a folder. `None` where what it needs is not there; an error in CI.
    pub fn start(
        name: &str,
        make: impl FnOnce(&Path, Arc<Artifacts>) -> Result<S, String> + Send,
    ) -> Option<Self> {
        match blocking(Self::try_start(name, make)) {
            Ok(own) => Some(own),
            Err(reason) => {
                assert!(!is_ci(), "{name}: {reason}");
                eprintln!("LEFT OUT: everything on {name}, for {reason}");
                None
            }
        }
    }

    async fn try_start(
        name: &str,
        make: impl FnOnce(&Path, Arc<Artifacts>) -> Result<S, String> + Send,
    ) -> Result<Self, String> {
        let cache = config::cache_folder().ok_or("there is no home folder to keep programs in")?;
        let folder = TempDir::with_prefix(format!("chatctl-{name}"));
        let folder = folder.map_err(|error| error.to_string())?;
        let service = make(folder.path(), Arc::new(Artifacts::new(cache)))?;
        service.prepare(&Progress::silent()).await.map_err(|error| error.to_string())?;
        // From here on a failure is one of the nodes, not of what is installed.
        let mut own = Self { service, guards: Vec::new(), folder };
        own.serve().await;
        Ok(own)
    }

    /// Starts what does not run.
    pub async fn serve(&mut self) {
        self.service.start(&Progress::silent()).await.expect("the nodes start");
        // Those of nodes that were killed, among others.
        self.guards.drain(..).for_each(Guard::forget);
        let guard =
            |node: &NodeProcess| Guard::new(node.running().expect("it runs"), self.folder.path());
        self.guards = self.service.processes().iter().map(guard).collect();
    }

    /// The service.
    pub fn service(&self) -> &S {
        &self.service
    }
}

/// A port that is free on all of these addresses.
pub fn free_port_on(hosts: &[IpAddr]) -> Result<u16, String> {
    free_port(hosts, None).map_err(|error| error.to_string())
}

/// Ends a process, and removes its folder, when the guard is dropped or this process is gone: statics are never dropped, so a shell
/// waits for the end of a pipe.
pub struct Guard(Child);

impl Guard {
    /// Of a process that runs.
    pub fn new(pid: u32, folder: &Path) -> Self {
        let shell = Command::new("sh")
            .args(["-c", "read _; kill -9 $0; rm -rf \"$1\""])
            .arg(pid.to_string())
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        Self(shell)
    }

    /// The process has ended: its number may be another's by now.
    pub fn forget(mut self) {
        self.0.kill().expect("it waits");
        self.0.wait().expect("it ends");
    }
}

/// Whether what is missing is a failure.
#[expect(clippy::disallowed_methods, reason = "a setting of the test, not of the program")]
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// In a thread and a runtime of its own, because a runtime may be at work in this one.
pub fn blocking<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(work)
        };
        scope.spawn(run).join().expect("it ends")
    })
}
