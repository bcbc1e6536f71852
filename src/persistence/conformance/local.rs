//! Where the suite gets embedded engines from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tempfile::TempDir;

use super::subject::{Ending, Factory};
use crate::persistence::local::{LocalSettings, SyncPolicy, open};
use crate::persistence::{Persistence, SharedReads};

/// Engines over one folder of their own.
pub struct LocalFactory {
    folder: TempDir,
    sync: SyncPolicy,
}

impl LocalFactory {
    /// A fresh folder.
    pub fn new(sync: SyncPolicy) -> Self {
        Self { folder: TempDir::with_prefix("chatctl-conformance").expect("a folder"), sync }
    }

    /// Opens the store as soon as its last owner has let it go.
    async fn open(&self) -> Arc<dyn Persistence> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let settings = LocalSettings {
                data_dir: self.folder.path().to_owned(),
                sync: self.sync,
                reserve_bytes: 0,
                // Small, so that reads are answered from the tables too.
                cache_bytes: 1 << 20,
            };
            match open(settings) {
                // Every read that can be is shared: the contract does not notice.
                Ok((engine, _fatal)) if matches!(self.sync, SyncPolicy::Memory) => {
                    return Arc::new(SharedReads::at_once(engine, 1));
                }
                Ok((engine, _fatal)) => return engine,
                Err(error) if Instant::now() > deadline => panic!("{error}"),
                // The threads of the last owner may still be ending.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

#[async_trait]
impl Factory for LocalFactory {
    async fn create(&self) -> Arc<dyn Persistence> {
        self.open().await
    }

    fn survives(&self) -> bool {
        !matches!(self.sync, SyncPolicy::Memory)
    }

    async fn reopen(&self, engine: Arc<dyn Persistence>, ending: Ending) -> Arc<dyn Persistence> {
        if ending == Ending::Closed {
            engine.close().await;
        }
        drop(engine);
        self.open().await
    }
}
