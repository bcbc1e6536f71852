//! One run of the judge, against a broken server or an honest one.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use chatctl::faults::{Fault, Shape};

use super::engines::Engines;
use super::series::Line;
use crate::support::BINARY;
use crate::support::services::FolderServices;

/// The workload of one run.
const CLIENTS: &str = "8";
const MESSAGES: &str = "100";
/// Exit codes of the judge.
const VALID: i32 = 0;
pub const INVALID: i32 = 4;

/// What is run.
#[derive(Debug, Clone)]
pub struct Run {
    pub fault: Option<Fault>,
    pub engines: Engines,
    pub seed: usize,
}

impl Run {
    /// What its row is called.
    pub fn name(&self) -> String {
        self.fault.map_or("(none)".to_owned(), |fault| fault.to_string())
    }

    /// What must be reported; none: nothing may be.
    pub fn expected(&self) -> &'static [&'static str] {
        self.fault.map_or(&[], Fault::expected)
    }

    /// Runs it. `variables`: where the services are that it may need.
    pub fn run(&self, revision: &str, variables: &[(&str, String)]) -> Line {
        let out = tempfile::tempdir().unwrap();
        let own = self.needs_own_services().then(FolderServices::new);
        let started = Instant::now();
        let mut command = self.command(out.path(), variables, own.as_ref());
        let output = command.output().unwrap();
        let seconds = started.elapsed().as_secs_f64();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        let names: Vec<String> = report.lines().filter_map(named).collect();
        let verdict = if self.expected().is_empty() { VALID } else { INVALID };
        let is_named = |name: &&str| names.iter().any(|named| named == name);
        let is_right =
            output.status.code() == Some(verdict) && self.expected().iter().all(is_named);
        let said = format!("{report}{}", String::from_utf8_lossy(&output.stderr));
        Line {
            revision: revision.to_owned(),
            engines: self.engines.name.to_owned(),
            fault: self.name(),
            seed: self.seed,
            right: is_right,
            seconds,
            names,
            // What went right needs no explanation.
            said: (!is_right).then_some(said),
        }
    }

    fn needs_own_services(&self) -> bool {
        self.fault.is_some_and(|fault| fault.shape() == Shape::BrokenService)
    }

    /// Half of the honest servers are judged while something is broken beside them.
    fn has_nemesis(&self) -> bool {
        self.fault.is_none() && !self.seed.is_multiple_of(2)
    }

    fn sync_policy(&self) -> &'static str {
        match self.fault {
            _ if self.has_nemesis() => "interval",
            // In memory each message is a batch of its own.
            Some(Fault::DropBatchHalf | Fault::ShowInBatches) => "never",
            _ => "memory",
        }
    }

    fn command(
        &self,
        out: &Path,
        variables: &[(&str, String)],
        own: Option<&FolderServices>,
    ) -> Command {
        let mut command = Command::new(BINARY);
        // What is said to this series is not said to its servers, nor is anything else.
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("CHATCTL_") {
                command.env_remove(key);
            }
        }
        command
            .args(["check", "validity", "--clients", CLIENTS])
            .args(self.engines.arguments)
            .args(["--seed", &self.seed.to_string(), "--out"])
            .arg(out)
            // The servers that it starts inherit this. Nothing is kept on a slow disk, but where a server is killed it comes back.
            .env("CHATCTL_LOCAL_SYNC", self.sync_policy());
        match own {
            Some(own) => {
                for (key, _) in variables {
                    command.env_remove(key);
                }
                command.args(["--services-dir", own.folder(), "--nemesis", "pause-engine"]);
                command.args(["--every", "2s", "--duration", "4s"]);
            }
            None => {
                command.envs(variables.iter().map(|(key, value)| (*key, value.as_str())));
                match self.has_nemesis() {
                    true => command.args(["--nemesis", self.engines.nemesis]).args([
                        "--every",
                        "2s",
                        "--duration",
                        "6s",
                    ]),
                    false => command.args(["--messages", MESSAGES]),
                };
            }
        }
        match self.fault {
            Some(fault) if fault.shape() == Shape::TwoNodes => {
                command.args(["--nodes", "2", "--node-env", &format!("2:CHATCTL_FAULT={fault}")]);
            }
            Some(fault) => {
                command.env("CHATCTL_FAULT", fault.to_string());
            }
            // Two honest servers have more to get wrong than one.
            None if self.engines != super::engines::LOCAL => {
                command.args(["--nodes", "2"]);
            }
            None => {}
        }
        command
    }
}

/// The anomaly that a line of a report is about.
fn named(line: &str) -> Option<String> {
    let (name, _) = line.split_once(':')?;
    let is_name = |name: &str| name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase());
    (!name.is_empty() && is_name(name)).then(|| name.to_owned())
}
