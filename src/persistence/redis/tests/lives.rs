//! A store that comes back with less than it had acknowledged.

use super::*;
use crate::persistence::conformance::subject::epoch_of;
use crate::persistence::{OpenQuery, OpenView};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_store_is_another_life() {
    let Some(mut server) = server(&DISK) else { return };
    let settings = fresh_settings(&server);
    let (engine, other) = (engine(&settings).await, engine(&settings).await);
    let room = room("emptied");
    assert_eq!(append(&engine, &room).await.unwrap(), 1);
    assert_eq!(append(&other, &room).await.unwrap(), 2);
    let epoch = epoch_of(&*engine);
    assert_eq!(epoch_of(&*other), epoch);
    let mut renewals = engine.renewals().unwrap();
    command(&server, &["FLUSHALL"]).unwrap();
    server.kill();
    server.restart();
    server.wait();
    healed(&engine, &room).await;
    healed(&other, &room).await;
    assert_ne!(epoch_of(&*engine), epoch, "numbers begin anew, so the epoch is new");
    assert_eq!(epoch_of(&*engine), epoch_of(&*other), "decided once");
    assert!(renewals.has_changed().unwrap() && *renewals.borrow_and_update() == 1);
    assert!(engine.lost_data().is_some() && other.lost_data().is_some());
    // Without a restart no connection is cut: what is stored before it is noticed is not called stored.
    let epoch = epoch_of(&*engine);
    command(&server, &["FLUSHALL"]).unwrap();
    let outcome = engine.append(room.message(&ann(), PAST)).await;
    match outcome {
        Ok(AppendOutcome::Stored(stored)) => assert_ne!(stored.epoch, epoch),
        Ok(other) => panic!("{other:?}"),
        Err(error) => assert!(!error.is_definite(), "{error:?}"),
    }
    healed(&engine, &room).await;
    assert_ne!(epoch_of(&*engine), epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_below_class_disk_is_another_life_that_keeps_what_survived() {
    let options = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let Some(mut server) = server(&options) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    assert_eq!(engine.durability(), Durability::PROCESS);
    let room = room("restarted");
    engine.open(room.opening(&ann(), 10)).await.unwrap();
    for _ in 0..5 {
        append(&engine, &room).await.unwrap();
    }
    engine.ack(room.acking(&ann(), 5, &[])).await.unwrap();
    let epoch = epoch_of(&*engine);
    server.kill();
    server.restart();
    server.wait();
    let seq = healed(&engine, &room).await;
    assert_ne!(epoch_of(&*engine), epoch);
    let opened = engine.open(room.opening(&ann(), 10)).await.unwrap();
    assert!(opened.acked.up_to.0 < seq && opened.head == Seq(seq) && !opened.became, "{opened:?}");
}

/// The case for what a conversation notes of its lives.
pub async fn acknowledgements_end_where_an_earlier_life_did(scripts: &'static Scripts) {
    let Some(server) = server(&DISK) else { return };
    let settings = fresh_settings(&server);
    let first = engine_with(&settings, scripts).await;
    let room = room("cut");
    first.open(room.opening(&ann(), 0)).await.unwrap();
    for _ in 0..9 {
        append(&first, &room).await.unwrap();
    }
    first.ack(room.acking(&ann(), 4, &[(6, 10)])).await.unwrap();
    first.close().await;
    // A backup from before: the end of the conversation is gone, the acknowledgement is not.
    let key = |part: &str| format!("{}{{{}}}:{part}", settings.prefix, room.conv);
    command(&server, &["HSET", &key("h"), "head", "7"]).unwrap();
    for seq in ["8", "9"] {
        command(&server, &["HDEL", &key("m"), seq]).unwrap();
        command(&server, &["ZREM", &key("t"), &format!("{seq:0>16}")]).unwrap();
    }
    let lineage = format!("{}{{lineage}}", settings.prefix);
    let old_epoch = epoch_of(&*first);
    command(&server, &["HSET", &lineage, "run_id", "another"]).unwrap();
    command(&server, &["CONFIG", "SET", "appendfsync", "everysec"]).unwrap();
    let second = engine_with(&settings, scripts).await;
    assert_ne!(epoch_of(&*second), old_epoch);
    assert!(second.lost_data().is_some());
    for _ in 0..2 {
        append(&second, &room).await.unwrap();
    }
    let acked = second.open(room.opening(&ann(), 0)).await.unwrap().acked;
    assert_eq!((acked.up_to, acked.ranges), (Seq(4), vec![(Seq(6), Seq(8))]));
}

/// The case for what the lineage notes of a start.
pub async fn a_start_that_lost_nothing_is_remembered(scripts: &'static Scripts) {
    let Some(mut server) = server(&DISK) else { return };
    let settings = fresh_settings(&server);
    let first = engine_with(&settings, scripts).await;
    let room = room("remembered");
    append(&first, &room).await.unwrap();
    server.kill();
    server.restart();
    server.wait();
    healed(&first, &room).await;
    // From here on a start would count as a loss, but there is none.
    command(&server, &["CONFIG", "SET", "appendfsync", "no"]).unwrap();
    let second = engine_with(&settings, scripts).await;
    assert_eq!(
        epoch_of(&*second),
        epoch_of(&*first),
        "the start is not held against the store later"
    );
    assert!(second.lost_data().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_of_an_earlier_life_are_cut_to_what_it_left() {
    acknowledgements_end_where_an_earlier_life_did(&SCRIPTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_lost_nothing_is_not_held_against_a_weaker_class_later() {
    a_start_that_lost_nothing_is_remembered(&SCRIPTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_not_heard_of_a_new_life_does_not_continue_the_old_one() {
    let Some(server) = server(&FAST) else { return };
    let settings = fresh_settings(&server);
    let (unaware, repairing) = (engine(&settings).await, engine(&settings).await);
    let (room, epoch) = (room("unaware"), epoch_of(&*unaware));
    for _ in 0..3 {
        append(&unaware, &room).await.unwrap();
    }
    unaware.open(room.opening(&ann(), 10)).await.unwrap();
    // A node that starts now finds another process of a server that may lose messages.
    let lineage = format!("{}{{lineage}}", settings.prefix);
    command(&server, &["HSET", &lineage, "run_id", "another"]).unwrap();
    let aware = engine(&settings).await;
    assert_ne!(epoch_of(&*aware), epoch);
    assert_eq!(append(&aware, &room).await.unwrap(), 4);
    let following = repairing.after(room.conv, Seq(2), 10).await.unwrap();
    assert_eq!(following.epoch, epoch_of(&*aware), "a page says which life it is of");
    assert_eq!(following.page.items.len(), 2);
    let resume = Some((epoch.clone(), Seq(2)));
    let opened = unaware.open(OpenQuery { resume, ..room.opening(&ann(), 10) }).await.unwrap();
    assert_eq!(opened.epoch, epoch_of(&*aware), "answered in the new life");
    assert!(matches!(opened.view, OpenView::Page { .. }), "and not continued from the old");
    assert!(unaware.lost_data().is_some() && epoch_of(&*unaware) == epoch_of(&*aware));
}

/// The case for the format that a store has.
pub async fn a_store_of_another_format_is_refused_untouched(scripts: &'static Scripts) {
    let Some(server) = server(&DISK) else { return };
    let settings = fresh_settings(&server);
    let lineage = format!("{}{{lineage}}", settings.prefix);
    let format = || command(&server, &["HGET", &lineage, "format"]).unwrap();
    let first = engine_with(&settings, scripts).await;
    append(&first, &room("formats")).await.unwrap();
    assert_eq!(format(), redis::Value::BulkString(b"1".to_vec()));

    command(&server, &["HSET", &lineage, "format", "7"]).unwrap();
    let all = || {
        let keys = command(&server, &["KEYS", &format!("{}*", settings.prefix)]).unwrap();
        let redis::Value::Array(keys) = keys else { panic!("{keys:?}") };
        let mut all: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let key: String = redis::from_redis_value(key).unwrap();
                let dump = command(&server, &["DUMP", &key]).unwrap();
                (key, format!("{dump:?}"))
            })
            .collect();
        all.sort();
        all
    };
    first.close().await;
    let before = all();
    let begun = Instant::now();
    let started = open_with(settings.clone(), scripts, LANES).await.err().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "it is not tried again and again");
    let examined = crate::persistence::redis::examine(&settings).await.err().unwrap();
    for error in [started, examined] {
        assert!(matches!(error, OpenError::Format(_)), "{error}");
        let text = error.to_string();
        let address = server.url().trim_start_matches("redis://").to_owned();
        for part in [&settings.prefix, &address, "format 7", "format 1", "chatctl export"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    assert_eq!(all(), before);

    // From when formats were not written down.
    command(&server, &["HDEL", &lineage, "format"]).unwrap();
    let again = engine_with(&settings, scripts).await;
    assert_eq!(append(&again, &room("formats")).await.unwrap(), 2);
    assert_eq!(format(), redis::Value::BulkString(b"1".to_vec()));
}
