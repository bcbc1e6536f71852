//! What a comparison is about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One figure of a run. Its text is also the key of the figure in results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Metric {
    /// CPU time of the server per appended message, µs.
    ServerCpu,
    /// Median latency of a write, µs.
    WriteP50,
    /// 99th percentile of the latency of a write, µs.
    WriteP99,
    /// Median latency of a delivery, µs.
    DeliveryP50,
    /// 99th percentile of the latency of a delivery, µs.
    DeliveryP99,
    /// Messages a second.
    Rate,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 6] = [
        Self::ServerCpu,
        Self::WriteP50,
        Self::WriteP99,
        Self::DeliveryP50,
        Self::DeliveryP99,
        Self::Rate,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ServerCpu => "server.cpu_us_per_message",
            Self::WriteP50 => "write.p50",
            Self::WriteP99 => "write.p99",
            Self::DeliveryP50 => "delivery.p50",
            Self::DeliveryP99 => "delivery.p99",
            Self::Rate => "rate",
        }
    }

    /// What it counts in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Rate => "messages/s",
            _ => "us",
        }
    }

    /// Whether more of it is better.
    pub fn more_is_better(self) -> bool {
        self == Self::Rate
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|metric| metric.name() == text);
        known.ok_or_else(|| format!("write one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl TryFrom<String> for Metric {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_as_they_are_read() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse(), Ok(metric));
        }
        let error = "p50".parse::<Metric>().unwrap_err();
        assert!(error.contains("write.p50"), "{error}");
    }
}
