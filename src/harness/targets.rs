//! The servers that a run is against: given by address, or one of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::HarnessError;
use super::host::filesystem;
use super::metrics_scrape::Metrics;
use super::server_process::ServerProcess;
use crate::client::{Address, Client, ClientOptions};
use crate::model::UserName;
use crate::services::resident_bytes;

/// Which servers to run against.
#[derive(Debug, Clone, Default)]
pub struct TargetOptions {
    /// Addresses; none: a server of our own is started.
    pub addresses: Vec<Address>,
    /// `host:port` of the admin listeners of those servers, for their counters.
    pub admins: Vec<String>,
    /// Environment of our own server.
    pub environment: Vec<(String, String)>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    own: Option<ServerProcess>,
}

impl Targets {
    /// Finds the servers, or starts one, and says `hello` to each.
    pub async fn start(options: &TargetOptions) -> Result<Self, HarnessError> {
        let own = match options.addresses.is_empty() {
            true => Some(ServerProcess::start(&options.environment).await?),
            false => None,
        };
        let (addresses, admins) = match &own {
            Some(own) => {
                (vec![own.address().clone()], own.admin().map(str::to_owned).into_iter().collect())
            }
            None => (options.addresses.clone(), options.admins.clone()),
        };
        let probe = UserName::new("harness-probe")
            .map_err(|error| HarnessError::Usage(format!("bench-probe: {error}")))?;
        let mut infos = Vec::new();
        for address in &addresses {
            let connect_timeout = options.connect_timeout;
            let client = ClientOptions { connect_timeout, ..ClientOptions::default() };
            let client = Client::connect(address, &probe, client)
                .await
                .map_err(HarnessError::client("asking the server who it is"))?;
            let hello = client.hello();
            infos.push(ServerInfo {
                url: address.to_string(),
                node: hello.node.to_string(),
                engine: hello.engine.name.clone(),
                durability: hello.engine.durability.to_string(),
                own: own.is_some(),
                data_filesystem: own.as_ref().map(|own| filesystem(own.data_folder())),
            });
            client.close().await;
        }
        Ok(Self { addresses, admins, infos, own })
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
        if let Some(pid) = self.own.as_ref().and_then(ServerProcess::pid) {
            return resident_bytes(pid);
        }
        let metrics = self.scrape(&mut Vec::new()).await?;
        metrics.get("chatctl_process_resident_bytes").map(|bytes| bytes as u64)
    }

    /// The last lines of our own server's log.
    pub fn log_tail(&self) -> Vec<String> {
        self.own.as_ref().map(ServerProcess::log_tail).unwrap_or_default()
    }

    /// Stops our own server; the text says what was wrong with its end, if anything.
    pub async fn stop(self) -> Option<String> {
        match self.own {
            Some(own) => own.stop().await,
            None => None,
        }
    }
}
