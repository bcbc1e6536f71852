//! A long series, in as many sittings as it takes: each result is a line of a file, and what is in it is not run again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use chatctl::harness::Versions;
use serde::{Deserialize, Serialize};

use super::run::Run;
use crate::support::{BINARY, scale};

/// The file in the folder that `CHATCTL_SERIES_DIR` names.
const FILE: &str = "mutants.jsonl";
/// From this many runs on, each must come out right.
const LONG_SERIES: usize = 20;

/// What came of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    pub revision: String,
    pub engines: String,
    pub fault: String,
    pub seed: usize,
    pub right: bool,
    pub seconds: f64,
    pub names: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

type Key = (String, String, usize);

/// What is known so far.
pub struct Series {
    revision: String,
    done: HashMap<Key, Line>,
    file: Option<Mutex<File>>,
}

/// The runs of one fault on some engines.
pub struct Row {
    pub runs: Vec<Run>,
    /// Which occasions a fault meets hangs on timing: a short series may miss one in three, a long one none. An honest server, and one
    /// whose faults must be repaired, is never wrong.
    may_miss: usize,
}

impl Row {
    pub fn new(runs: Vec<Run>) -> Self {
        let must_all =
            runs.len() >= LONG_SERIES || runs.iter().all(|run| run.expected().is_empty());
        let may_miss = if must_all { 0 } else { runs.len() / 3 };
        Self { runs, may_miss }
    }
}

impl Series {
    /// As the environment says; without a folder nothing is kept.
    pub fn of_environment() -> Self {
        let revision = revision();
        let Some(folder) = std::env::var_os("CHATCTL_SERIES_DIR") else {
            return Self { revision, done: HashMap::new(), file: None };
        };
        let folder = PathBuf::from(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        // A line that was cut off, or is of another form, is of a run that is done once more.
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let done = lines
            .filter(|line| line.revision == revision)
            .map(|line| ((line.engines.clone(), line.fault.clone(), line.seed), line));
        let done = done.collect();
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").unwrap();
        }
        Self { revision, done, file: Some(Mutex::new(file)) }
    }

    /// Runs everything that is not done yet, `CHATCTL_SERIES_PARALLEL` at a time; prints each row when it is complete, and gives what is wrong.
    pub fn run(&self, rows: &[Row], variables: &[(&str, String)]) -> Vec<String> {
        let jobs: Vec<(usize, &Run)> = (0..)
            .zip(rows)
            .flat_map(|(row, of)| of.runs.iter().map(move |run| (row, run)))
            .collect();
        let next = AtomicUsize::new(0);
        let lines: Mutex<Vec<Vec<Line>>> = Mutex::new(vec![Vec::new(); rows.len()]);
        let wrong: Mutex<Vec<String>> = Mutex::default();
        let work = || {
            while let Some((row, run)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let line = self.line_of(run, variables);
                let mut lines = lines.lock().unwrap();
                lines[*row].push(line);
                if lines[*row].len() == rows[*row].runs.len() {
                    let shown = show(&rows[*row], &lines[*row]);
                    drop(lines);
                    wrong.lock().unwrap().extend(shown);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..scale("CHATCTL_SERIES_PARALLEL", 1).max(1) {
                scope.spawn(work);
            }
        });
        wrong.into_inner().unwrap()
    }

    fn line_of(&self, run: &Run, variables: &[(&str, String)]) -> Line {
        let key = (run.engines.name.to_owned(), run.name(), run.seed);
        if let Some(line) = self.done.get(&key) {
            return line.clone();
        }
        let line = run.run(&self.revision, variables);
        if let Some(file) = &self.file {
            // One write, so that a series that is stopped leaves no half of a line between others.
            let text = format!("{}\n", serde_json::to_string(&line).unwrap());
            file.lock().unwrap().write_all(text.as_bytes()).unwrap();
        }
        line
    }
}

/// Prints a row of the table; what is wrong with it, if anything.
fn show(row: &Row, lines: &[Line]) -> Option<String> {
    let run = row.runs.first()?;
    let expected = if run.expected().is_empty() { "valid" } else { &run.expected().join(" ") };
    let (name, engines, runs) = (run.name(), run.engines.name, lines.len());
    let right = lines.iter().filter(|line| line.right).count();
    let slowest = lines.iter().map(|line| line.seconds).fold(0.0, f64::max);
    println!(
        "{name:<18} {engines:<15} {expected:<20} {right:>3} of {runs:<3} slowest {slowest:.1} s"
    );
    let wrong = lines.iter().find(|line| !line.right).filter(|_| runs - right > row.may_miss)?;
    let (seed, said) = (wrong.seed, wrong.said.as_deref().unwrap_or_default());
    Some(format!("{name} on {engines}, seed {seed}: not {expected}\n{said}"))
}

/// What tells this binary from others: its revision and, where that does not say everything, its bytes.
fn revision() -> String {
    let revision = Versions::of_this_binary().git_revision;
    if !revision.ends_with("-dirty") && revision != "unknown" {
        return revision;
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(&std::fs::read(BINARY).unwrap());
    format!("{revision}-{:016x}", hasher.finish())
}
