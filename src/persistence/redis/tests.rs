//! The engine against servers that fail, on real servers of our own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};

use super::{OpenError, RedisPersistence, RedisSettings, open};
use crate::model::{Durability, LIMITS, Order, Seq, UserName};
use crate::persistence::conformance::redis::{Server, fresh_settings, program};
use crate::persistence::conformance::subject::{PAST, Room, everything};
use crate::persistence::{AppendOutcome, EngineError, Persistence, RangeQuery};

/// Every call is answered within this.
const ANSWER_MAX: Duration = Duration::from_millis(LIMITS.answer_ms_max);
/// The engine works again this long after the server does.
const HEALED_MAX: Duration = Duration::from_secs(3);

const DISK: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

fn server(options: &[&str]) -> Option<Server> {
    let program = program("CHATCTL_TEST_REDIS_SERVER", &["redis-server"])?;
    Some(Server::start(&program, options))
}

async fn engine(settings: &RedisSettings) -> Arc<RedisPersistence> {
    open(settings.clone()).await.expect("the server runs")
}

fn room(name: &str) -> Room {
    Room::new(crate::model::Place::Channel(crate::model::ChannelName::new(name).unwrap()))
}

fn ann() -> UserName {
    UserName::new("ann").unwrap()
}

/// Another client's command.
fn command(server: &Server, words: &[&str]) -> redis::RedisResult<redis::Value> {
    let mut connection = redis::Client::open(server.url())?.get_connection()?;
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
}

async fn append(engine: &RedisPersistence, room: &Room) -> Result<u64, EngineError> {
    match engine.append(room.message(&ann(), PAST)).await? {
        AppendOutcome::Stored(stored) => Ok(stored.message.seq.0),
        other => panic!("{other:?}"),
    }
}

