//! `chatctl init-env` with real services.

use std::process::Output;
use std::time::{Duration, Instant};

use chatctl::services::{Folder, Nodes, ServiceKind};
use redis::Commands as _;
use rustix::process::Signal;

use crate::support::services::{OwnServices, SharedServices, init_env};
use crate::support::{BINARY, PATIENCE, Peer, unique};

const ALL: &str = "redis,valkey,kafka,cassandra";

fn text(output: &Output) -> String {
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
}

#[tokio::test]
async fn a_second_run_is_quick_and_changes_nothing_and_check_says_so() {
    let Some(shared) = SharedServices::find().await else { return };
    let working = tempfile::tempdir().unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = init_env(working.path());
        command.args(["--services", ALL]).args(arguments).arg("--dir").arg(shared.folder());
        command.output().await.unwrap()
    };
    let label = std::fs::read(shared.folder().join("chatctl-services.json")).unwrap();
    let first = run(&[]).await;
    assert!(first.status.success(), "{}", text(&first));
    let dotenv = std::fs::read(working.path().join(".env")).unwrap();
    let began = Instant::now();
    let second = run(&[]).await;
    let took = began.elapsed();
    assert!(second.status.success() && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(std::fs::read(working.path().join(".env")).unwrap(), dotenv);
    assert_eq!(std::fs::read(shared.folder().join("chatctl-services.json")).unwrap(), label);
    assert!(!text(&second).contains("wrote"), "{}", text(&second));

    let check = run(&["--check"]).await;
    let shown = text(&check);
    assert!(check.status.success(), "{shown}");
    assert_eq!(shown.matches("  healthy\n").count(), 4, "{shown}");
    for word in ["7.0.15", "9.1.2", "4.3.1", "5.0.9", "appendfsync always", "commitlog_sync batch"]
    {
        // The system's Redis may be another one.
        assert!(word == "7.0.15" || shown.contains(word), "{word} in {shown}");
    }
}

#[tokio::test]
async fn killed_services_come_back_where_they_were_with_their_data() {
    let kinds = ServiceKind::OURS;
    let Some(own) = OwnServices::start(&kinds, Nodes::One).await else { return };
    let (url, brokers) = (own.variable("REDIS_URL"), own.variable("KAFKA_BROKERS"));
    let client = redis::Client::open(url.as_str()).unwrap();
    let (key, value) = (unique("key"), unique("value"));
    let _: () = client.get_connection().unwrap().set(&key, &value).unwrap();
    let memory: u64 = own.nodes().map(|node| node.resident_bytes().unwrap()).sum();
    assert!(memory <= 3 << 29, "{memory} bytes are more than 1.5 GiB");

    own.nodes().for_each(|node| node.signal(Signal::KILL).unwrap());
    let reports = own.up().await;
    for report in &reports {
        assert!(report.health.is_ok(), "{:?}", report.health);
        assert!(report.created.is_empty(), "its topic or tables were lost: {report:?}");
    }
    assert_eq!((own.variable("REDIS_URL"), own.variable("KAFKA_BROKERS")), (url, brokers));
    let found: String = client.get_connection().unwrap().get(&key).unwrap();
    assert_eq!(found, value);
}

#[tokio::test]
async fn a_service_that_is_about_to_end_is_waited_for_and_started_again() {
    let Some(own) = OwnServices::start(&[ServiceKind::Redis], Nodes::One).await else { return };
    // Paused, it runs and does not serve: as one that was killed and is still being taken down.
    own.nodes().for_each(|node| node.signal(Signal::STOP).unwrap());
    let end = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        own.nodes().for_each(|node| node.signal(Signal::KILL).unwrap());
    };
    let (reports, ()) = tokio::join!(own.up(), end);
    assert!(reports[0].health.is_ok(), "{:?}", reports[0].health);
}

#[tokio::test]
async fn three_nodes_form_a_whole_within_four_gibibytes() {
    let kinds = ServiceKind::OURS;
    let Some(own) = OwnServices::start(&kinds, Nodes::Three).await else { return };
    assert_eq!(own.nodes().count(), 8);
    let memory: u64 = own.nodes().map(|node| node.resident_bytes().unwrap()).sum();
    assert!(memory <= 4 << 30, "{memory} bytes are more than 4 GiB");
    for report in own.up().await {
        let health = report.health.unwrap();
        if report.addresses.len() == 3 {
            assert!(health.durability.starts_with('3'), "{}", health.durability);
        }
    }
}

