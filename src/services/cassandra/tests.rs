use std::path::Path;

use super::*;
use crate::services::{SchemaFile, free_port};

fn settings(folder: &Path, count: u8) -> CassandraSettings {
    let node = |host| CassandraNode {
        host: Ipv4Addr::new(127, 0, 0, host),
        cql_port: 9042,
        storage_port: 7000,
    };
    CassandraSettings {
        folder: folder.to_owned(),
        artifacts: Arc::new(Artifacts::new(std::env::temp_dir().join("chatctl-test-cache"))),
        nodes: (1..=count).map(node).collect(),
        heap_mb: 512,
        commitlog_sync: CommitlogSync::default(),
        access: Access::default(),
        encryption: None,
    }
}

#[test]
fn no_placeholder_is_left() {
    let text = recipe::configuration(&settings(Path::new("/env"), 3), 1, Path::new("/env/node-2"));
    assert!(!text.contains('@'), "{text}");
    for line in [
        "listen_address: 127.0.0.2\n",
        "seeds: \"127.0.0.1:7000,127.0.0.2:7000,127.0.0.3:7000\"\n",
        "initial_token: \"-3074457345618258603\"\n",
        "\ncommitlog_sync: batch\n",
        "native_transport_port: 9042\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn a_schema_file_is_taken_apart() {
    let cql = "-- Rooms; and more;\nCREATE TABLE a (\n  b text, -- not the end; this\n);\n\nCREATE TABLE c (d text PRIMARY KEY);";
    let found = client::statements(cql);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[1], "CREATE TABLE c (d text PRIMARY KEY)");
}

#[tokio::test]
async fn somebody_elses_is_never_started_nor_stopped_nor_wiped() {
    let service =
        CassandraService::at(vec!["cassandra.example:9042".to_owned()], Access::default());
    assert!(service.processes().is_empty());
    for result in [
        service.prepare(&Progress::silent()).await,
        service.start(&Progress::silent()).await,
        service.stop().await,
        service.wipe().await,
    ] {
        assert!(matches!(result, Err(ServiceError::Refused(_))), "{result:?}");
    }
}

#[rstest::rstest]
#[case(1)]
#[case(3)]
#[tokio::test]
#[ignore = "needs Java 17 and the jars of Cassandra"]
async fn it_starts_provides_and_outlives_a_kill(#[case] count: u8) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), count);
    let hosts: Vec<_> = settings.nodes.iter().map(|node| node.host.into()).collect();
    let (cql_port, storage_port) =
        (free_port(&hosts, None).unwrap(), free_port(&hosts, None).unwrap());
    for node in &mut settings.nodes {
        (node.cql_port, node.storage_port) = (cql_port, storage_port);
    }
    let cassandra = CassandraService::native(settings);
    let progress = Progress::silent();
    cassandra.prepare(&progress).await.unwrap();
    let began = tokio::time::Instant::now();
    cassandra.start(&progress).await.unwrap();
    eprintln!("cassandra {count}: new {:?}", began.elapsed());
    let schema = &[SchemaFile {
        version: 1,
        cql: "CREATE TABLE IF NOT EXISTS words (word text PRIMARY KEY);\n",
    }];
    let provision = Provision {
        kafka_topic: String::new(),
        kafka_partitions: 1,
        cassandra_keyspace: "Words".into(),
        cassandra_replication: count.into(),
        cassandra_schema: schema,
    };
    let created = cassandra.provision(&provision).await.unwrap();
    assert_eq!(created, ["keyspace Words", "tables of Words, version 1"]);
    assert!(cassandra.provision(&provision).await.unwrap().is_empty());
    let other = Provision { cassandra_replication: 2, ..provision.clone() };
    let error = cassandra.provision(&other).await.unwrap_err().to_string();
    assert!(error.contains("CASSANDRA_KEYSPACE"), "{error}");
    let older = Provision { cassandra_schema: &[], ..provision.clone() };
    let error = cassandra.provision(&older).await.unwrap_err().to_string();
    assert!(error.contains("made by a newer chatctl"), "{error}");
    eprintln!("cassandra {count}: {:?} at {:?}", cassandra.probe().await.unwrap(), began.elapsed());
    for node in cassandra.processes() {
        eprintln!("cassandra {count}: {:?} MiB", node.resident_bytes().map(|bytes| bytes >> 20));
        node.kill().await.unwrap();
    }
    assert!(cassandra.probe().await.is_err());
    let began = tokio::time::Instant::now();
    cassandra.start(&progress).await.unwrap();
    eprintln!("cassandra {count}: after kill -9 {:?}", began.elapsed());
    assert!(cassandra.provision(&provision).await.unwrap().is_empty(), "the tables were kept");
    cassandra.drop_keyspace("Words").await.unwrap();
    cassandra.drop_keyspace("Words").await.unwrap();
    let began = tokio::time::Instant::now();
    cassandra.stop().await.unwrap();
    eprintln!("cassandra {count}: stop {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(19), "it was not killed");
    cassandra.wipe().await.unwrap();
    assert!(!folder.path().exists());
}
