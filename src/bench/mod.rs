//! The benches: workloads against an address, and the reports that they write.

pub mod content;
pub mod correctness;
pub mod delivery_checker;
pub mod error;
pub mod host;
pub mod metrics_scrape;
pub mod pacer;
pub mod page_checker;
pub mod paired_clients;
pub mod progress;
pub mod recorder;
pub mod report;
pub mod run;
pub mod server_process;
pub mod stats;
pub mod targets;
