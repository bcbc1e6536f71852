//! The servers that a run is against: given by address, or one of its own.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::admin::{Metrics, readiness};
use super::error::HarnessError;
use super::host::filesystem;
use super::server_process::ServerProcess;
use super::stoppable::Stoppable;
use crate::client::{Address, Client, ClientOptions};
use crate::model::UserName;
use crate::services::resident_bytes;

/// Why several servers of our own are no use.
const ALONE: &str = "--nodes needs engines that nodes share, and LOCAL messages are each node's own: set \
    --server-env WS_MESSAGE_PERSISTENCE_ENGINE=REDIS (or CASSANDRA), WS_MESSAGE_DISTRIBUTION_ENGINE=REDIS (or KAFKA) and \
    WS_CONN_PERSISTENCE_ENGINE=REDIS, or these variables in the environment or in .env";

/// The durability class of a store that ends with its server.
const NOTHING: &str = "none";

/// How long reading everything from a store may take.
const DUMP_MAX: Duration = Duration::from_secs(120);

/// Time between two questions to a server that is not ready.
const READY_LOOK: Duration = Duration::from_millis(50);

/// Which servers to run against.
#[derive(Debug, Clone, Default)]
pub struct TargetOptions {
    /// Addresses; none: servers of our own are started.
    pub addresses: Vec<Address>,
    /// `host:port` of the admin listeners of those servers, for their counters.
    pub admins: Vec<String>,
    /// How many servers of our own are started, at least one.
    pub nodes: usize,
    /// The program of our own servers; `None`: this binary.
    pub program: Option<PathBuf>,
    /// Environment of our own servers.
    pub environment: Vec<(String, String)>,
    /// What each of our own has on top of it, in their order; those beyond have nothing more.
    pub environment_of_each: Vec<Vec<(String, String)>>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// What the engines are called in results; `None`: what the servers say.
    pub label: Option<String>,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerInfo {
    /// Its address.
    pub url: String,
    /// The node behind it.
    pub node: String,
    /// Its storage engine.
    pub engine: String,
    /// What an `ok` survives.
    pub durability: String,
    /// Started for this run, with fresh data.
    pub own: bool,
    /// The filesystem of its data, where the harness chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_filesystem: Option<String>,
}

/// The servers, each asked once who it is.
#[derive(Debug)]
pub struct Targets {
    addresses: Vec<Address>,
    admins: Vec<String>,
    infos: Vec<ServerInfo>,
    label: Option<String>,
    /// As many as addresses, or none.
    own: Vec<ServerProcess>,
}

impl Targets {
    /// Finds the servers, or starts some, and says `hello` to each. Several of our own need engines that they share.
    pub async fn start(options: &TargetOptions) -> Result<Self, HarnessError> {
        let mut targets = Self {
            addresses: options.addresses.clone(),
            admins: options.admins.clone(),
            infos: Vec::new(),
            label: options.label.clone(),
            own: Vec::new(),
        };
        match options.addresses.is_empty() {
            true => {
                // Those that were given are of no server that there is.
                targets.admins.clear();
                targets.grow(options, options.nodes.max(1)).await?;
            }
            false => targets.ask_new_ones(options).await?,
        }
        Ok(targets)
    }

    /// Starts more servers of our own as `options` say, until there are `nodes`.
    pub async fn grow(
        &mut self,
        options: &TargetOptions,
        nodes: usize,
    ) -> Result<(), HarnessError> {
        // One after the other: the first may have to make what the others find.
        for node in self.own.len()..nodes {
            let more = options.environment_of_each.get(node).into_iter().flatten();
            let environment: Vec<_> = options.environment.iter().chain(more).cloned().collect();
            let server = ServerProcess::start(options.program.as_deref(), &environment).await?;
            self.addresses.push(server.address().clone());
            self.admins.extend(server.admin().map(str::to_owned));
            self.own.push(server);
        }
        self.ask_new_ones(options).await?;
        match self.check_count(self.own.len()) {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = self.stop().await;
                Err(error)
            }
        }
    }

    /// Refuses so many servers of our own on engines that they cannot share.
    pub fn check_count(&self, nodes: usize) -> Result<(), HarnessError> {
        match nodes > 1 && self.infos.iter().any(|info| info.own && info.engine == "LOCAL") {
            true => Err(HarnessError::Usage(ALONE.to_owned())),
            false => Ok(()),
        }
    }

    /// Says `hello` to each server that was not asked yet who it is.
    async fn ask_new_ones(&mut self, options: &TargetOptions) -> Result<(), HarnessError> {
        let probe = UserName::new("harness-probe")
            .map_err(|error| HarnessError::Usage(format!("bench-probe: {error}")))?;
        for (index, address) in self.addresses.iter().enumerate().skip(self.infos.len()) {
            let connect_timeout = options.connect_timeout;
            let client = ClientOptions { connect_timeout, ..ClientOptions::default() };
            let client = Client::connect(address, &probe, client)
                .await
                .map_err(HarnessError::client("asking the server who it is"))?;
            let hello = client.hello();
            self.infos.push(ServerInfo {
                url: address.to_string(),
                node: hello.node.to_string(),
                engine: hello.engine.name.clone(),
                durability: hello.engine.durability.to_string(),
                own: !self.own.is_empty(),
                data_filesystem: self.own.get(index).map(|own| filesystem(own.data_folder())),
            });
            client.close().await;
        }
        Ok(())
    }

