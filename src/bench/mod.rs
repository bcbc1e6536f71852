//! The benches: workloads against an address, and the reports that they write.
//!
//! A bench is a black box: it speaks the protocol to an address, and where it needs a server it
//! starts `chatctl serve` as a child process.

pub mod baseline;
pub mod compare;
mod correctness;
mod crowd;
mod delivery_checker;
mod dispatcher;
pub mod engines;
mod error;
mod file_limit;
mod filled;
mod filling;
pub mod find_max;
pub mod floor;
pub mod gate;
pub mod growth;
pub mod idle_connections;
mod judged;
mod load_meter;
pub mod load_profile;
pub mod nemesis_plan;
pub mod newest_page;
pub mod overload;
mod pacer;
mod page_checker;
pub mod paired_clients;
pub mod pause;
mod progress;
mod recorder;
pub mod report;
mod run;
mod stats;
mod warm_up;

pub use correctness::Correctness;
pub use error::BenchError;
pub use recorder::RunRecord;
pub use run::{Finished, RunOptions};
pub use stats::LatencyStats;
