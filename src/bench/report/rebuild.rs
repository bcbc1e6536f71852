//! Makes the page again from what runs have kept.

use std::io;
use std::path::{Path, PathBuf};

use super::folder::{PAGE_FILE, TABLE_FILE};
use super::html::{ShownRun, merged, page};
use super::stored_run::StoredRun;
use crate::bench::BenchError;

/// The page of several folders, unless said otherwise.
const PAGE_OF_SEVERAL_FILE: &str = "bench-report.html";

/// Which page to make.
#[derive(Debug, Clone)]
pub struct Rebuild {
    /// Result folders, at least one; one with a table of engines stands for the runs in it.
    pub folders: Vec<PathBuf>,
    /// Where the page goes; by default into a single folder, or into the working directory.
    pub out: Option<PathBuf>,
    /// Add up the runs of the same workload, engine and durability.
    pub merge: bool,
}

/// Writes the page, over one that is there, and says where.
///
/// # Errors
/// A folder that is given twice is wrong usage; one that is damaged or of a newer schema is named.
pub fn rebuild(options: &Rebuild) -> Result<PathBuf, BenchError> {
    let mut known = Vec::new();
    for folder in &options.folders {
        // One that cannot be found is named when it is read.
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        if known.contains(&folder) {
            // Added up, its samples would count twice.
            return Err(BenchError::Usage(format!("{}: give each folder once", folder.display())));
        }
        known.push(folder);
    }
    let mut folders = Vec::new();
    for folder in &options.folders {
        match folder.join(TABLE_FILE).is_file() {
            true => folders.extend(runs_of_table(folder)?),
            false => folders.push(folder.clone()),
        }
    }
    let (path, runs) = match folders.as_slice() {
        [] => return Err(BenchError::Usage("give at least one result folder".to_owned())),
        [folder] => (folder.join(PAGE_FILE), vec![ShownRun::new(StoredRun::read(folder)?)]),
        folders => {
            let read = |folder: &PathBuf| {
                Ok::<_, BenchError>(ShownRun::from_folder(StoredRun::read(folder)?, folder))
            };
            let runs = folders.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            let place = match options.folders.as_slice() {
                [table] => table.join(PAGE_OF_SEVERAL_FILE),
                _ => PathBuf::from(PAGE_OF_SEVERAL_FILE),
            };
            (place, runs)
        }
    };
    let runs = if options.merge { merged(runs) } else { runs };
    let path = options.out.clone().unwrap_or(path);
    let html = page(runs).map_err(|error| BenchError::Page {
        path: path.clone(),
        source: io::Error::other(error),
    })?;
    write(&path, &html).map_err(|source| BenchError::Page { path: path.clone(), source })?;
    Ok(path)
}

/// The runs in the folder of a table of engines, in the order of their names, which begin with the time.
fn runs_of_table(table: &Path) -> Result<Vec<PathBuf>, BenchError> {
    let failed = |source| BenchError::Page { path: table.to_owned(), source };
    let mut runs = Vec::new();
    for entry in std::fs::read_dir(table).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            runs.push(path);
        }
    }
    runs.sort();
    Ok(runs)
}

/// Beside and renamed, so that a page that is there is whole at every moment.
fn write(path: &Path, html: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let beside = folder.join(format!(".chatctl-page-{}", std::process::id()));
    std::fs::write(&beside, html)?;
    std::fs::rename(&beside, path).inspect_err(|_| {
        // Only what this function made.
        let _ = std::fs::remove_file(&beside);
    })
}
