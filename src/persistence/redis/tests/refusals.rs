//! A server that answers, but refuses.

use super::*;
use crate::persistence::conformance::subject::epoch_of;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_refuses_for_certain_and_reads_go_on() {
    let Some(server) = server(&DISK) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    let room = room("refused");
    append(&engine, &room).await.unwrap();
    engine.open(room.opening(&ann(), 10)).await.unwrap();

    command(&server, &["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    let error = append(&engine, &room).await.unwrap_err();
    assert!(matches!(error, EngineError::StorageFull(_)), "{error:?}");
    assert!(engine.open(room.opening(&ann(), 10)).await.is_ok(), "reads go on");
    command(&server, &["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    assert_eq!(healed(&engine, &room).await, 2, "a refusal takes no number");

    command(&server, &["CONFIG", "SET", "min-replicas-to-write", "1"]).unwrap();
    let error = append(&engine, &room).await.unwrap_err();
    assert!(matches!(error, EngineError::ReadOnly(_)), "{error:?}");
    command(&server, &["CONFIG", "SET", "min-replicas-to-write", "0"]).unwrap();

    command(&server, &["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    let error = append(&engine, &room).await.unwrap_err();
    assert!(matches!(error, EngineError::ReadOnly(_)), "{error:?}");
    assert!(engine.range(room.history()).await.is_ok(), "reads go on");
    let refused = open(fresh_settings(&server)).await;
    assert!(matches!(refused, Err(OpenError::Replica | OpenError::Connect(_))));
    command(&server, &["REPLICAOF", "NO", "ONE"]).unwrap();
    assert_eq!(healed(&engine, &room).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_loaded_again_and_the_order_stays() {
    let Some(server) = server(&DISK) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    let room = room("flushed");
    for round in 0..5u64 {
        let calls: Vec<_> = (0..40).map(|_| engine.append(room.message(&ann(), PAST))).collect();
        command(&server, &["SCRIPT", "FLUSH"]).unwrap();
        let mut last = round;
        for outcome in join_all(calls).await {
            match outcome {
                Ok(AppendOutcome::Stored(stored)) => {
                    assert!(stored.message.seq.0 > last, "in the order of the calls");
                    last = stored.message.seq.0;
                }
                other => assert!(other.unwrap_err().is_definite()),
            }
        }
        command(&server, &["SCRIPT", "FLUSH"]).unwrap();
        assert!(engine.range(room.history()).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_unavailable_or_late_but_never_silent() {
    let Some(server) = server(&DISK) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    let room = room("busy");
    append(&engine, &room).await.unwrap();
    command(&server, &["CONFIG", "SET", "busy-reply-threshold", "100"]).unwrap();
    let url = server.url();
    let busy = std::thread::spawn(move || {
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        redis::cmd("EVAL").arg("while true do end").arg(0).query::<()>(&mut connection)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    let error = append(&engine, &room).await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
    assert!(started.elapsed() < ANSWER_MAX);
    command(&server, &["SCRIPT", "KILL"]).unwrap();
    assert!(busy.join().unwrap().is_err());
    assert_eq!(healed(&engine, &room).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_write_its_disk_refuses_for_certain() {
    let Some(server) = server(&DISK) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    let room = room("disk");
    append(&engine, &room).await.unwrap();
    // A folder where the snapshot would be: saving it fails, and the server stops writes (MISCONF).
    std::fs::create_dir(server.folder().join("dump.rdb")).unwrap();
    command(&server, &["CONFIG", "SET", "save", "3600 1"]).unwrap();
    command(&server, &["BGSAVE"]).unwrap();
    let begun = Instant::now();
    let error = loop {
        match append(&engine, &room).await {
            Ok(_) => assert!(begun.elapsed() < ANSWER_MAX, "it saves all the same"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(matches!(error, EngineError::ReadOnly(_)) && error.is_definite(), "{error:?}");
    assert!(engine.range(room.history()).await.is_ok(), "reads go on");
    let stored = engine.range(room.history()).await.unwrap().items.len() as u64;
    command(&server, &["CONFIG", "SET", "save", ""]).unwrap();
    assert_eq!(healed(&engine, &room).await, stored + 1, "a refusal takes no number");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loads_its_data_refuses_for_certain_and_then_goes_on() {
    let Some(mut server) = server(&DISK) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    let room = room("loading");
    for _ in 0..40 {
        append(&engine, &room).await.unwrap();
    }
    let epoch = epoch_of(&*engine);
    server.kill();
    // Each call in the log takes this long, µs, and connections are answered in between.
    server.add_options(&["--key-load-delay", "15000", "--loading-process-events-interval-bytes"]);
    server.add_options(&["1024"]);
    server.restart();
    let begun = Instant::now();
    let mut refusals = 0;
    loop {
        let called = Instant::now();
        let outcome = append(&engine, &room).await;
        assert!(called.elapsed() < ANSWER_MAX, "{outcome:?}");
        match outcome {
            Ok(seq) => break assert_eq!(seq, 41, "a refusal takes no number"),
            // The first may still be on the connection that broke off.
            Err(error) => refusals += usize::from(error.is_definite()),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it never ends loading");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(refusals > 0, "it was loading for a while");
    assert_eq!(epoch_of(&*engine), epoch, "nothing was lost");
}
