//! A run as its folder holds it: the report and the raw histograms, read back and held against each other.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Deserialize;

use super::hlog::read_interval_log;
use super::{Report, SCHEMA_VERSION};
use crate::bench::recorder::{Interval, add, new_histogram};

/// The file with every number.
pub(super) const REPORT_FILE: &str = "report.json";

/// The file with every sample.
pub(super) const LATENCIES_FILE: &str = "latencies.hlog";

/// Most intervals from the first to the last; no bench writes more than 512.
const INTERVALS_MAX: usize = 10_000;

/// Why a folder's run cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum StoredRunError {
    /// A file is missing or cannot be read.
    #[error("cannot read {}: {source}; give a result folder of a bench", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what a bench wrote, or the two files are not of one run.
    #[error("{} is damaged: {reason}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A later chatctl wrote it.
    #[error("{} has schema_version {version}, and this chatctl reads up to {SCHEMA_VERSION}: use the one that wrote it, or a newer one", .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// What it says.
        version: u64,
    },
}

/// A run as its folder holds it.
#[derive(Debug)]
pub struct StoredRun {
    /// Everything but the samples.
    pub report: Report,
    /// All samples, ns: of one width, each beginning at a multiple of it, in time order.
    pub intervals: Vec<Interval>,
}

impl StoredRun {
    /// Reads a result folder.
    ///
    /// # Errors
    /// Names the file that is missing, damaged, or of a newer schema.
    pub fn read(folder: &Path) -> Result<Self, StoredRunError> {
        let bytes = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| StoredRunError::Unreadable { path, source })
        };
        Self::parse(folder, &bytes(REPORT_FILE)?, &bytes(LATENCIES_FILE)?)
    }

    /// The same from the bytes of both files; `folder` is only named in errors.
    pub fn parse(folder: &Path, report: &[u8], latencies: &[u8]) -> Result<Self, StoredRunError> {
        let path = folder.join(REPORT_FILE);
        let damaged = |reason: String| StoredRunError::Damaged { path: path.clone(), reason };
        let version: Version =
            serde_json::from_slice(report).map_err(|error| damaged(error.to_string()))?;
        if version.schema_version > u64::from(SCHEMA_VERSION) {
            return Err(StoredRunError::Newer { path, version: version.schema_version });
        }
        if version.schema_version == 0 {
            return Err(damaged("there is no schema_version 0".to_owned()));
        }
        let report: Report =
            serde_json::from_slice(report).map_err(|error| damaged(error.to_string()))?;
        let read =
            read_interval_log(latencies).and_then(|intervals| Self { report, intervals }.checked());
        read.map_err(|reason| StoredRunError::Damaged { path: folder.join(LATENCIES_FILE), reason })
    }

    /// The merged histogram of each latency, ns: in the order in which they first occur, then those without a sample.
    pub fn totals(&self) -> Vec<(String, Histogram<u64>)> {
        let mut totals: Vec<(String, Histogram<u64>)> = Vec::new();
        for interval in &self.intervals {
            match totals.iter_mut().find(|(name, _)| *name == interval.name) {
                Some((_, total)) => add(total, &interval.histogram),
                None => {
                    let mut total = new_histogram();
                    add(&mut total, &interval.histogram);
                    totals.push((interval.name.clone(), total));
                }
            }
        }
        for name in self.report.latencies.keys() {
            if !totals.iter().any(|(known, _)| known == name) {
                totals.push((name.clone(), new_histogram()));
            }
        }
        totals
    }

    /// How long each interval is; `None` without any.
    pub fn width(&self) -> Option<Duration> {
        self.intervals.first().map(|interval| interval.width)
    }

    /// How many intervals there are from the start of the run to its last sample, empty ones included.
    pub fn interval_count(&self) -> usize {
        self.intervals.iter().map(|interval| index(interval) + 1).max().unwrap_or(0)
    }

    fn checked(self) -> Result<Self, String> {
        let width = self.width().unwrap_or(Duration::from_secs(1));
        for interval in &self.intervals {
            let even = interval.start.as_millis().checked_rem(width.as_millis()) == Some(0);
            if interval.width != width || !even {
                return Err("its intervals are not of one width".to_owned());
            }
            if index(interval) >= INTERVALS_MAX {
                return Err(format!("it has more than {INTERVALS_MAX} intervals"));
            }
        }
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for interval in &self.intervals {
            *counts.entry(&interval.name).or_default() += interval.histogram.len();
        }
        let stated = self.report.latencies.iter().map(|(name, stats)| (name.as_str(), stats.count));
        for (name, stated) in stated {
            let found = counts.remove(name).unwrap_or(0);
            if found != stated {
                return Err(format!(
                    "{REPORT_FILE} has {stated} samples of {name}, and it {found}"
                ));
            }
        }
        match counts.keys().next() {
            Some(name) => Err(format!("{REPORT_FILE} knows nothing of its latency {name}")),
            None => Ok(self),
        }
    }
}

