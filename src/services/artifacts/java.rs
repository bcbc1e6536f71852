//! A Java that a service runs on.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::super::{ServiceError, ServiceKind};
use super::Artifacts;
use super::system::Program;
use super::tool::run;

/// Where distributions put each version in a folder of its own.
pub(super) const FOLDER: &str = "/usr/lib/jvm";

/// Kafka 4 needs 17. Cassandra 5.0 installs a security manager, which Java forbids since 18.
fn suitable(service: ServiceKind) -> RangeInclusive<u32> {
    if service == ServiceKind::Cassandra { 17..=17 } else { 17..=u32::MAX }
}

impl Artifacts {
    pub(super) async fn find_java(&self, service: ServiceKind) -> Result<PathBuf, ServiceError> {
        let suitable = suitable(service);
        let mut unsuitable = Vec::new();
        for java in self.javas() {
            match java_version(&java).await {
                Some(version) if suitable.contains(&version) => return Ok(java),
                Some(version) => unsuitable.push(format!("{} is {version}", java.display())),
                None => unsuitable.push(format!("{} does not tell its version", java.display())),
            }
        }
        match self.system.missing(service, Program::JAVA) {
            ServiceError::Missing { service, advice, .. } if !unsuitable.is_empty() => {
                let program =
                    if suitable.end() == suitable.start() { "Java 17" } else { "Java 17 or later" };
                let advice = format!("{advice} (found: {})", unsuitable.join(", "));
                Err(ServiceError::Missing { program, service, advice })
            }
            missing => Err(missing),
        }
    }

    /// All that are installed, the user's choice first.
    fn javas(&self) -> Vec<PathBuf> {
        let mut homes: Vec<_> = self.java_home.iter().cloned().collect();
        let chosen = homes.len();
        let others = fs::read_dir(&self.java_folder).into_iter().flatten().flatten();
        homes.extend(others.map(|other| other.path()));
        homes[chosen..].sort();
        let mut javas: Vec<_> = homes.iter().map(|home| home.join("bin/java")).collect();
        if let Some(java) = self.system.find("java") {
            javas.insert(chosen, java);
        }
        javas.retain(|java| java.is_file());
        javas
    }
}

/// The major version: 17 of 17.0.12.
async fn java_version(java: &Path) -> Option<u32> {
    if let Some(version) = released_version(java) {
        return Some(version);
    }
    let outcome = run(java, ["-version"], &[]).await.ok()?;
    parsed(outcome.text.split_once("version \"")?.1)
}

/// As written in the file `release` of its folder, which starts no Java.
fn released_version(java: &Path) -> Option<u32> {
    let home = java.canonicalize().ok()?.parent()?.parent()?.join("release");
    let text = fs::read_to_string(home).ok()?;
    parsed(text.lines().find_map(|line| line.strip_prefix("JAVA_VERSION=\""))?)
}

/// `17.0.12"…` is 17; `1.8.0_292"…` is 1, which suits nobody either.
fn parsed(text: &str) -> Option<u32> {
    text.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}