/// Until appends are stored again.
async fn healed(engine: &RedisPersistence, room: &Room) -> u64 {
    let started = Instant::now();
    loop {
        match append(engine, room).await {
            Ok(seq) => return seq,
            Err(error) => assert!(started.elapsed() < HEALED_MAX, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How often the server is killed: `CHATCTL_TEST_KILLS`, or a number that is quick.
#[expect(clippy::disallowed_methods, reason = "a setting of the test, not of the program")]
fn kills_asked() -> u32 {
    const QUICK: u32 = 3;
    std::env::var("CHATCTL_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(QUICK)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_loses_and_doubles_nothing() {
    let Some(mut server) = server(&DISK) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    assert_eq!(engine.durability(), Durability::DISK);
    let epoch = engine.epoch();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stored = Arc::new(AtomicU64::new(0));
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let (engine, stop, stored) =
                (Arc::clone(&engine), Arc::clone(&stop), Arc::clone(&stored));
            tokio::spawn(async move {
                let room = room(&format!("kills-{}", sender % 2));
                let mut acked: HashMap<String, u64> = HashMap::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let cid = format!("{sender}-{number}");
                    // Sent again under the same name until it is known to be stored.
                    let seq = loop {
                        let started = Instant::now();
                        let outcome = engine.append(room.named(&ann(), &cid, &cid, PAST)).await;
                        assert!(started.elapsed() < ANSWER_MAX);
                        match outcome {
                            Ok(AppendOutcome::Stored(stored)) => break stored.message.seq.0,
                            Ok(other) => panic!("{other:?}"),
                            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                        }
                    };
                    stored.fetch_add(1, Ordering::Relaxed);
                    acked.insert(cid, seq);
                }
                (sender % 2, acked)
            })
        })
        .collect();
    for _ in 0..kills_asked() {
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.restart();
        server.wait();
        let (before, healed) = (stored.load(Ordering::Relaxed), Instant::now());
        while stored.load(Ordering::Relaxed) < before + 50 {
            assert!(healed.elapsed() < HEALED_MAX, "not at work again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let shared: Arc<dyn Persistence> = engine.clone();
    let mut messages = Vec::new();
    for name in ["kills-0", "kills-1"] {
        let all = everything(&shared, room(name).conv).await;
        assert!(all.iter().zip(1..).all(|(message, seq)| message.seq == Seq(seq)), "no hole");
        messages.push(all);
    }
    for sender in join_all(senders).await {
        let (which, acked) = sender.expect("a sender");
        let all = everything(&shared, room(&format!("kills-{which}")).conv).await;
        for (cid, seq) in acked {
            let found: Vec<_> = all.iter().filter(|message| message.cid.as_str() == cid).collect();
            assert_eq!(found.len(), 1, "{cid} is there once");
            assert_eq!(found[0].seq, Seq(seq));
        }
    }
    assert_eq!(engine.epoch(), epoch, "nothing was lost");
    assert!(engine.lost_data().is_none());
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_gets_bounded_answers() {
    let Some(server) = server(&DISK) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    let room = room("paused");
    append(&engine, &room).await.unwrap();
    let pid = Pid::from_raw(server.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let stopped = Instant::now();
    let mut calls = Vec::new();
    while stopped.elapsed() < Duration::from_secs(5) {
        let (engine, message) = (Arc::clone(&engine), room.message(&ann(), PAST));
        let reads = room.history();
        calls.push(tokio::spawn(async move {
            let started = Instant::now();
            let (sent, read) = tokio::join!(engine.append(message), engine.range(reads));
            (started.elapsed(), sent.err().is_some_and(|error| error.is_definite()), read.is_ok())
        }));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(engine.health().is_err(), "not ready while nobody answers");
    kill_process(pid, Signal::CONT).unwrap();
    let first = healed(&engine, &room).await;
    assert!(engine.after(room.conv, Seq(first - 1), 1).await.is_ok());
    let mut refused = 0;
    for call in calls {
        let (took, definite, _) = call.await.unwrap();
        assert!(took < ANSWER_MAX, "{took:?}");
        refused += usize::from(definite);
    }
    assert!(refused > 50, "what was never sent is refused for certain: {refused}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_store_is_another_life() {
    let Some(mut server) = server(&DISK) else { return };
    let settings = fresh_settings(&server);
    let (engine, other) = (engine(&settings).await, engine(&settings).await);
    let room = room("emptied");
    assert_eq!(append(&engine, &room).await.unwrap(), 1);
    assert_eq!(append(&other, &room).await.unwrap(), 2);
    let epoch = engine.epoch();
    assert_eq!(other.epoch(), epoch);
    let mut renewals = engine.renewals().unwrap();
    command(&server, &["FLUSHALL"]).unwrap();
    server.kill();
    server.restart();
    server.wait();
    healed(&engine, &room).await;
    healed(&other, &room).await;
    assert_ne!(engine.epoch(), epoch, "numbers begin anew, so the epoch is new");
    assert_eq!(engine.epoch(), other.epoch(), "decided once");
    assert!(renewals.has_changed().unwrap() && *renewals.borrow_and_update() == 1);
    assert!(engine.lost_data().is_some() && other.lost_data().is_some());
    // Without a restart no connection is cut: what is stored before it is noticed is not called stored.
    let epoch = engine.epoch();
    command(&server, &["FLUSHALL"]).unwrap();
    let outcome = engine.append(room.message(&ann(), PAST)).await;
    match outcome {
        Ok(AppendOutcome::Stored(stored)) => assert_ne!(stored.epoch, epoch),
        Ok(other) => panic!("{other:?}"),
        Err(error) => assert!(!error.is_definite(), "{error:?}"),
    }
    healed(&engine, &room).await;
    assert_ne!(engine.epoch(), epoch);
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
    let epoch = engine.epoch();
    server.kill();
    server.restart();
    server.wait();
    let seq = healed(&engine, &room).await;
    assert_ne!(engine.epoch(), epoch);
    let opened = engine.open(room.opening(&ann(), 10)).await.unwrap();
    assert!(opened.acked.up_to.0 < seq && opened.head == Seq(seq) && !opened.became, "{opened:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_of_an_earlier_life_are_cut_to_what_it_left() {
    let Some(server) = server(&DISK) else { return };
    let settings = fresh_settings(&server);
    let first = engine(&settings).await;
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
    let old_epoch = first.epoch();
    command(&server, &["HSET", &lineage, "run_id", "another"]).unwrap();
    command(&server, &["CONFIG", "SET", "appendfsync", "everysec"]).unwrap();
    let second = engine(&settings).await;
    assert_ne!(second.epoch(), old_epoch);
    assert!(second.lost_data().is_some());
    for _ in 0..2 {
        append(&second, &room).await.unwrap();
    }
    let acked = second.open(room.opening(&ann(), 0)).await.unwrap().acked;
    assert_eq!((acked.up_to, acked.ranges), (Seq(4), vec![(Seq(6), Seq(8))]));
}

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

/// Prints what the engine takes and gives; run alone: `cargo test --release redis::tests::figures -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; takes minutes"]
#[expect(clippy::print_stdout, reason = "its only purpose")]
async fn figures() {
    const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
    const IN_FLIGHT: u64 = 2_000;
    let Some(server) = server(&["--appendonly", "no"]) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    let memory = || {
        let info = command(&server, &["INFO", "memory"]).unwrap();
        let info: String = redis::from_redis_value(info).unwrap();
        let field = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        field.trim().parse::<u64>().unwrap()
    };
    let content = "x".repeat(200);
    for size in SIZES {
        let (room, before, started) = (room(&format!("size-{size}")), memory(), Instant::now());
        for first in (0..size).step_by(IN_FLIGHT as usize) {
            let calls: Vec<_> = (first..(first + IN_FLIGHT).min(size))
                .map(|number| {
                    let cid = format!("{number:036}");
                    engine.append(room.named(&ann(), &cid, &content, PAST + number * 1_000))
                })
                .collect();
            assert!(join_all(calls).await.iter().all(Result::is_ok));
        }
        let (seconds, bytes) = (started.elapsed().as_secs_f64(), memory() - before);
        println!(
            "{size}: {:.0} writes/s, {:.0} bytes a message",
            size as f64 / seconds,
            bytes as f64 / size as f64
        );
    }
    let mut newest = SIZES.map(|_| Vec::new());
    let mut random = SIZES.map(|_| Vec::new());
    for _ in 0..5_000 {
        for (which, size) in SIZES.into_iter().enumerate() {
            let room = room(&format!("size-{size}"));
            let mut page = RangeQuery { order: Order::Desc, limit: 50, ..room.history() };
            let started = Instant::now();
            engine.range(page.clone()).await.unwrap();
            newest[which].push(started.elapsed());
            let seq = rand::random_range(51..=size);
            page.start = Some((PAST + (seq - 1) * 1_000, Seq(seq)));
            let started = Instant::now();
            engine.range(page).await.unwrap();
            random[which].push(started.elapsed());
        }
    }
    for (name, all) in [("newest", newest), ("random", random)] {
        for (mut times, size) in all.into_iter().zip(SIZES) {
            times.sort_unstable();
            let at = |share: f64| times[(times.len() as f64 * share) as usize];
            println!("{name} page of 50 at {size}: p50 {:?} p99 {:?}", at(0.5), at(0.99));
        }
    }
}
