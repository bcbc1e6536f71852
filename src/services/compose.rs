//! Docker mode: the services in containers, by the compose file that is part of this program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// What belongs to us carries this project name. Not `chatctl`: that is the default of whoever runs compose in a folder of
/// that name, and a wipe must not find their volumes.
const PROJECT: &str = "chatctl-init-env";

/// A container engine that does not answer within this counts as absent.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest wait for containers: a first start downloads more than a gigabyte of images.
const UP_TIMEOUT: Duration = Duration::from_secs(900);

/// The longest wait for containers to stop: each gets ten seconds from the engine.
const DOWN_TIMEOUT: Duration = Duration::from_secs(120);

/// Time between two looks at containers that are not healthy yet.
const LOOK: Duration = Duration::from_millis(500);

/// Lines of a failed command that are shown.
const SHOWN_LINES: usize = 12;

/// The folder `docker/`, as it was when this binary was built.
const FILES: [(&str, &str); 7] = [
    (COMPOSE_FILE, include_str!("../../docker/compose.yml")),
    (VERSIONS_FILE, include_str!("../../docker/versions.env")),
    ("cassandra/entrypoint.sh", include_str!("../../docker/cassandra/entrypoint.sh")),
    ("prometheus.yml", include_str!("../../docker/prometheus.yml")),
    (
        "grafana/provisioning/datasources/prometheus.yml",
        include_str!("../../docker/grafana/provisioning/datasources/prometheus.yml"),
    ),
    (
        "grafana/provisioning/dashboards/chatctl.yml",
        include_str!("../../docker/grafana/provisioning/dashboards/chatctl.yml"),
    ),
    (
        "grafana/dashboards/chatctl.json",
        include_str!("../../docker/grafana/dashboards/chatctl.json"),
    ),
];
const COMPOSE_FILE: &str = "compose.yml";
const VERSIONS_FILE: &str = "versions.env";

/// Where the three Cassandra nodes are: on a network of their own, because a driver goes to each at the address that it tells its peers.
pub const CASSANDRA_THREE: [&str; 3] =
    ["172.29.42.11:9042", "172.29.42.12:9042", "172.29.42.13:9042"];

/// Where the programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposePrograms {
    /// The client of the container engine.
    pub docker: PathBuf,
    /// Version 1 of compose, for where the client does not have it built in.
    pub docker_compose: PathBuf,
}

impl Default for ComposePrograms {
    fn default() -> Self {
        Self { docker: "docker".into(), docker_compose: "docker-compose".into() }
    }
}

/// The services of one environment in containers.
#[derive(Debug)]
pub struct Compose {
    programs: ComposePrograms,
    version: ComposeVersion,
    folder: PathBuf,
}

/// Which compose there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ComposeVersion {
    /// `docker compose`: waits for health by itself.
    BuiltIn,
    /// `docker-compose` 1: we ask the engine for health.
    Separate,
}

/// Why containers cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// No engine.
    #[error("no container engine answers ({reason}); start it, or use --mode native")]
    NoEngine {
        /// What `docker info` said.
        reason: String,
    },
    /// An engine, and no compose.
    #[error(
        "the container engine answers, and there is no compose (neither `docker compose` nor `docker-compose`); install docker-compose-v2 or docker-compose, or use --mode native"
    )]
    NoCompose,
    /// The compose file could not be written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Compose tried and failed.
    #[error("`{command}` failed: {reason}")]
    Failed {
        /// What was run.
        command: String,
        /// Its last lines.
        reason: String,
    },
    /// Containers started and do not get healthy.
    #[error("after {seconds} s not healthy: {containers}; see `docker logs NAME`")]
    Unhealthy {
        /// How long was waited.
        seconds: u64,
        /// Their names and states.
        containers: String,
    },
}

/// Whether a container engine answers; the error says what it said instead.
pub async fn find_engine(programs: &ComposePrograms) -> Result<(), ComposeError> {
    let mut command = Command::new(&programs.docker);
    // The client alone ends with 0 in some versions: the server must have told its version.
    command.args(["info", "--format", "{{.ServerVersion}}"]);
    let no_engine = |reason: String| ComposeError::NoEngine { reason };
    let output = match run(command, ENGINE_TIMEOUT).await {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(no_engine(format!("{} is not installed", programs.docker.display())));
        }
        Err(error) => return Err(no_engine(error.to_string())),
    };
    if output.status.success() && !String::from_utf8_lossy(&output.stdout).trim().is_empty() {
        return Ok(());
    }
    Err(no_engine(last_lines(&output, 1)))
}

