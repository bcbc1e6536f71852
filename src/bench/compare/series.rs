//! The folder of a series of comparisons: the plan, and one line per run. Whoever stops in between, by Ctrl-C or by a
//! crash, goes on from there.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::measure::{ServerOptions, Work};
use super::sequential::{Rules, Run, order};
use crate::bench::error::BenchError;
use crate::harness::{HarnessError, Host, ResultFolder, Versions, folder_name};

/// Version of `plan.json`, `runs.jsonl` and `result.json`; a field that changes its meaning or goes away raises it.
pub const SCHEMA_VERSION: u32 = 1;

const PLAN: &str = "plan.json";
const RUNS: &str = "runs.jsonl";

/// Everything that decides what a series does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The command that began it.
    pub command: String,
    /// RFC 3339.
    pub started_at: String,
    /// Of the clients.
    pub versions: Versions,
    /// The machine.
    pub host: Host,
    /// What is compared with.
    pub a: ServerOptions,
    /// What is judged.
    pub b: ServerOptions,
    /// Of each run.
    pub work: Work,
    /// Of each comparison.
    pub rules: Rules,
    /// Comparisons.
    pub repeat: usize,
}

/// A line of `runs.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    comparison: usize,
    pair: usize,
    #[serde(flatten)]
    run: Run,
}

/// A series, on disk and in memory.
#[derive(Debug)]
pub struct Series {
    folder: PathBuf,
    runs_file: File,
    /// What it does.
    pub plan: Plan,
    /// Runs by comparison; the last of them may be under way.
    comparisons: Vec<Vec<Run>>,
}

impl Series {
    /// Makes its folder under `out`.
    pub fn create(out: &Path, plan: Plan) -> Result<Self, BenchError> {
        ResultFolder::check(out)?;
        let mut folder = ResultFolder::create(out, &folder_name("compare", "a-b"))?;
        let text = serde_json::to_vec_pretty(&plan).map_err(|error| folder.error(error.into()))?;
        folder.write(PLAN, &text)?;
        folder.write(RUNS, b"")?;
        Self::open(folder.path(), plan, Vec::new())
    }

    /// Takes one up again. A last line that was not written to its end is cut off, and so is the first run of a pair
    /// that has no second: the pair begins anew, because its two runs must be close in time.
    pub fn resume(folder: &Path) -> Result<Self, BenchError> {
        let refuse = |file: &str, text: String| {
            BenchError::Usage(format!("--resume {}: {file}: {text}", folder.display()))
        };
        let read = |file: &str| {
            std::fs::read_to_string(folder.join(file))
                .map_err(|error| refuse(file, error.to_string()))
        };
        let plan: Plan = serde_json::from_str(&read(PLAN)?)
            .map_err(|error| refuse(PLAN, format!("is no plan of a comparison: {error}")))?;
        if plan.schema_version != SCHEMA_VERSION {
            let text = format!("is of version {}, not {SCHEMA_VERSION}", plan.schema_version);
            return Err(refuse(PLAN, text));
        }
        let text = read(RUNS)?;
        let (comparisons, kept_bytes) = read_runs(&text).map_err(|error| refuse(RUNS, error))?;
        let series = Self::open(folder, plan, comparisons)?;
        if kept_bytes < text.len() {
            tracing::debug!(kept_bytes, "an unfinished pair is cut off");
            let cut = series.runs_file.set_len(kept_bytes as u64);
            cut.map_err(|error| series.error(error))?;
        }
        Ok(series)
    }

    fn open(folder: &Path, plan: Plan, comparisons: Vec<Vec<Run>>) -> Result<Self, BenchError> {
        let folder = folder.to_owned();
        let runs_file = OpenOptions::new().append(true).open(folder.join(RUNS));
        let runs_file =
            runs_file.map_err(|source| HarnessError::Output { path: folder.clone(), source })?;
        Ok(Self { folder, runs_file, plan, comparisons })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The runs of a comparison so far.
    pub fn runs(&self, comparison: usize) -> &[Run] {
        self.comparisons.get(comparison).map_or(&[], Vec::as_slice)
    }

    /// Keeps a run, at once on disk.
    pub fn add(&mut self, comparison: usize, run: Run) -> Result<(), BenchError> {
        let pair = self.runs(comparison).len() / 2;
        let line = Line { comparison, pair, run };
        let mut text = serde_json::to_vec(&line).map_err(|error| self.error(error.into()))?;
        text.push(b'\n');
        let written = self.runs_file.write_all(&text).and_then(|()| self.runs_file.sync_data());
        written.map_err(|error| self.error(error))?;
        while self.comparisons.len() <= comparison {
            self.comparisons.push(Vec::new());
        }
        self.comparisons[comparison].push(line.run);
        Ok(())
    }

    /// Writes a file beside the runs, over an older one of its name.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BenchError> {
        std::fs::write(self.folder.join(name), bytes).map_err(|error| self.error(error))
    }

    fn error(&self, source: io::Error) -> BenchError {
        HarnessError::Output { path: self.folder.clone(), source }.into()
    }
}