/// The place of an interval in its run.
pub(super) fn index(interval: &Interval) -> usize {
    let index = interval.start.as_millis().checked_div(interval.width.as_millis());
    index.and_then(|index| usize::try_from(index).ok()).unwrap_or(usize::MAX - 1)
}

/// What every version of the report begins with.
#[derive(Debug, Deserialize)]
struct Version {
    schema_version: u64,
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::hlog::interval_log;
    use super::super::tests::{record, report};
    use super::*;
    use crate::bench::stats::LatencyStats;

    fn files() -> (String, Vec<u8>) {
        let record = record();
        let json = serde_json::to_string_pretty(&report(&record)).unwrap();
        (json, interval_log(&record, SystemTime::now()).unwrap())
    }

    fn parsed(json: &str, log: &[u8]) -> Result<StoredRun, String> {
        let parsed = StoredRun::parse(Path::new("some"), json.as_bytes(), log);
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn percentiles_of_the_raw_histograms_are_those_of_the_report() {
        let (json, log) = files();
        let run = parsed(&json, &log).unwrap();
        assert_eq!(run.interval_count(), 1);
        let totals = run.totals();
        let names: Vec<_> = totals.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["write", "read", "delivery"]);
        for (name, total) in &totals {
            assert_eq!(run.report.latencies[name], LatencyStats::of(total), "{name}");
        }
    }

    #[test]
    fn what_is_damaged_or_newer_is_named() {
        let (json, log) = files();
        let newer = json.replacen("\"schema_version\": 1", "\"schema_version\": 2", 1);
        let error = parsed(&newer, &log).unwrap_err();
        assert!(error.contains("some/report.json has schema_version 2"), "{error}");
        // Nothing of a newer report need be understood to refuse it.
        let error = parsed("{\"schema_version\": 9}", b"").unwrap_err();
        assert!(error.contains("schema_version 9"), "{error}");

        let hostless = json.replacen("\"host\"", "\"hosts\"", 1);
        for wrong in ["", "{}", &json[..json.len() / 2], &hostless] {
            let error = parsed(wrong, &log).unwrap_err();
            assert!(error.contains("some/report.json is damaged"), "{error}");
        }
        let lines: Vec<_> = log.split_inclusive(|&byte| byte == b'\n').collect();
        let shorter = lines[..lines.len() - 1].concat();
        let error = parsed(&json, &shorter).unwrap_err();
        assert!(error.contains("some/latencies.hlog is damaged"), "{error}");
        assert!(error.contains("10 samples of read"), "{error}");
        for wrong in [&log[..log.len() - 9], b"no log".as_slice(), b"Tag=write,0,1,2,AAAA\n"] {
            let error = parsed(&json, wrong).unwrap_err();
            assert!(error.contains("some/latencies.hlog is damaged"), "{error}");
        }
    }

    #[test]
    fn a_folder_that_is_none_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = StoredRun::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("report.json") && error.contains("result folder"), "{error}");
    }
}
