//! A store that comes back with less than it had acknowledged, and one that is not as it should be.

use crate::persistence::conformance::subject::epoch_of;
use scylla::client::session::Session;

use super::*;
use crate::cassandra_link::{self, Cluster};
use crate::persistence::conformance::cassandra::TABLES;

pub(super) async fn session(settings: &CassandraSettings) -> Session {
    let profile = cassandra_link::profile();
    let session = cassandra_link::connect(&settings.cluster, profile).await.expect("the node runs");
    Box::pin(session.use_keyspace(&settings.keyspace, true)).await.expect("it is there");
    session
}

pub(super) async fn run(session: &Session, text: &str) {
    session.query_unpaged(text, ()).await.unwrap_or_else(|error| panic!("{text}: {error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_lost_something_is_another_life() {
    let Some(ring) = Ring::start(1, CommitlogSync::Batch) else { return };
    let settings = ring.keyspace(ROWS).await;
    let (first, other) = (engine(&settings).await, engine(&settings).await);
    let room = room("emptied");
    first.open(room.opening(&ann(), 0)).await.unwrap();
    for seq in 1..=20 {
        assert_eq!(append(&first, &room).await.unwrap(), seq);
    }
    assert_eq!(append(&other, &room).await.unwrap(), 21);
    first.ack(room.acking(&ann(), 21, &[])).await.unwrap();
    let epoch = epoch_of(&*first);
    // A backup from before: the second bucket is gone.
    let session = session(&settings).await;
    run(&session, &format!("DELETE FROM messages WHERE conv = {} AND bucket = 1", hex(&room)))
        .await;
    let outcome = first.append(room.message(&ann(), PAST)).await;
    let seq = match stored(outcome) {
        Ok(seq) => seq,
        Err(error) => {
            assert!(error.is_definite(), "{error:?}");
            insist(&first, &room, "after", "after").await
        }
    };
    assert_eq!(seq, 17, "numbers go on from what is left");
    assert_ne!(epoch_of(&*first), epoch, "under another epoch");
    assert!(first.lost_data().is_some());
    let started = Instant::now();
    while epoch_of(&*other) != epoch_of(&*first) {
        assert!(started.elapsed() < HEALED_MAX, "the other server hears of it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let resume = Some((epoch, Seq(16)));
    let opened = other.open(OpenQuery { resume, ..room.opening(&ann(), 10) }).await.unwrap();
    assert!(matches!(opened.view, OpenView::Page { .. }), "not continued from the old one");
    assert_eq!(
        (opened.head, opened.acked.up_to),
        (Seq(17), Seq(16)),
        "what is gone is not acknowledged"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_below_class_disk_is_another_life_and_at_class_disk_is_not() {
    for (sync, class, is_same) in
        [(CommitlogSync::Periodic, "service", false), (CommitlogSync::Batch, "disk", true)]
    {
        let Some(mut ring) = Ring::start(1, sync) else { return };
        let settings = ring.keyspace(ROWS).await;
        let first = engine(&settings).await;
        assert_eq!(first.durability(), class.parse::<Durability>().unwrap());
        assert_eq!(first.advice().is_empty(), is_same, "{}", first.advice());
        let room = room("restarted");
        append(&first, &room).await.unwrap();
        let epoch = epoch_of(&*first);
        ring.nodes()[0].kill().await.unwrap();
        let error = append(&first, &room).await.unwrap_err();
        assert!(first.health().is_err(), "{error:?}");
        ring.serve().await;
        let started = Instant::now();
        while append(&first, &room).await.is_err() {
            assert!(started.elapsed() < HEALED_MAX);
        }
        assert_eq!(epoch_of(&*first) == epoch, is_same, "class {class}");
        assert_eq!(first.lost_data().is_none(), is_same);
        first.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_not_ready_is_refused_with_what_to_do() {
    let Some(ring) = Ring::start(1, CommitlogSync::Periodic) else { return };
    let settings = ring.keyspace(ROWS).await;
    let refused = async |settings: CassandraSettings| match open(settings).await {
        Err(OpenError::Setup(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is opened"),
    };
    let text =
        refused(CassandraSettings { keyspace: "nowhere".to_owned(), ..settings.clone() }).await;
    assert!(text.contains("nowhere") && text.contains("init-env --services cassandra"), "{text}");
    let cluster = Cluster { datacenter: Some("mars".to_owned()), ..settings.cluster.clone() };
    let text = refused(CassandraSettings { cluster, ..settings.clone() }).await;
    assert!(
        text.contains("CHATCTL_CASSANDRA_DATACENTER=mars") && text.contains("datacenter1"),
        "{text}"
    );
    let session = session(&settings).await;
    run(
        &session,
        "INSERT INTO schema_version (version, applied_at) VALUES (99, toTimestamp(now()))",
    )
    .await;
    let text = refused(settings.clone()).await;
    assert!(text.contains("version 99") && text.contains("chatctl export"), "{text}");
    run(&session, "TRUNCATE schema_version").await;
    let text = refused(settings.clone()).await;
    assert!(text.contains("version 0") && text.contains("init-env"), "{text}");
    let cluster = Cluster { hosts: vec!["127.0.0.1:1".to_owned()], ..Cluster::default() };
    let error = open(CassandraSettings { cluster, ..settings }).await.err().unwrap().to_string();
    assert!(error.contains("CASSANDRA_HOSTS=127.0.0.1:1"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_tables_are_brought_up_to_date_and_what_is_in_them_stays() {
    let Some(ring) = Ring::start(1, CommitlogSync::Periodic) else { return };
    let settings = ring.keyspace_of(ROWS, &TABLES[..1]).await;
    let room = room("older");
    let session = session(&settings).await;
    let old = format!(
        "INSERT INTO messages (conv, bucket, head, high, floor, generation, cuts, \
         seq, sender, cid, kind, content, ts, at, late, tag) \
         VALUES ({}, 0, 1, {PAST}, 0, 1, '', 1, 'ann', 'old', 'text', 'old', {PAST}, {PAST}, false, 1)",
        hex(&room)
    );
    run(&session, &old).await;
    let text = open(settings.clone()).await.err().expect("they are too old").to_string();
    assert!(text.contains("version 1, and version 2") && text.contains("init-env"), "{text}");
    for _ in 0..2 {
        ring.provide(&settings.keyspace, TABLES).await;
        // As if it had broken off before that was noted: it is done again.
        run(&session, "DELETE FROM schema_version WHERE version = 2").await;
    }
    ring.provide(&settings.keyspace, TABLES).await;
    let engine = engine(&settings).await;
    assert_eq!(append(&engine, &room).await.unwrap(), 2);
    let shared: Arc<dyn Persistence> = engine;
    assert_eq!(everything(&shared, room.conv).await[0].content, "old");
}

pub(super) fn hex(room: &Room) -> String {
    let bytes = room.conv.as_bytes().iter().map(|byte| format!("{byte:02x}"));
    format!("0x{}", bytes.collect::<String>())
}
