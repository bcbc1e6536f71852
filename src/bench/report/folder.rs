//! What a result folder of a bench holds.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use hdrhistogram::Histogram;

use super::hgrm::distribution;
use super::hlog::interval_log;
use super::html::{ShownRun, page};
use super::readme::readme;
use super::stored_run::{LATENCIES_FILE, REPORT_FILE};
use super::{Report, StoredRun, Style, render};
use crate::bench::recorder::RunRecord;
use crate::harness::{HarnessError, ResultFolder};

/// What a table of several engines is kept as, beside the folders of its runs.
pub const TABLE_FILE: &str = "engines.json";

/// The page of a run in its folder.
pub(super) const PAGE_FILE: &str = "report.html";

/// Writes every file of the run.
pub fn write_report(
    folder: &mut ResultFolder,
    report: &Report,
    record: &RunRecord,
    started_at: SystemTime,
) -> Result<(), HarnessError> {
    let files = files(folder.path(), report, record, started_at);
    let files = files.map_err(|source| folder.error(source))?;
    files.iter().try_for_each(|(name, bytes)| folder.write(name, bytes))
}

fn files(
    folder: &Path,
    report: &Report,
    record: &RunRecord,
    started_at: SystemTime,
) -> io::Result<Vec<(String, Vec<u8>)>> {
    let totals: Vec<(String, Histogram<u64>)> = record.totals();
    let summary = render(report, &totals, Style::Plain);
    let (json, log) = (serde_json::to_vec_pretty(report)?, interval_log(record, started_at)?);
    // From the bytes that are kept, so that the page can be made again from them.
    let run = StoredRun::parse(folder, &json, &log).map_err(io::Error::other)?;
    let page = page(vec![ShownRun::new(run)])?;
    let mut files = vec![
        (REPORT_FILE.to_owned(), json),
        (LATENCIES_FILE.to_owned(), log),
        (PAGE_FILE.to_owned(), page.into_bytes()),
        ("summary.txt".to_owned(), summary.clone().into_bytes()),
    ];
    for (name, histogram) in totals.iter().filter(|(_, histogram)| !histogram.is_empty()) {
        files.push((format!("{name}.hgrm"), distribution(histogram).into_bytes()));
    }
    let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    files.push(("README.md".to_owned(), readme(report, &summary, &names).into_bytes()));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::{record, report};
    use super::*;

    #[test]
    fn a_folder_explains_itself() {
        let out = tempfile::tempdir().unwrap();
        let record = record();
        let mut folder = ResultFolder::create(out.path(), "run").unwrap();
        write_report(&mut folder, &report(&record), &record, SystemTime::now()).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = [
            "README.md",
            "latencies.hlog",
            "read.hgrm",
            "report.html",
            "report.json",
            "summary.txt",
            "write.hgrm",
        ];
        assert_eq!(names, expected);
        let readme = fs::read_to_string(folder.path().join("README.md")).unwrap();
        for part in ["--clients 2", "A CPU", "disk", "0123456789ab", "`write.hgrm`"] {
            assert!(readme.contains(part), "{part} is missing in {readme}");
        }
    }
}
