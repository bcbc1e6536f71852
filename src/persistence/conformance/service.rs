//! Where the suite gets engines from whose store is a service: one store for a suite, any number of engines over it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;

use super::local::LocalFactory;
use super::subject::{Ending, Factory};
use crate::persistence::Persistence;
use crate::persistence::local::SyncPolicy;

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
}

impl<S> ServiceFactory<S> {
    /// Over a store, if there is one.
    pub fn new(store: Option<S>) -> Self {
        Self { store: store.ok_or_else(|| LocalFactory::new(SyncPolicy::Memory)) }
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
            Ok(store) => Some(store.engine().await),
            Err(_) => None,
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
