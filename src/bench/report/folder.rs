//! The folder of one run: never written over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hdrhistogram::Histogram;

use super::hgrm::distribution;
use super::hlog::interval_log;
use super::readme::readme;
use super::{Report, Style, render};
use crate::bench::error::BenchError;
use crate::bench::recorder::RunRecord;

/// Folders of one name that are tried before it is given up.
const SUFFIX_MAX: u32 = 1_000;

/// The folder of one run. An unused one is removed again.
#[derive(Debug)]
pub struct ResultFolder {
    path: PathBuf,
    written: bool,
}

impl ResultFolder {
    /// Makes sure, before anything runs, that results can be kept under `out`.
    pub fn check(out: &Path) -> Result<(), BenchError> {
        let error = |source| BenchError::Output { path: out.to_owned(), source };
        fs::create_dir_all(out).map_err(error)?;
        let probe = out.join(format!(".chatctl-probe-{}", std::process::id()));
        fs::write(&probe, b"probe").map_err(error)?;
        fs::remove_file(&probe).map_err(error)
    }

    /// Makes `out/name`, or `out/name-2` and so on when there is one already.
    pub fn create(out: &Path, name: &str) -> Result<Self, BenchError> {
        let mut suffix = 1;
        loop {
            let path = match suffix {
                1 => out.join(name),
                _ => out.join(format!("{name}-{suffix}")),
            };
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, written: false }),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && suffix < SUFFIX_MAX =>
                {
                    suffix += 1;
                }
                Err(source) => return Err(BenchError::Output { path, source }),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes every file of the run.
    pub fn write(
        &mut self,
        report: &Report,
        record: &RunRecord,
        started_at: SystemTime,
    ) -> Result<(), BenchError> {
        self.write_files(report, record, started_at)
            .map_err(|source| BenchError::Output { path: self.path.clone(), source })
    }

    fn write_files(
        &mut self,
        report: &Report,
        record: &RunRecord,
        started_at: SystemTime,
    ) -> io::Result<()> {
        self.written = true;
        let totals: Vec<(String, Histogram<u64>)> = record.totals();
        let summary = render(report, &totals, Style::Plain);
        let mut files = vec![
            ("report.json".to_owned(), serde_json::to_vec_pretty(report)?),
            ("latencies.hlog".to_owned(), interval_log(record, started_at)?),
            ("summary.txt".to_owned(), summary.clone().into_bytes()),
        ];
        for (name, histogram) in totals.iter().filter(|(_, histogram)| !histogram.is_empty()) {
            files.push((format!("{name}.hgrm"), distribution(histogram).into_bytes()));
        }
        let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
        files.push(("README.md".to_owned(), readme(report, &summary, &names).into_bytes()));
        for (name, bytes) in files {
            fs::write(self.path.join(name), bytes)?;
        }
        Ok(())
    }
}

impl Drop for ResultFolder {
    fn drop(&mut self) {
        if !self.written {
            // Empty: the run failed before it had anything to keep.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{record, report};
    use super::*;

    #[test]
    fn results_are_never_written_over() {
        let out = tempfile::tempdir().unwrap();
        let record = record();
        let mut first = ResultFolder::create(out.path(), "run").unwrap();
        first.write(&report(&record), &record, SystemTime::now()).unwrap();
        let second = ResultFolder::create(out.path(), "run").unwrap();
        assert!(second.path().ends_with("run-2"));
        let unused = second.path().to_owned();
        drop(second);
        assert!(!unused.exists(), "an unused folder is removed");
        let mut names: Vec<_> = fs::read_dir(first.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = [
            "README.md",
            "latencies.hlog",
            "read.hgrm",
            "report.json",
            "summary.txt",
            "write.hgrm",
        ];
        assert_eq!(names, expected);
        let readme = fs::read_to_string(first.path().join("README.md")).unwrap();
        for part in ["--clients 2", "A CPU", "disk", "0123456789ab", "`write.hgrm`"] {
            assert!(readme.contains(part), "{part} is missing in {readme}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named_before_the_run() {
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = ResultFolder::check(&file).unwrap_err().to_string();
        assert!(error.contains("file") && error.contains("--out"), "{error}");
        assert!(ResultFolder::check(&out.path().join("a/b")).is_ok());
    }
}
