//! The file of a baseline.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bench::compare::measure::{Measured, ServerOptions, Work};
use crate::bench::stats::median;
use crate::harness::{Host, Versions};

/// Version of the file; a field that changes its meaning or goes away raises it.
pub const SCHEMA_VERSION: u32 = 1;

/// What a server cost, and everything needed to find out again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// How, on what, and with what.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// Storage engine of the server.
    pub engine: String,
    /// What an `ok` survived.
    pub durability: String,
    /// Runs that did not count.
    pub rejected: usize,
    /// Median probe of the CPU, µs.
    pub probe_us: f64,
    /// Each figure over all runs that count.
    pub figures: BTreeMap<String, Spread>,
}

/// How the runs were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Circumstances {
    /// The command line, secrets left out.
    pub command: String,
    /// RFC 3339.
    pub started_at: String,
    /// Of the clients.
    pub versions: Versions,
    /// The machine.
    pub host: Host,
    /// The server.
    pub server: ServerOptions,
    /// Of each run.
    pub work: Work,
}

/// One figure over several runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// Of each run.
    pub values: Vec<f64>,
}

/// Why a baseline cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// Not there, or not readable.
    #[error("the baseline {}: {source}; make one with: chatctl bench baseline save FILE", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else, or of another version.
    #[error("{} is no baseline of this version: {reason}; make one with: chatctl bench baseline save FILE", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Spread {
    /// `None` of no values.
    pub fn of(values: Vec<f64>) -> Option<Self> {
        let median = median(&values)?;
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { median, min, max, values })
    }
}

impl Baseline {
    pub(super) fn of(runs: &[&Measured], rejected: usize, circumstances: Circumstances) -> Self {
        let names = runs.first().into_iter().flat_map(|run| run.figures.keys());
        // A figure that some run lacks is none.
        let spread = |name: &String| {
            let values = runs.iter().map(|run| run.figures.get(name).copied());
            Some((name.clone(), Spread::of(values.collect::<Option<_>>()?)?))
        };
        let probes: Vec<f64> = runs.iter().flat_map(|run| run.conditions.probes_us()).collect();
        let said = |of: fn(&Measured) -> &String| {
            runs.first().map_or_else(|| "unknown".to_owned(), |run| of(run).clone())
        };
        Self {
            schema_version: SCHEMA_VERSION,
            circumstances,
            engine: said(|run| &run.engine),
            durability: said(|run| &run.durability),
            rejected,
            probe_us: median(&probes).unwrap_or(f64::NAN),
            figures: names.filter_map(spread).collect(),
        }
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, BaselineError> {
        let unreadable =
            |reason: String| BaselineError::Unreadable { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path)
            .map_err(|source| BaselineError::Io { path: path.to_owned(), source })?;
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        match value.get("schema_version") {
            Some(version) if *version == SCHEMA_VERSION => {}
            Some(other) => {
                return Err(unreadable(format!(
                    "its schema_version is {other}, and this chatctl knows only {SCHEMA_VERSION}: use the chatctl that wrote it"
                )));
            }
            None => return Err(unreadable("it has no schema_version".to_owned())),
        }
        serde_json::from_value(value).map_err(|error| unreadable(error.to_string()))
    }

    /// Writes a new file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), BaselineError> {
        let failed = |source| BaselineError::Io { path: path.to_owned(), source };
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path)).map_err(failed)
    }
}
