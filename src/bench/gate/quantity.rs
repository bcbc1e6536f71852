//! What a gate is about.

use crate::bench::correctness::Correctness;
use crate::bench::report::GateUnit;
use crate::bench::stats::{LatencyStats, P50, P90, P99, P999, P9999, Percentile};
use crate::client::ClientError;
use crate::protocol::ErrorCode;

/// The left side of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quantity {
    /// One number of one latency.
    Latency {
        /// Which latency.
        name: String,
        /// Which number of it.
        stat: Stat,
    },
    /// Error answers as a share of all answers, or those with one code.
    Errors(Option<String>),
    /// Something per second.
    Rate(String),
    /// A figure of the workload or of the server.
    Figure(String),
    /// The same, or a counter of the server.
    Server(String),
    /// What was done.
    Count(String),
    /// What was wrong, and what was looked at.
    Correctness(String),
    /// A part of the run.
    Duration(String),
}

impl Quantity {
    /// The words that an expression may begin with instead of the name of a latency.
    pub const KINDS: [&str; 7] =
        ["errors", "rate", "figure", "server", "count", "correctness", "duration"];

    /// What it is counted in.
    pub fn unit(&self) -> GateUnit {
        match self {
            Self::Latency { stat: Stat::Count, .. } => GateUnit::Number,
            Self::Latency { .. } => GateUnit::Us,
            Self::Errors(_) => GateUnit::Percent,
            Self::Duration(_) => GateUnit::S,
            Self::Rate(_)
            | Self::Figure(_)
            | Self::Server(_)
            | Self::Count(_)
            | Self::Correctness(_) => GateUnit::Number,
        }
    }

    /// Whether it depends on how fast the load generator was.
    pub fn is_paced_by_clients(&self) -> bool {
        matches!(self, Self::Latency { .. } | Self::Rate(_) | Self::Duration(_))
    }
}

/// A number of a latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stat {
    /// The least.
    Min,
    /// The mean.
    Mean,
    /// The median.
    P50,
    /// 90 %.
    P90,
    /// 99 %.
    P99,
    /// 99.9 %.
    P999,
    /// 99.99 %.
    P9999,
    /// The most.
    Max,
    /// Samples.
    Count,
}

impl Stat {
    /// All of them, by name.
    pub const ALL: [(&str, Self); 9] = [
        ("min", Self::Min),
        ("mean", Self::Mean),
        ("p50", Self::P50),
        ("p90", Self::P90),
        ("p99", Self::P99),
        ("p999", Self::P999),
        ("p9999", Self::P9999),
        ("max", Self::Max),
        ("count", Self::Count),
    ];

    /// The number, µs or samples; `None` when there are too few samples for it.
    pub fn of(self, stats: &LatencyStats) -> Option<f64> {
        match self {
            Self::Min => stats.min_us,
            Self::Mean => stats.mean_us,
            Self::P50 => stats.p50_us,
            Self::P90 => stats.p90_us,
            Self::P99 => stats.p99_us,
            Self::P999 => stats.p999_us,
            Self::P9999 => stats.p9999_us,
            Self::Max => stats.max_us,
            Self::Count => Some(stats.count as f64),
        }
    }

    /// Samples that it needs.
    pub fn samples_min(self) -> u64 {
        let percentile: Percentile = match self {
            Self::Count => return 0,
            Self::Min | Self::Mean | Self::Max => return 1,
            Self::P50 => P50,
            Self::P90 => P90,
            Self::P99 => P99,
            Self::P999 => P999,
            Self::P9999 => P9999,
        };
        percentile.samples_min
    }
}

/// The names of `correctness`, and their counts.
pub fn correctness_counts(correctness: &Correctness) -> Vec<(&'static str, u64)> {
    let looked_at =
        [("delivered", correctness.delivered), ("pages_checked", correctness.pages_checked)];
    looked_at.into_iter().chain(correctness.violations()).collect()
}

/// The codes that errors are counted by, but for those of closed connections.
pub fn error_codes() -> Vec<String> {
    let of_servers = ErrorCode::ALL.into_iter().map(ErrorCode::name);
    of_servers.chain(ClientError::LABELS.map(str::to_owned)).collect()
}

/// Whether errors can be counted by this code.
pub fn is_error_code(code: &str) -> bool {
    let closed = code.strip_prefix("closed_").is_some_and(|code| code.parse::<u16>().is_ok());
    closed || error_codes().iter().any(|known| known == code)
}
