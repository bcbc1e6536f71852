//! Programs of the system, installed where we may.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

use super::super::{Progress, ServiceError, ServiceKind};
use super::tool::{Outcome, run, shortened};
use crate::config;

/// A program and the Debian package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
}

impl Program {
    // Of the versions that suit Kafka the one that suits Cassandra too.
    pub(super) const JAVA: Self = Self { name: "java", package: "openjdk-17-jre-headless" };
    pub(super) const MAVEN: Self = Self { name: "mvn", package: "maven" };
    pub(super) const PIP: Self = Self { name: "pip", package: "python3-pip" };
    // With pip, because nothing else is wanted of it.
    pub(super) const PYTHON: Self = Self { name: "python3", package: "python3-pip" };
    pub(super) const REDIS: Self = Self { name: "redis-server", package: "redis-server" };
}

/// Where programs are looked for, and whether they may be installed.
#[derive(Debug)]
pub(super) struct System {
    search_path: Option<OsString>,
    may_install: bool,
    /// One at a time: two services may miss the same.
    installing: Mutex<()>,
}

impl System {
    pub(super) fn new(search_path: Option<OsString>, may_install: bool) -> Self {
        Self { search_path, may_install, installing: Mutex::default() }
    }

    pub(super) fn of_this_machine() -> Self {
        Self::new(config::search_path(), rustix::process::geteuid().is_root())
    }

    /// A program that is installed.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        let folders = env::split_paths(self.search_path.as_ref()?);
        folders
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(|path| is_program(path))
    }

    /// A program, installed if need be.
    pub(super) async fn program(
        &self,
        service: ServiceKind,
        program: Program,
        progress: &Progress,
    ) -> Result<PathBuf, ServiceError> {
        if let Some(path) = self.find(program.name) {
            return Ok(path);
        }
        self.install(service, program, progress).await?;
        self.find(program.name).ok_or_else(|| self.missing(service, program))
    }

    /// Whether what is missing can be had.
    pub(super) fn can_install(&self) -> bool {
        self.may_install && self.find("apt-get").is_some()
    }

    /// Installs the package of a program, as root on a system with apt; elsewhere it is an error that says how to.
    pub(super) async fn install(
        &self,
        service: ServiceKind,
        program: Program,
        progress: &Progress,
    ) -> Result<(), ServiceError> {
        let apt = self.find("apt-get").filter(|_| self.may_install);
        let apt = apt.ok_or_else(|| self.missing(service, program))?;
        let _one_at_a_time = self.installing.lock().await;
        let package = program.package;
        let unresolved =
            |reason| ServiceError::Unresolved { what: format!("Debian package {package}"), reason };
        progress.say(service, format!("installs the Debian package {package}"));
        let install = ["install", "-y", "--no-install-recommends", package];
        if apt_get(&apt, &install).await.map_err(unresolved)?.success {
            return Ok(());
        }
        progress.say(
            service,
            format!("installs the Debian package {package}, from renewed package lists"),
        );
        // The second try says better than this one what is wrong.
        let _ = apt_get(&apt, &["update"]).await.map_err(unresolved)?;
        let outcome = apt_get(&apt, &install).await.map_err(unresolved)?;
        if outcome.success { Ok(()) } else { Err(unresolved(reason(&outcome))) }
    }

    /// The error that says how to get a program.
    pub(super) fn missing(&self, service: ServiceKind, program: Program) -> ServiceError {
        let Program { name, package } = program;
        let advice = match self.find("apt-get") {
            Some(_) => format!("run: sudo apt-get install -y {package}"),
            None => format!(
                "install it by the package manager of this system (on Debian: sudo apt-get install -y {package})"
            ),
        };
        ServiceError::Missing { program: name, service, advice }
    }
}

async fn apt_get(apt: &Path, arguments: &[&str]) -> Result<Outcome, String> {
    // Somebody else's apt is waited for.
    let arguments = ["-q", "-o", "DPkg::Lock::Timeout=120"].iter().chain(arguments);
    // Run level 1: packages of servers do not start them.
    run(apt, arguments, &[("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")]).await
}

fn reason(outcome: &Outcome) -> String {
    let errors: Vec<_> = outcome.text.lines().filter_map(|line| line.strip_prefix("E: ")).collect();
    if errors.is_empty() { outcome.last_line() } else { shortened(&errors.join("; ")) }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
