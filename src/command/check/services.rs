//! The services of a run: the desk's, or some for it alone.

use std::path::Path;

use crate::command::init_env;
use crate::config::Sources;
use crate::services::{Environment, Nodes, ServiceKind};

/// Brings up what is `needed`: in `folder` where one is given, else as `init-env` does where no variable says where they are. Their addresses
/// go into `sources`. What we run ourselves, if any.
pub(in crate::command) async fn start_services(
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
