//! Redis and Valkey: ours, on one node, or somebody else's.

mod client;
mod recipe;
mod state;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Artifacts, Health, NodeProcess, Progress, Provision, Service, ServiceError, ServiceKind,
};
use client::RedisClient;

/// Loading a full append-only file takes seconds; an empty one nothing.
const START_LIMIT: Duration = Duration::from_secs(60);

/// To write out what is buffered. It takes milliseconds unless the disk is slow.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// A Redis or a Valkey.
#[derive(Debug)]
pub struct RedisService {
    kind: ServiceKind,
    client: RedisClient,
    native: Option<Native>,
}

/// What it takes to run it ourselves.
#[derive(Debug)]
struct Native {
    artifacts: Arc<Artifacts>,
    node: NodeProcess,
    port: u16,
}

impl RedisService {
    /// One that somebody else runs. An error when the URL is none. `authority`: certificates in PEM form of those who may have issued
    /// the server's; `None`: whom the system trusts.
    pub fn at(
        kind: ServiceKind,
        url: &str,
        authority: Option<&[u8]>,
    ) -> Result<Self, ServiceError> {
        Ok(Self { kind, client: RedisClient::open(url, authority)?, native: None })
    }

    /// Our own, with its files in `folder`, on a port of 127.0.0.1. Always one node.
    pub fn native(
        kind: ServiceKind,
        folder: PathBuf,
        port: u16,
        artifacts: Arc<Artifacts>,
    ) -> Result<Self, ServiceError> {
        let address = format!("127.0.0.1:{port}");
        let client = RedisClient::open(&format!("redis://{address}"), None)?;
        let node = NodeProcess::new(kind, folder, address);
        Ok(Self { kind, client, native: Some(Native { artifacts, node, port }) })
    }

    fn ours(&self) -> Result<&Native, ServiceError> {
        self.native.as_ref().ok_or_else(|| {
            let (kind, address) = (self.kind, self.client.address());
            ServiceError::Refused(format!(
                "{kind} at {address} is run by somebody else: it is only checked"
            ))
        })
    }

    async fn program(&self, native: &Native, progress: &Progress) -> Result<PathBuf, ServiceError> {
        match self.kind {
            ServiceKind::Valkey => native.artifacts.valkey(progress).await,
            _ => native.artifacts.redis(progress).await,
        }
    }

    /// Whether the process that we started serves. At a taken port it is another that answers.
    async fn serves(&self, native: &Native) -> Result<(), String> {
        let answering = self.client.state().await?.process_id();
        if answering != native.node.running() {
            return Err("another server answers there; end it, or choose another port".to_owned());
        }
        self.client.ping().await
    }
}

#[async_trait]
impl Service for RedisService {
    fn kind(&self) -> ServiceKind {
        self.kind
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.client.address().to_owned()]
    }

    fn processes(&self) -> &[NodeProcess] {
        self.native.as_ref().map_or(&[], |native| std::slice::from_ref(&native.node))
    }

    async fn prepare(&self, progress: &Progress) -> Result<(), ServiceError> {
        self.program(self.ours()?, progress).await.map(drop)
    }

    async fn start(&self, progress: &Progress) -> Result<(), ServiceError> {
        let native = self.ours()?;
        if native.node.running().is_none() {
            let program = self.program(native, progress).await?;
            let recipe = recipe::prepare(program, native.node.folder(), native.port)?;
            progress.say(self.kind, format!("starts at {}", self.client.address()));
            native.node.spawn(&recipe)?;
        }
        let told = AtomicBool::new(false);
        let probe = || async {
            let answer = self.serves(native).await;
            if let Err(reason) = &answer
                && reason.contains("loads")
                && !told.swap(true, Ordering::Relaxed)
            {
                progress.say(self.kind, "loads its data");
            }
            answer
        };
        native.node.wait_until_serving(START_LIMIT, probe).await
    }

    async fn probe(&self) -> Result<Health, ServiceError> {
        let judged = async {
            if let Some(native) = &self.native {
                if native.node.running().is_none() {
                    return Err("it does not run; run: chatctl init-env".to_owned());
                }
                self.serves(native).await?;
            }
            self.client.state().await?.judged()
        };
        judged.await.map_err(ServiceError::unhealthy(self.kind, self.client.address()))
    }

    async fn provision(&self, _: &Provision) -> Result<Vec<String>, ServiceError> {
        // Keys come with their first write.
        Ok(Vec::new())
    }

    async fn stop(&self) -> Result<(), ServiceError> {
        self.ours()?.node.stop(STOP_GRACE).await
    }

    async fn wipe(&self) -> Result<(), ServiceError> {
        let native = self.ours()?;
        if let Some(pid) = native.node.running() {
            let kind = self.kind;
            return Err(ServiceError::Refused(format!(
                "{kind} still runs (pid {pid}) on the data that is to be wiped; stop it first: chatctl init-env --down"
            )));
        }
        recipe::wipe(native.node.folder())
    }
}
