//! What `bench` and `check` share: servers to run against, contents that prove themselves, and
//! result folders. It knows the client and nothing of the server's inside.

mod admin;
pub mod content;
pub mod duration;
mod error;
mod fresh_name;
pub(crate) mod host;
pub mod html;
mod http;
mod push;
mod result_folder;
mod revoke;
#[cfg(test)]
pub(crate) mod seeds;
mod server_process;
mod stoppable;
mod targets;
mod text_message;
mod versions;

pub use admin::{Metrics, Stage};
pub use error::HarnessError;
pub use fresh_name::fresh_name;
pub use host::Host;
pub use push::{PushError, PushUrl};
pub use result_folder::{ResultFolder, folder_name};
pub use revoke::{RevokeRequestError, revoke};
pub use server_process::ServerProcess;
pub use stoppable::{Stoppable, Stopped};
pub use targets::{ServerInfo, TargetOptions, Targets};
pub use text_message::{own_cid, text_message};
pub use versions::Versions;
