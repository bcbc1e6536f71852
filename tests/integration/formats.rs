//! Stores of another version: refused at the start, with where they are, what was found and what to do; and left as they are.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use scylla::client::session_builder::SessionBuilder;
use tokio::time::timeout;

use crate::support::services::{SharedServices, init_env};
use crate::support::{PATIENCE, Server, log, unique};

/// Every file below a folder.
fn files(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.append(&mut files(&path)),
            false => drop(found.insert(path.clone(), std::fs::read(path).unwrap())),
        }
    }
    found
}

fn says(text: &str, parts: &[&str]) {
    assert_eq!(text.trim().lines().count(), 1, "one line: {text}");
    for part in parts.iter().chain(&["chatctl export", "chatctl import"]) {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn a_data_folder_of_another_format() {
    let mut server = Server::start().await;
    let mut ann = server.connect(&unique("ann")).await;
    let conv = ann.open_user(&unique("bob")).await["conv"].clone();
    ann.send(&conv, "c1", None).await;
    server.signal(rustix::process::Signal::TERM);
    server.wait_for_end().await;
    let marker = server.data_dir().join("chatctl.json");
    let text = std::fs::read_to_string(&marker).unwrap();
    for other in ["2", "0", "4000000000"] {
        std::fs::write(&marker, text.replace("\"format\": 1", &format!("\"format\": {other}")))
            .unwrap();
        let before = files(server.data_dir());
        let output = Server::command(server.data_dir()).stderr(Stdio::piped()).spawn().unwrap();
        let output = timeout(PATIENCE, output.wait_with_output()).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        log::check(&output.stderr);
        let folder = server.data_dir().display().to_string();
        let found = format!("format {other}");
        let said = String::from_utf8_lossy(&output.stderr);
        says(&said, &[&folder, &found, "only format 1", "CHATCTL_DATA_DIR"]);
        assert!(files(server.data_dir()) == before, "something was written");
    }
    std::fs::write(&marker, text).unwrap();
    server.restart().await;
    let mut ann = server.connect(&unique("ann")).await;
    ann.open_user(&unique("bob")).await;
}

#[tokio::test]
async fn a_redis_of_another_format() {
    let Some(shared) = SharedServices::find().await else { return };
    let (url, prefix) = (shared.variable("REDIS_URL"), unique("format:"));
    let variables = [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
        ("REDIS_URL", url),
        ("CHATCTL_REDIS_PREFIX", prefix.as_str()),
    ];
    let mut redis = redis::Client::open(url).unwrap().get_connection().unwrap();
    let lineage = format!("{prefix}{{lineage}}");
    // The whole of a store that another version has begun.
    redis::cmd("HSET").arg(&lineage).arg("format").arg("2").exec(&mut redis).unwrap();
    let address = url.trim_start_matches("redis://");
    let said = Server::refused(&variables).await;
    says(&said, &[&prefix, address, "format 2", "only format 1", "CHATCTL_REDIS_PREFIX"]);
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{prefix}*")).query(&mut redis).unwrap();
    assert_eq!(keys, std::slice::from_ref(&lineage), "something was written");
    redis::cmd("DEL").arg(&lineage).exec(&mut redis).unwrap();
}

#[tokio::test]
async fn a_keyspace_of_another_version() {
    let Some(shared) = SharedServices::find().await else { return };
    let (hosts, folder) = (shared.variable("CASSANDRA_HOSTS"), tempfile::tempdir().unwrap());
    let keyspace = unique("format").replace('-', "_");
    let variables = [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "CASSANDRA"),
        ("CASSANDRA_HOSTS", hosts),
        ("CASSANDRA_KEYSPACE", keyspace.as_str()),
    ];
    let made = init_env(folder.path())
        .args(["--mode", "external", "--services", "cassandra", "--print"])
        .envs(variables)
        .output();
    let made = made.await.unwrap();
    assert!(made.status.success(), "{made:?}");
    let nodes: Vec<_> = hosts.split(',').collect();
    let session = SessionBuilder::new().known_nodes(&nodes).build().await.unwrap();
    let ask = async |text: String| session.query_unpaged(text, ()).await.unwrap();
    ask(format!(
        "INSERT INTO {keyspace}.schema_version (version, applied_at) VALUES (99, toTimestamp(now()))"
    ))
    .await;
    let rows = async || {
        let tables = format!(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}'"
        );
        let tables = ask(tables).await.into_rows_result().unwrap();
        let tables: Vec<_> =
            tables.rows::<(String,)>().unwrap().map(|row| row.unwrap().0).collect();
        let mut rows = Vec::new();
        for table in tables {
            let found = ask(format!("SELECT JSON * FROM {keyspace}.{table}")).await;
            let found = found.into_rows_result().unwrap();
            rows.extend(
                found.rows::<(String,)>().unwrap().map(|row| (table.clone(), row.unwrap().0)),
            );
        }
        rows
    };
    let before = rows().await;
    assert!(before.len() >= 2, "{before:?}");
    let said = Server::refused(&variables).await;
    says(&said, &[&keyspace, nodes[0], "version 99", "only version", "CASSANDRA_KEYSPACE"]);
    assert_eq!(rows().await, before, "something was written");
    ask(format!("DROP KEYSPACE {keyspace}")).await;
}
