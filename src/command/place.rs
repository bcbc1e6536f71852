//! Where a run takes place: services, servers on them, and proxies in the links that are to be broken.

use std::path::Path;

use super::engine_choice::{EngineChoice, services_of};
use super::{init_env, links};
use crate::client::Address;
use crate::config::{Sources, VariableArgs};
use crate::harness::{TargetOptions, Targets};
use crate::nemesis::World;
use crate::services::{Environment, Nodes, ServiceKind};

/// Where a run takes place.
#[derive(Debug)]
pub(super) struct Place {
    /// What there is, and can be broken.
    pub(super) world: World,
    /// Where clients connect.
    pub(super) addresses: Vec<Address>,
}

/// What a place must have.
#[derive(Debug)]
pub(super) struct PlaceOptions<'a> {
    /// The engines of the servers that are started; `None`: as the variables of the servers say.
    pub(super) choice: Option<&'a EngineChoice>,
    /// Folder of services of its own.
    pub(super) services_dir: Option<&'a Path>,
    /// Nodes of Kafka and Cassandra in it.
    pub(super) service_nodes: Nodes,
    /// Links lead through proxies.
    pub(super) breaks_links: bool,
}

impl PlaceOptions<'_> {
    /// Brings up services and `servers`.
    pub(super) async fn prepare(&self, mut servers: TargetOptions) -> anyhow::Result<Place> {
        let (mut services, mut links) = (None, Vec::new());
        if let Some(choice) = self.choice {
            let mut sources = Sources::of_process(&VariableArgs::default())?;
            let needed = services_of(std::slice::from_ref(choice));
            services = start_services(self.services_dir, &needed, self.service_nodes, &mut sources)
                .await?;
            servers.label = Some(choice.name());
            // What the user says of the servers stands above it.
            servers.environment.splice(0..0, choice.environment(&sources)?);
        }
        if self.breaks_links && servers.addresses.is_empty() {
            links = links::to_services(&mut servers, services.as_mut()).await?;
        }
        let targets = Targets::start(&servers).await?;
        let mut addresses = targets.addresses().to_vec();
        if self.breaks_links {
            let (through, to_servers) = links::to_servers(&addresses).await?;
            addresses = through;
            links.extend(to_servers);
        }
        Ok(Place { world: World::new(targets, links, services), addresses })
    }
}

/// Brings up what is `needed`: in `folder` where one is given, else as `init-env` does where no variable says where they are. Their addresses
/// go into `sources`. What we run ourselves, if any.
pub(super) async fn start_services(
    folder: Option<&Path>,
    needed: &[ServiceKind],
    nodes: Nodes,
    sources: &mut Sources,
) -> anyhow::Result<Option<Environment>> {
    match folder {
        _ if needed.is_empty() => Ok(None),
        None => Box::pin(init_env::bring_up_for(needed, sources)).await,
        Some(folder) => {
            let folder = std::path::absolute(folder)?;
            Box::pin(init_env::bring_up_in(folder, needed, nodes, sources)).await.map(Some)
        }
    }
}
