//! Moments of a run that its plots point out: a fault that was injected, the end of a warm-up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A moment or a stretch of a run that is drawn into everything that runs over time: a pause, an act of a nemesis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// When it began, s since the first interval of the latencies.
    pub at_s: f64,
    /// When it was over; absent: it was a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_s: Option<f64>,
    /// What it was, in a few words.
    pub label: String,
    /// Whom it was done to, where it was an act of a nemesis: a node, a link, a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}