impl Compose {
    /// Finds engine and compose and writes the files of `docker/` into a folder.
    pub async fn open(programs: ComposePrograms, folder: &Path) -> Result<Self, ComposeError> {
        find_engine(&programs).await?;
        let answers = async |program: &Path, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments);
            run(command, ENGINE_TIMEOUT).await.is_ok_and(|output| output.status.success())
        };
        let version = if answers(&programs.docker, &["compose", "version"]).await {
            ComposeVersion::BuiltIn
        } else if answers(&programs.docker_compose, &["version"]).await {
            ComposeVersion::Separate
        } else {
            return Err(ComposeError::NoCompose);
        };
        write_files(folder)?;
        Ok(Self { programs, version, folder: folder.to_owned() })
    }

    /// Starts the services of these profiles and waits until all are healthy; changes nothing when they are.
    /// `progress` hears, now and then, what is waited for.
    pub async fn up(
        &self,
        profiles: &[&str],
        progress: impl Fn(&str) + Send + Sync,
    ) -> Result<(), ComposeError> {
        progress(&format!("starting containers: {}", profiles.join(", ")));
        match self.version {
            ComposeVersion::BuiltIn => {
                let seconds = UP_TIMEOUT.as_secs().to_string();
                let up = ["up", "--detach", "--wait", "--wait-timeout", &seconds];
                self.compose(profiles, &up, UP_TIMEOUT + ENGINE_TIMEOUT).await
            }
            ComposeVersion::Separate => {
                self.compose(profiles, &["up", "--detach"], UP_TIMEOUT).await?;
                self.wait_until_healthy(progress).await
            }
        }
    }

    /// Stops and removes our containers; their data stays in its volumes.
    pub async fn down(&self) -> Result<(), ComposeError> {
        self.compose(&Self::profiles(), &["down"], DOWN_TIMEOUT).await
    }

    /// Stops our containers and removes their data: the volumes of the compose file, in our project, and no other.
    pub async fn wipe(&self) -> Result<(), ComposeError> {
        self.compose(&Self::profiles(), &["down", "--volumes"], DOWN_TIMEOUT).await
    }

    /// Every profile of the compose file: without them compose does not see the services.
    pub fn profiles() -> [&'static str; 7] {
        ["redis", "valkey", "kafka", "kafka-three", "cassandra", "cassandra-three", "observe"]
    }

    async fn compose(
        &self,
        profiles: &[&str],
        arguments: &[&str],
        patience: Duration,
    ) -> Result<(), ComposeError> {
        let (mut command, mut shown) = match self.version {
            ComposeVersion::BuiltIn => {
                let mut command = Command::new(&self.programs.docker);
                command.arg("compose");
                (command, "docker compose".to_owned())
            }
            ComposeVersion::Separate => {
                (Command::new(&self.programs.docker_compose), "docker-compose".to_owned())
            }
        };
        command.arg("--project-name").arg(PROJECT);
        command.arg("--file").arg(self.folder.join(COMPOSE_FILE));
        command.arg("--env-file").arg(self.folder.join(VERSIONS_FILE));
        for profile in profiles {
            command.args(["--profile", profile]);
        }
        command.args(arguments);
        for argument in arguments {
            shown += " ";
            shown += argument;
        }
        let failed = |reason| ComposeError::Failed { command: shown.clone(), reason };
        let output = run(command, patience).await.map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(failed(last_lines(&output, SHOWN_LINES)))
    }

    /// What version 1 cannot do.
    async fn wait_until_healthy(
        &self,
        progress: impl Fn(&str) + Send + Sync,
    ) -> Result<(), ComposeError> {
        let deadline = Instant::now() + UP_TIMEOUT;
        let mut said = String::new();
        loop {
            let waiting = self.not_healthy().await?;
            if waiting.is_empty() {
                return Ok(());
            }
            let text = waiting.join(", ");
            if Instant::now() >= deadline {
                let seconds = UP_TIMEOUT.as_secs();
                return Err(ComposeError::Unhealthy { seconds, containers: text });
            }
            if text != said {
                progress(&format!("waiting for {text}"));
                said = text;
            }
            sleep(LOOK).await;
        }
    }

    /// Our containers that are not healthy, each with its state.
    async fn not_healthy(&self) -> Result<Vec<String>, ComposeError> {
        let mut command = Command::new(&self.programs.docker);
        let filter = format!("label=com.docker.compose.project={PROJECT}");
        command.args(["ps", "--all", "--filter", &filter, "--format", "{{.Names}} {{.Status}}"]);
        let failed = |reason| ComposeError::Failed { command: "docker ps".to_owned(), reason };
        let output =
            run(command, ENGINE_TIMEOUT).await.map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(last_lines(&output, SHOWN_LINES)));
        }
        let lines = String::from_utf8_lossy(&output.stdout);
        // Not just "healthy": that is the end of "unhealthy", too.
        let waiting = lines.lines().filter(|line| !line.contains("(healthy)"));
        Ok(waiting.map(str::to_owned).collect())
    }
}

/// Writes what differs, each file beside itself and renamed: another `init-env` may read at this moment.
fn write_files(folder: &Path) -> Result<(), ComposeError> {
    for (name, text) in FILES {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|present| present == text) {
            continue;
        }
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&beside, text))
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|source| ComposeError::File { path, source })?;
    }
    Ok(())
}

/// Runs a command to its end; one that takes longer is killed.
async fn run(mut command: Command, patience: Duration) -> io::Result<Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    match timeout(patience, command.output()).await {
        Ok(output) => output,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} s", patience.as_secs()),
        )),
    }
}

/// The end of what a command complained of.
fn last_lines(output: &Output, count: usize) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match &lines[lines.len().saturating_sub(count)..] {
        [] => format!("it ended with {} and said nothing", output.status),
        last => last.join("\n    "),
    }
}

#[cfg(test)]
mod tests;
