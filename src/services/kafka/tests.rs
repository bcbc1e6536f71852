use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::services::free_port;

#[test]
fn no_placeholder_is_left() {
    let node = |port| KafkaNode { port, controller_port: port + 1 };
    let nodes = [node(9092), node(9094), node(9096)];
    let one = recipe::properties(&nodes[..1], &[], 0, Path::new("/env/kafka/node-1"));
    let listeners: Vec<_> = (0..3)
        .map(|broker| KafkaListener {
            protocol: "PLAINTEXT",
            name: "SERVER1".to_owned(),
            broker,
            port: 20_001 + u16::try_from(broker).unwrap(),
            advertised_port: 30_001 + u16::try_from(broker).unwrap(),
        })
        .collect();
    let three = recipe::properties(&nodes, &listeners, 2, Path::new("/env/kafka/node-3"));
    assert!(!one.replace("1@127.", "").contains('@'), "{one}");
    assert!(three.contains("node.id=3\n"), "{three}");
    assert!(
        three.contains("quorum.voters=1@127.0.0.1:9093,2@127.0.0.1:9095,3@127.0.0.1:9097\n"),
        "{three}"
    );
    assert!(
        three.contains(
            "\nlisteners=PLAINTEXT://127.0.0.1:9096,CONTROLLER://127.0.0.1:9097,SERVER1://127.0.0.1:20003\n"
        ),
        "{three}"
    );
    assert!(
        three.contains(
            "\nadvertised.listeners=PLAINTEXT://127.0.0.1:9096,SERVER1://127.0.0.1:30003\n"
        ),
        "{three}"
    );
    assert!(three.contains(",CONTROLLER:PLAINTEXT,SERVER1:PLAINTEXT\n"), "{three}");
    assert!(three.contains("\nmin.insync.replicas=2\n"), "{three}");
}

#[tokio::test]
async fn somebody_elses_is_never_started_nor_stopped_nor_wiped() {
    let service = KafkaService::at(vec!["kafka.example:9092".to_owned()].into());
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
#[ignore = "needs Java and the jars of Kafka"]
async fn it_starts_provides_and_outlives_a_kill(#[case] count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let cache = std::env::temp_dir().join("chatctl-test-cache");
    let loopback = [std::net::Ipv4Addr::LOCALHOST.into()];
    let port = || free_port(&loopback, None).unwrap();
    let service = |nodes| {
        KafkaService::native(KafkaSettings {
            folder: folder.path().to_owned(),
            artifacts: Arc::new(Artifacts::new(cache.clone())),
            listeners: Vec::new(),
            nodes,
            users: Vec::new(),
            properties: String::new(),
            heap_mb: 256,
        })
    };
    let nodes =
        || (0..count).map(|_| KafkaNode { port: port(), controller_port: port() }).collect();
    let progress = Progress::silent();
    let kafka = service(nodes());
    kafka.prepare(&progress).await.unwrap();
    let began = tokio::time::Instant::now();
    kafka.start(&progress).await.unwrap();
    eprintln!("kafka {count}: new {:?}", began.elapsed());
    let provision = Provision {
        kafka_topic: "hints".into(),
        kafka_partitions: 4,
        cassandra_keyspace: String::new(),
        cassandra_replication: 1,
        cassandra_schema: &[],
    };
    assert_eq!(kafka.provision(&provision).await.unwrap(), ["topic hints"]);
    assert!(kafka.provision(&provision).await.unwrap().is_empty());
    let other = Provision { kafka_partitions: 5, ..provision.clone() };
    let error = kafka.provision(&other).await.unwrap_err().to_string();
    assert!(error.contains("CHATCTL_KAFKA_PARTITIONS"), "{error}");
    eprintln!("kafka {count}: {:?} at {:?}", kafka.probe().await.unwrap(), began.elapsed());
    for node in kafka.processes() {
        eprintln!("kafka {count}: {:?} MiB", node.resident_bytes().map(|bytes| bytes >> 20));
        node.kill().await.unwrap();
    }
    assert!(kafka.probe().await.is_err());
    // On other ports, and with one node's mark of being formatted lost.
    let kafka = service(nodes());
    std::fs::remove_file(folder.path().join("node-1/data/meta.properties")).unwrap();
    let began = tokio::time::Instant::now();
    kafka.start(&progress).await.unwrap();
    eprintln!("kafka {count}: after kill -9 {:?}", began.elapsed());
    assert!(kafka.provision(&provision).await.unwrap().is_empty(), "the topic was kept");
    kafka.delete_topic("hints").await.unwrap();
    kafka.delete_topic("hints").await.unwrap();
    let began = tokio::time::Instant::now();
    kafka.stop().await.unwrap();
    eprintln!("kafka {count}: stop {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(19), "it was not killed");
    kafka.wipe().await.unwrap();
    assert!(!folder.path().exists());
}