    /// Servers that nobody asks who they are.
    #[cfg(test)]
    pub fn of_own(own: Vec<ServerProcess>) -> Self {
        let addresses = own.iter().map(|server| server.address().clone()).collect();
        Self { addresses, admins: Vec::new(), infos: Vec::new(), label: None, own }
    }

    /// Our own servers, to be stopped and to go on; none where they were given by address.
    pub fn stoppable(&self) -> Vec<Stoppable> {
        self.own.iter().filter_map(ServerProcess::stoppable).collect()
    }

    /// Our own servers; none where they were given by address.
    pub fn own(&self) -> &[ServerProcess] {
        &self.own
    }

    /// The same, to be killed and started again.
    pub fn own_mut(&mut self) -> &mut [ServerProcess] {
        &mut self.own
    }

    /// Waits until every server whose admin listener is known says that it is ready; the error has the answer of one that does
    /// not within `limit`.
    pub async fn wait_until_ready(&self, limit: Duration) -> Result<(), HarnessError> {
        let deadline = Instant::now() + limit;
        for admin in &self.admins {
            loop {
                let answer = readiness(admin).await;
                let Err(reason) = answer else { break };
                if Instant::now() >= deadline {
                    let seconds = limit.as_secs();
                    let text = format!("{admin} is not ready after {seconds} s: {reason}");
                    return Err(HarnessError::Nemesis(text));
                }
                sleep(READY_LOOK).await;
            }
        }
        Ok(())
    }

    /// `options` for another run against the same servers.
    pub fn again(&self, options: &TargetOptions) -> TargetOptions {
        TargetOptions {
            addresses: self.addresses.clone(),
            admins: self.admins.clone(),
            label: Some(self.engine_label()),
            ..options.clone()
        }
    }

    /// Where clients connect, at least one.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// What each server says of itself.
    pub fn infos(&self) -> &[ServerInfo] {
        &self.infos
    }

    /// The engines' names for a folder's name: `local`, or `local+redis`.
    pub fn engine_label(&self) -> String {
        if let Some(label) = &self.label {
            return label.clone();
        }
        let mut names: Vec<_> = self.infos.iter().map(|info| info.engine.to_lowercase()).collect();
        names.sort();
        names.dedup();
        names.join("+")
    }

    /// The counters of all servers, summed. Why there are none is said in `notes`.
    pub async fn scrape(&self, notes: &mut Vec<String>) -> Option<Metrics> {
        if self.admins.is_empty() {
            let note = "no server counters: no admin address is known; give --admin host:port";
            notes.push(note.to_owned());
            return None;
        }
        let mut sum = Metrics::default();
        for admin in &self.admins {
            match Metrics::scrape(admin).await {
                Ok(metrics) => sum.add(&metrics),
                Err(error) => {
                    notes.push(format!("no server counters: {error}"));
                    return None;
                }
            }
        }
        Some(sum)
    }

    /// Resident memory of the server, bytes: of our own process, or what a given one's metrics say.
    pub async fn resident_bytes(&self) -> Option<u64> {
        if !self.own.is_empty() {
            let resident = self.own.iter().map(|server| resident_bytes(server.pid()?));
            return resident.sum();
        }
        let metrics = self.scrape(&mut Vec::new()).await?;
        metrics.get("chatctl_process_resident_bytes").map(|bytes| bytes as u64)
    }

    /// The last lines of the logs of our own servers.
    pub fn log_tail(&self) -> Vec<String> {
        self.own.iter().flat_map(ServerProcess::log_tail).collect()
    }

    /// What the store of the first of our own servers, which were stopped, has of these conversations: lines of `chatctl dump`. `None` where
    /// there is no server of our own, or its data went with it.
    pub async fn dump(&self, convs: &BTreeSet<&str>) -> Option<Result<Vec<u8>, String>> {
        let keeps = self.infos.first().is_some_and(|info| info.durability != NOTHING);
        let server = self.own.first().filter(|_| keeps)?;
        let ids: String = convs.iter().map(|conv| format!("{conv}\n")).collect();
        Some(server.run_beside(&["dump"], &ids, DUMP_MAX).await)
    }

    /// Stops our own servers; the text says what was wrong with their ends, if anything. Their data goes with `self`.
    pub async fn stop(&mut self) -> Option<String> {
        let ends = futures_util::future::join_all(self.own.iter_mut().map(ServerProcess::stop));
        let wrong: Vec<_> = ends.await.into_iter().flatten().collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}
