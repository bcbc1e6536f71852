//! The benches: workloads against an address, and the reports that they write.
//!
//! A bench is a black box: it speaks the protocol to an address, and where it needs a server it
//! starts `chatctl serve` as a child process.

mod content;
mod correctness;
mod delivery_checker;
mod error;
mod file_limit;
mod host;
pub mod idle_connections;
mod metrics_scrape;
pub mod newest_page;
mod pacer;
mod page_checker;
pub mod paired_clients;
mod progress;
mod recorder;
pub mod report;
mod run;
mod server_process;
mod stats;
mod targets;

pub use correctness::Correctness;
pub use error::BenchError;
pub use host::Host;
pub use recorder::RunRecord;
pub use run::{Finished, RunOptions};
pub use stats::LatencyStats;
pub use targets::{ServerInfo, TargetOptions};
