//! The folder of one run: never written over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::HarnessError;
use super::Host;

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
    pub fn check(out: &Path) -> Result<(), HarnessError> {
        let error = |source| HarnessError::Output { path: out.to_owned(), source };
        fs::create_dir_all(out).map_err(error)?;
        let probe = out.join(format!(".chatctl-probe-{}", std::process::id()));
        fs::write(&probe, b"probe").map_err(error)?;
        fs::remove_file(&probe).map_err(error)
    }

    /// Makes `out/name`, or `out/name-2` and so on when there is one already.
    pub fn create(out: &Path, name: &str) -> Result<Self, HarnessError> {
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
                Err(source) => return Err(HarnessError::Output { path, source }),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one file of the run. From then on the folder stays.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), HarnessError> {
        self.written = true;
        fs::write(self.path.join(name), bytes).map_err(|source| self.error(source))
    }

    /// What it means for the run that `source` happened in this folder.
    pub fn error(&self, source: io::Error) -> HarnessError {
        HarnessError::Output { path: self.path.clone(), source }
    }
}

/// `<date>-<time>-<host>-<workload>-<engine>`, with only letters, digits, `.`, `-` and `+`.
pub fn folder_name(workload: &str, engine: &str) -> String {
    let now = jiff::ZonedDateTime::now().strftime("%Y%m%d-%H%M%S").to_string();
    let name = format!("{now}-{}-{workload}-{engine}", Host::find().name);
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-+".contains(c) { c } else { '_' };
    name.chars().map(plain).collect()
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
    use super::*;

    #[test]
    fn results_are_never_written_over() {
        let out = tempfile::tempdir().unwrap();
        let mut first = ResultFolder::create(out.path(), "run").unwrap();
        first.write("file", b"kept").unwrap();
        let second = ResultFolder::create(out.path(), "run").unwrap();
        assert!(second.path().ends_with("run-2"));
        let unused = second.path().to_owned();
        drop((first, second));
        assert!(!unused.exists(), "an unused folder is removed");
        assert_eq!(fs::read(out.path().join("run/file")).unwrap(), b"kept");
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