#[tokio::test]
async fn of_two_at_once_the_second_waits() {
    let Some(_) = SharedServices::find().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let first = Folder::open(&folder.path().join("services")).unwrap();
    let lock = first.lock(Duration::ZERO, |_| {}).await.unwrap();
    let mut second = init_env(folder.path())
        .args(["--services", "redis", "--fresh-ports", "--dir", "services"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = tokio::io::BufReader::new(second.stderr.take().unwrap());
    let mut lines = tokio::io::AsyncBufReadExt::lines(stderr);
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let holder = format!("waits for chatctl with pid {}", std::process::id());
    assert!(line.starts_with(&holder), "{line}");
    drop(lock);
    assert!(second.wait().await.unwrap().success());
    let down = init_env(folder.path()).args(["--down", "--dir", "services"]).output().await;
    assert!(down.unwrap().status.success());
}

#[tokio::test]
async fn a_run_killed_at_any_time_is_repaired_by_the_next() {
    let Some(_) = SharedServices::find().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = init_env(folder.path());
        command.args(["--services", "redis,kafka", "--fresh-ports", "--dir", "services"]);
        command
    };
    for after_ms in [5, 20, 60, 200, 700, 1500] {
        let mut child = command().stderr(std::process::Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        child.kill().await.unwrap();
    }
    let output = command().output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let check = command().arg("--check").output().await.unwrap();
    assert!(check.status.success(), "{}", text(&check));

    let stray = folder.path().join("services/not-ours");
    std::fs::write(&stray, "x").unwrap();
    let reset = command().args(["--down", "--reset"]).output().await.unwrap();
    let shown = text(&reset);
    assert!(reset.status.success() && shown.contains("services/redis"), "{shown}");
    assert!(stray.exists(), "what is not ours stays");
    assert!(!folder.path().join("services/redis/data").exists());
    let check = command().arg("--check").output().await.unwrap();
    assert_eq!(check.status.code(), Some(1), "{}", text(&check));
}

#[tokio::test]
async fn somebody_elses_services_are_checked_and_only_what_was_created_is_removed() {
    let Some(shared) = SharedServices::find().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let (topic, keyspace) = (unique("hints"), unique("k").replace('-', "_"));
    let run = async |arguments: &[&str]| {
        let mut command = init_env(folder.path());
        for key in ["REDIS_URL", "KAFKA_BROKERS", "CASSANDRA_HOSTS"] {
            command.env(key, shared.variable(key));
        }
        command.env("CHATCTL_KAFKA_TOPIC", &topic).env("CASSANDRA_KEYSPACE", &keyspace);
        command.args(["--dir", "state"]).args(arguments);
        // The last of a flag counts.
        command.args(["--mode", "external"]).output().await.unwrap()
    };
    let first = run(&[]).await;
    assert!(first.status.success(), "{}", text(&first));
    let label = || std::fs::read_to_string(folder.path().join("state/chatctl-services.json"));
    assert!(label().unwrap().contains(&topic) && label().unwrap().contains(&keyspace));
    let down = run(&["--down"]).await;
    assert_eq!(down.status.code(), Some(1), "{}", text(&down));
    let reset = run(&["--down", "--reset"]).await;
    assert!(reset.status.success() && text(&reset).contains(&topic), "{}", text(&reset));
    assert!(!label().unwrap().contains(&topic));
}

#[tokio::test]
async fn a_server_brings_up_what_its_engines_need() {
    let Some(shared) = SharedServices::find().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut server = tokio::process::Command::new(BINARY)
        .args(["serve", "--with-services", "--persistence-engine", "REDIS"])
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--redis-url", shared.variable("REDIS_URL"), "--redis-prefix", &unique("prefix")])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stdout = tokio::io::BufReader::new(server.stdout.take().unwrap());
    let mut lines = tokio::io::AsyncBufReadExt::lines(stdout);
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    let line = line.expect("ready");
    let mut ann = Peer::connect(line.strip_prefix("ready ").unwrap(), "ann").await;
    let conv = ann.open_user("bob").await["conv"].clone();
    assert_eq!(ann.send(&conv, "a", None).await["seq"], 1);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let run = async |arguments: &[&str]| {
        let output = init_env(folder.path()).args(arguments).output().await.unwrap();
        (output.status.code(), text(&output))
    };
    let (code, shown) = run(&["--services", "redis,mysql"]).await;
    assert!(
        code == Some(64) && shown.contains("use redis, valkey, kafka, cassandra or riak"),
        "{shown}"
    );
    let (code, shown) = run(&["--nodes", "2"]).await;
    assert!(code == Some(64) && shown.contains("use 1 or 3"), "{shown}");
    let (code, shown) = run(&["--check", "--dir", "nothing"]).await;
    assert!(code == Some(1) && shown.contains("run: chatctl init-env"), "{shown}");
    assert!(!folder.path().join("nothing").exists(), "a check makes nothing");
    std::fs::write(folder.path().join("theirs"), "x").unwrap();
    let (code, shown) = run(&["--dir", "."]).await;
    assert!(code == Some(1) && shown.contains("choose another --dir"), "{shown}");
    let (code, shown) = run(&["--mode", "docker", "--dir", "services"]).await;
    // Only where no container engine answers; elsewhere nothing must be started by a test.
    if shown.contains("container engine") {
        assert!(code == Some(1) && shown.contains("native"), "{shown}");
    }
}
