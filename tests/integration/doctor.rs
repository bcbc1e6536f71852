//! `chatctl doctor`: each thing that keeps a server from starting is found, named, and left as it is.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use crate::support::services::SharedServices;
use crate::support::{Server, chatctl, unique};

/// `chatctl doctor --json` with these variables and nothing of our environment.
fn doctor(data_dir: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = chatctl(&["doctor", "--json"]);
    command
        .env_clear()
        .env("CHATCTL_LISTEN", "127.0.0.1:0")
        .env("CHATCTL_ADMIN_LISTEN", "127.0.0.1:0")
        .env("CHATCTL_CONNECTIONS_MAX", "10")
        .env("CHATCTL_DATA_DIR", data_dir)
        // No .env is there.
        .current_dir("/")
        .envs(variables.iter().copied());
    command
}

/// The exit code, and all findings as `level check message`.
async fn findings(mut command: Command) -> (i32, Vec<String>) {
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let result: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let line = |finding: &Value| ["level", "check", "message"].map(|key| word(finding, key));
    let lines = result["findings"].as_array().unwrap().iter().map(|one| line(one).join(" "));
    (output.status.code().unwrap(), lines.collect())
}

#[track_caller]
fn assert_found(found: &[String], start: &str, parts: &[&str]) {
    let is =
        |line: &&String| line.starts_with(start) && parts.iter().all(|part| line.contains(part));
    assert!(found.iter().any(|line| is(&line)), "{start} {parts:?}: {found:#?}");
}

#[tokio::test]
async fn a_machine_that_is_ready_is_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let (code, found) = findings(doctor(&data_dir, &[])).await;
    assert_eq!(code, 0, "{found:#?}");
    assert!(found.iter().all(|line| line.starts_with("ok ")), "{found:#?}");
    assert_found(&found, "ok messages", &["LOCAL is of durability class disk"]);
    assert!(!data_dir.exists(), "it makes nothing");
}

#[tokio::test]
async fn beside_a_running_server_what_it_holds_is_named_and_it_goes_on() {
    let server = Server::start().await;
    let mut ann = server.connect(&unique("ann")).await;
    let conv = ann.open_user(&unique("bob")).await["conv"].clone();
    let taken = server.address();
    let (code, found) = findings(doctor(server.data_dir(), &[("CHATCTL_LISTEN", &taken)])).await;
    assert_eq!(code, 1);
    assert_found(&found, "fail data", &["in use by process", "CHATCTL_DATA_DIR"]);
    assert_found(&found, "fail listen", &[&taken, "taken"]);
    assert_eq!(ann.send(&conv, "c1", None).await["seq"], 1);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no key").unwrap();
    let path = file.to_str().unwrap();
    let variables = [
        ("CHATCTL_PING_MS", "soon"),
        ("CHATCTL_DRAIN_MS", "later"),
        ("CHATCTL_LISTN", "x"),
        ("CHATCTL_TLS_CERT", path),
        ("CHATCTL_TLS_KEY", path),
        ("CHATCTL_LOCAL_SYNC", "never"),
        ("CHATCTL_REQUIRE_DURABILITY", "disk"),
        ("CHATCTL_AUTH_JWKS_URL", "http://127.0.0.1:1/jwks?key=hunter2"),
        ("CHATCTL_AUTH_AUDIENCE", "chat"),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1"),
        ("CHATCTL_CONNECTIONS_MAX", "10000000"),
    ];
    let (code, found) = findings(doctor(&file.join("data"), &variables[..0])).await;
    assert_eq!(code, 1);
    assert_found(&found, "fail data", &["CHATCTL_DATA_DIR"]);
    let (code, found) = findings(doctor(&folder.path().join("data"), &variables)).await;
    assert_eq!(code, 1);
    assert_found(&found, "fail settings", &["CHATCTL_PING_MS", "soon"]);
    assert_found(&found, "fail settings", &["CHATCTL_DRAIN_MS", "later"]);
    assert_found(&found, "warn settings", &["CHATCTL_LISTN", "CHATCTL_LISTEN"]);
    assert_found(&found, "fail tls", &["CHATCTL_TLS_CERT"]);
    assert_found(&found, "fail messages", &["CHATCTL_REQUIRE_DURABILITY=disk", "always"]);
    assert_found(&found, "fail identity", &["CHATCTL_AUTH_JWKS_URL"]);
    assert_found(&found, "fail bus", &["REDIS_URL"]);
    assert_found(&found, "ok registry", &["LOCAL"]);
    assert_found(&found, "warn open_files", &["CHATCTL_CONNECTIONS_MAX=10000000"]);
    assert!(!found.concat().contains("hunter2"), "{found:#?}");
}

#[tokio::test]
async fn real_engines_are_asked_and_nothing_is_left_there() {
    let Some(services) = SharedServices::find().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let prefix = unique("doctor:");
    let (code, found) = findings(doctor(&data_dir, &services.on_kafka(&prefix))).await;
    assert_eq!(code, 0, "{found:#?}");
    assert_found(&found, "ok messages", &["REDIS is of durability class"]);
    assert_found(&found, "ok messages", &["the clock of REDIS is"]);
    assert_found(&found, "ok bus", &["chatctl-hints has its 16 partitions"]);
    assert_found(&found, "ok registry", &["answers"]);
    let client = redis::Client::open(services.variable("REDIS_URL")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let pattern = format!("{prefix}*");
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
    assert!(keys.is_empty(), "{keys:?}");

    let cassandra = [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "CASSANDRA"),
        ("CASSANDRA_HOSTS", services.variable("CASSANDRA_HOSTS")),
        ("KAFKA_BROKERS", services.variable("KAFKA_BROKERS")),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "KAFKA"),
        ("CHATCTL_KAFKA_TOPIC", "no-such-topic"),
        ("CHATCTL_REQUIRE_DURABILITY", "replicated+disk"),
    ];
    let (code, found) = findings(doctor(&data_dir, &cassandra)).await;
    assert_eq!(code, 1);
    assert_found(&found, "fail messages", &["CASSANDRA", "CHATCTL_REQUIRE_DURABILITY"]);
    assert_found(&found, "ok messages", &["the clock of CASSANDRA is"]);
    assert_found(&found, "fail bus", &["no-such-topic", "init-env"]);
    let missing = [cassandra[0], cassandra[1], ("CASSANDRA_KEYSPACE", "no_such_keyspace")];
    let (code, found) = findings(doctor(&data_dir, &missing)).await;
    assert_eq!(code, 1);
    assert_found(&found, "fail messages", &["no_such_keyspace", "init-env"]);
}