/// The runs of whole pairs by comparison, and how many bytes hold them. A damaged line is an error, but for the last
/// one, if its end is missing.
fn read_runs(text: &str) -> Result<(Vec<Vec<Run>>, usize), String> {
    let mut comparisons: Vec<Vec<Run>> = Vec::new();
    let (mut read_bytes, mut kept_bytes) = (0, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let Some(whole) = line.strip_suffix('\n') else { break };
        let before_bytes = read_bytes;
        read_bytes += line.len();
        let damaged = |why: String| format!("line {} is damaged: {why}", index + 1);
        let Line { comparison, pair, run } =
            serde_json::from_str(whole).map_err(|error| damaged(error.to_string()))?;
        if comparison > comparisons.len() {
            return Err(damaged(format!("nothing is there of comparison {}", comparison - 1)));
        }
        if comparison == comparisons.len() {
            comparisons.push(Vec::new());
            // The one before is over, though it may have ended with half a pair.
            kept_bytes = before_bytes;
        }
        let is_last = comparison + 1 == comparisons.len();
        let runs = comparisons.get_mut(comparison).filter(|_| is_last);
        let runs = runs.ok_or_else(|| damaged("a later comparison has begun".to_owned()))?;
        let count = runs.len();
        if pair != count / 2 || order(pair).get(count % 2) != Some(&run.side) {
            return Err(damaged(format!("it is not run {} of its comparison", count + 1)));
        }
        runs.push(run);
        if runs.len().is_multiple_of(2) {
            kept_bytes = read_bytes;
        }
    }
    if let Some(last) = comparisons.last_mut()
        && last.len() % 2 == 1
    {
        last.pop();
    }
    Ok((comparisons, kept_bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::metric::Metric;
    use super::super::sequential_tests::run;
    use super::*;

    /// A plan with fixed values in every field.
    pub(crate) fn plan() -> Plan {
        let server = ServerOptions {
            binary: PathBuf::from("/bin/chatctl"),
            binary_sha256: "00".to_owned(),
            environment: vec![("CHATCTL_LOCAL_SYNC".to_owned(), "never".to_owned())],
        };
        Plan {
            schema_version: SCHEMA_VERSION,
            command: "chatctl bench compare".to_owned(),
            started_at: "2026-01-02T03:04:05Z".to_owned(),
            versions: Versions {
                chatctl: "0.1.0".to_owned(),
                git_revision: "0123456789ab".to_owned(),
                rustc: "rustc 1.95.0".to_owned(),
                profile: "release".to_owned(),
            },
            host: Host {
                name: "box".to_owned(),
                cpu_model: "A CPU".to_owned(),
                cores: 2,
                memory_bytes: 8 << 30,
                kernel: "6.1".to_owned(),
            },
            a: server.clone(),
            b: server,
            work: Work { clients: 4, messages: 10, size_bytes: 256, in_flight: 8 },
            rules: Rules {
                metric: Metric::ServerCpu,
                pairs: 6,
                max_time_s: 60.0,
                min_effect: 0.05,
                confidence: 0.95,
                seed: 1,
            },
            repeat: 2,
        }
    }

    /// A series of one comparison with so many runs, and the text of its file.
    fn written(out: &Path, runs: usize) -> (Series, String) {
        let mut series = Series::create(out, plan()).unwrap();
        for index in 0..runs {
            series.add(0, run(order(index / 2)[index % 2], index as f64)).unwrap();
        }
        let text = std::fs::read_to_string(series.folder().join(RUNS)).unwrap();
        (series, text)
    }

    #[test]
    fn a_series_is_taken_up_where_it_was() {
        let out = tempfile::tempdir().unwrap();
        let (series, _) = written(out.path(), 4);
        let resumed = Series::resume(series.folder()).unwrap();
        assert_eq!((&resumed.plan, resumed.runs(0)), (&series.plan, series.runs(0)));
        assert_eq!(resumed.runs(1), &[]);
    }

    #[test]
    fn a_torn_line_and_half_a_pair_begin_anew() {
        let out = tempfile::tempdir().unwrap();
        let (series, text) = written(out.path(), 5);
        let file = series.folder().join(RUNS);
        let whole_pairs: String = text.split_inclusive('\n').take(4).collect();
        let last = text.len() - whole_pairs.len();
        // Half a pair; half a line behind a pair; half a line behind half a pair; all but a line's end.
        let torn = [
            text.clone(),
            text[..whole_pairs.len() + last / 2].to_owned(),
            format!("{text}{{\"compari"),
            text.trim_end().to_owned(),
        ];
        for torn in torn {
            std::fs::write(&file, &torn).unwrap();
            let mut resumed = Series::resume(series.folder()).unwrap();
            assert_eq!(resumed.runs(0), &series.runs(0)[..4]);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), whole_pairs);
            resumed.add(0, series.runs(0)[4].clone()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
    }

    #[test]
    fn a_damaged_line_is_named() {
        let out = tempfile::tempdir().unwrap();
        let (series, text) = written(out.path(), 4);
        let file = series.folder().join(RUNS);
        let swapped: Vec<_> = text.split_inclusive('\n').collect();
        let swapped = [swapped[0], swapped[2], swapped[1], swapped[3]].concat();
        for damaged in [text.replacen("\"pair\":0", "\"pair\":zero", 1), swapped] {
            std::fs::write(&file, damaged).unwrap();
            let error = Series::resume(series.folder()).unwrap_err().to_string();
            assert!(error.contains("runs.jsonl: line "), "{error}");
        }
        let nowhere = Series::resume(&out.path().join("nowhere")).unwrap_err().to_string();
        assert!(nowhere.contains("--resume") && nowhere.contains("plan.json"), "{nowhere}");
    }
}
