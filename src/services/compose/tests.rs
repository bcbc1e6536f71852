//! Against shell scripts in place of a container engine.

use std::sync::Mutex;

use tempfile::TempDir;

use super::*;

/// Programs that write their arguments to `calls` and then do what a test says.
struct Fake {
    folder: TempDir,
    programs: ComposePrograms,
}

impl Fake {
    fn new(docker: &str, docker_compose: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = |name: &str, body: &str| {
            let path = folder.path().join(name);
            let calls = folder.path().join("calls");
            let text = format!(
                "#!/bin/sh\nhere={:?}\necho \"{name} $*\" >>{calls:?}\n{body}\n",
                folder.path()
            );
            // Another process puts it there: a child that another test starts at this moment would inherit our
            // descriptor, and a file that is open for writing cannot be run.
            let draft = folder.path().join("draft");
            fs::write(&draft, text).unwrap();
            let install =
                std::process::Command::new("install").arg("-m755").args([&draft, &path]).status();
            assert!(install.unwrap().success());
            path
        };
        let programs = ComposePrograms {
            docker: script("docker", docker),
            docker_compose: script("docker-compose", docker_compose),
        };
        Self { folder, programs }
    }

    fn environment(&self) -> PathBuf {
        self.folder.path().join("environment")
    }

    async fn open(&self) -> Result<Compose, ComposeError> {
        Compose::open(self.programs.clone(), &self.environment()).await
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

const BUILT_IN: &str = "case $1 in info) echo 28.2;; esac";
const SEPARATE: &str = "case $1 in info) echo 20.10;; compose) exit 1;; \
    ps) echo x >>$here/looks; [ $(wc -l <$here/looks) -gt 2 ] && echo 'c (healthy)' || echo 'c Up (unhealthy)';; esac";

#[tokio::test]
async fn no_engine_names_native_mode() {
    for (docker, reason) in [
        ("echo 'is the daemon running?' >&2; exit 1", "is the daemon running?"),
        // The client told its own part and could not reach the server.
        ("exit 0", "said nothing"),
        ("exec sleep 60", "within 3 s"),
    ] {
        let error = Fake::new(docker, "").open().await.unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("--mode native"), "{error}");
    }
    let nowhere = ComposePrograms { docker: "/nowhere/docker".into(), ..Default::default() };
    let error = find_engine(&nowhere).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/docker is not installed"), "{error}");
    let error = Fake::new(SEPARATE, "exit 1").open().await.unwrap_err();
    assert!(matches!(error, ComposeError::NoCompose), "{error}");
}

#[tokio::test]
async fn the_built_in_compose_waits_by_itself() {
    let fake = Fake::new(BUILT_IN, "exit 1");
    let compose = fake.open().await.unwrap();
    compose.up(&["redis", "kafka"], |_| {}).await.unwrap();
    let folder = fake.environment().display().to_string();
    let up = format!(
        "docker compose --project-name chatctl-init-env --file {folder}/compose.yml --env-file {folder}/versions.env \
         --profile redis --profile kafka up --detach --wait --wait-timeout 900"
    );
    assert_eq!(fake.calls().last(), Some(&up));
    for (name, text) in FILES {
        assert_eq!(fs::read_to_string(fake.environment().join(name)).unwrap(), text);
    }
}

#[tokio::test]
async fn version_1_is_waited_for() {
    let fake = Fake::new(SEPARATE, "");
    let compose = fake.open().await.unwrap();
    let said = Mutex::new(Vec::new());
    compose.up(&["redis"], |text| said.lock().unwrap().push(text.to_owned())).await.unwrap();
    let said = said.into_inner().unwrap();
    assert_eq!(said, ["starting containers: redis", "waiting for c Up (unhealthy)"]);
    assert!(fake.calls().iter().any(|call| call.ends_with("--profile redis up --detach")));
    assert_eq!(fake.calls().iter().filter(|call| call.starts_with("docker ps")).count(), 3);
}

#[tokio::test]
async fn only_a_wipe_removes_volumes_and_of_our_project_only() {
    let fake = Fake::new(BUILT_IN, "");
    let compose = fake.open().await.unwrap();
    compose.down().await.unwrap();
    assert!(fake.calls().last().unwrap().ends_with(" down"));
    compose.wipe().await.unwrap();
    let wipe = fake.calls().pop().unwrap();
    assert!(
        wipe.contains("--project-name chatctl-init-env ") && wipe.ends_with(" down --volumes"),
        "{wipe}"
    );
    for profile in Compose::profiles() {
        assert!(wipe.contains(&format!("--profile {profile} ")), "{wipe}");
    }
}

#[tokio::test]
async fn a_failure_shows_what_compose_said() {
    let docker = format!(
        "{BUILT_IN}\n[ \"$2\" = version ] || [ $1 = info ] || {{ echo 'port is taken' >&2; exit 1; }}"
    );
    let compose = Fake::new(&docker, "");
    let error = compose.open().await.unwrap().up(&["redis"], |_| {}).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("`docker compose up --detach --wait") && text.contains("port is taken")
    );
}

#[test]
fn containers_sync_as_native_nodes_do() {
    let entrypoint = FILES.iter().find(|(name, _)| *name == "cassandra/entrypoint.sh").unwrap().1;
    assert_eq!(super::super::CommitlogSync::default(), super::super::CommitlogSync::Batch);
    assert!(entrypoint.contains("put commitlog_sync batch\nwithout commitlog_sync_period\n"));
    assert!(entrypoint.contains("s/^-XX:+UseG1GC$/-XX:+UseSerialGC/"));
}
