//! What the engine takes and gives, as tables. Run one at a time, on a quiet machine:
//! `cargo test --release figures::NAME -- --ignored --nocapture`.
#![expect(clippy::print_stdout, reason = "its only purpose")]

use std::process::Command;

use redis::{Arg, Cmd};

use super::*;
use crate::model::LIMITS;

/// Calls that wait at once, in the engine as in `redis-benchmark`.
const CONCURRENCY: usize = 64;
/// How long each rate is measured.
const MEASURED: Duration = Duration::from_secs(4);
/// Messages on a page.
const PAGE: usize = 50;

fn content() -> String {
    "x".repeat(200)
}

/// The load of the machine in the last minute.
fn machine_load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Stores messages 1 s apart, many at once.
async fn fill(engine: &RedisPersistence, rooms: &[Room], each: u64) {
    const IN_FLIGHT: usize = 2_000;
    let all = rooms.iter().flat_map(|room| (0..each).map(move |number| (room, number)));
    let content = content();
    let mut calls = Vec::new();
    for (room, number) in all {
        let cid = format!("{number:036}");
        calls.push(store(engine, room.named(&ann(), &cid, &content, PAST + number * 1_000)));
        if calls.len() == IN_FLIGHT {
            join_all(std::mem::take(&mut calls)).await;
        }
    }
    join_all(calls).await;
}

/// Stores a message; again, under its name, where a busy machine made it wait too long.
async fn store(engine: &RedisPersistence, message: Append) {
    const ATTEMPTS_MAX: u32 = 50;
    for _ in 0..ATTEMPTS_MAX {
        match engine.append(message.clone()).await {
            Ok(_) => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("{:?} is not stored", message.cid);
}

fn used_memory(server: &Server) -> u64 {
    let info = command(server, &["INFO", "memory"]).unwrap();
    let info: String = redis::from_redis_value(info).unwrap();
    let field = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    field.trim().parse().unwrap()
}

/// Reads of pages as one conversation grows, and spread over many; one store, reads interleaved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for minutes"]
async fn pages() {
    const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
    const SPREAD: (usize, u64) = (10_000, 100);
    const ROUNDS: usize = 4_000;
    let Some(server) = server(&["--appendonly", "no"]) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    for size in SIZES {
        let (before, started) = (used_memory(&server), Instant::now());
        fill(&engine, &[room(&format!("size-{size}"))], size).await;
        let (seconds, bytes) = (started.elapsed().as_secs_f64(), used_memory(&server) - before);
        println!(
            "{size}: {:.0} writes/s, {:.0} bytes a message",
            size as f64 / seconds,
            bytes as f64 / size as f64
        );
    }
    let spread: Vec<Room> = (0..SPREAD.0).map(|at| room(&format!("spread-{at}"))).collect();
    let before = used_memory(&server);
    fill(&engine, &spread, SPREAD.1).await;
    let messages = SPREAD.0 as u64 * SPREAD.1;
    println!(
        "spread: {:.0} bytes a message",
        (used_memory(&server) - before) as f64 / messages as f64
    );
    // The last column is for those that are spread.
    let mut times = [const { [const { Vec::new() }; 3] }; 5];
    for _ in 0..ROUNDS {
        for (which, times) in times.iter_mut().enumerate() {
            let (room, size) = match SIZES.get(which) {
                Some(&size) => (room(&format!("size-{size}")), size),
                None => (spread[rand::random_range(0..SPREAD.0)].clone(), SPREAD.1),
            };
            let mut page = RangeQuery { order: Order::Desc, limit: PAGE, ..room.history() };
            let started = Instant::now();
            engine.open(room.opening(&ann(), PAGE)).await.unwrap();
            times[0].push(started.elapsed());
            let started = Instant::now();
            engine.range(page.clone()).await.unwrap();
            times[1].push(started.elapsed());
            let seq = rand::random_range(PAGE as u64 + 1..=size);
            page.start = Some((PAST + (seq - 1) * 1_000, Seq(seq)));
            let started = Instant::now();
            engine.range(page).await.unwrap();
            times[2].push(started.elapsed());
        }
    }
    println!("load {}; p50 / p99 in µs at 1e3, 1e4, 1e5, 1e6, 1e4 × 100", machine_load());
    for (way, name) in ["open", "newest range", "random cursor"].into_iter().enumerate() {
        let mut at = |which: usize, share: f64| {
            let times: &mut Vec<Duration> = &mut times[which][way];
            times.sort_unstable();
            times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e6
        };
        let cells: Vec<_> =
            (0..5).map(|which| format!("{:.0} / {:.0}", at(which, 0.5), at(which, 0.99))).collect();
        let (p50, p99) = (at(3, 0.5) / at(0, 0.5), at(3, 0.99) / at(0, 0.99));
        println!("{name}: {}; 1e6 ÷ 1e3: p50 {p50:.2} p99 {p99:.2}", cells.join(", "));
    }
}

/// What `redis-benchmark` gets out of a server for one command.
fn benchmark(server: &Server, cmd: &Cmd, requests: u32) -> f64 {
    let words = cmd.args_iter().map(|word| match word {
        Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => "0".to_owned(),
    });
    let output = Command::new("redis-benchmark")
        .args(["-p", &server.port().to_string(), "-c", &CONCURRENCY.to_string(), "-q"])
        .args(["-r", "1000000000000", "-n", &requests.to_string()])
        .args(words)
        .output()
        .expect("redis-benchmark is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (before, _) = text.rsplit_once(" requests per second").expect("a rate");
    before.rsplit(' ').next().and_then(|rate| rate.parse().ok()).expect("a number")
}

/// Calls a second at [`CONCURRENCY`].
async fn rate<F: Future<Output = ()> + Send + 'static>(
    call: impl Fn(usize, u64) -> F + Clone + Send + Sync + 'static,
) -> f64 {
    let started = Instant::now();
    let workers = (0..CONCURRENCY).map(|worker| {
        let call = call.clone();
        tokio::spawn(async move {
            let mut count = 0;
            while started.elapsed() < MEASURED {
                call(worker, count).await;
                count += 1;
            }
            count
        })
    });
    let counts: Vec<u64> = join_all(workers.collect::<Vec<_>>())
        .await
        .into_iter()
        .map(|count| count.unwrap())
        .collect();
    counts.iter().sum::<u64>() as f64 / started.elapsed().as_secs_f64()
}

/// Acknowledged writes a second beside `redis-benchmark` with the same script.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for a minute"]
async fn writes() {
    for sync in ["no", "always"] {
        let Some(server) = server(&["--appendonly", "yes", "--appendfsync", sync]) else { return };
        let settings = fresh_settings(&server);
        let first = engine(&settings).await;
        let room_of_benchmark = room("benchmark");
        let mut cmd = first.keys.call(
            &first.scripts.append,
            room_of_benchmark.conv,
            &first.life().expect("known"),
        );
        cmd.arg("ann __rand_int__")
            .arg(300)
            .arg(format!("ann __rand_int__ text {}", content()))
            .arg(PAST)
            .arg(LIMITS.future_skew_ms_max)
            .arg("ann");
        let requests = if sync == "no" { 100_000 } else { 30_000 };
        let mut before = benchmark(&server, &cmd, requests);
        for lanes in [1, 2, 4] {
            for rooms in [1, CONCURRENCY] {
                let engine = open_with(settings.clone(), &SCRIPTS, lanes).await.expect("it runs");
                let shared = Arc::clone(&engine);
                let rate = rate(move |worker, number| {
                    let room = room(&format!("writes-{lanes}-{rooms}-{}", worker % rooms));
                    let cid = format!("{worker}-{number}");
                    let call = shared.append(room.named(&ann(), &cid, &content(), PAST));
                    async move { assert!(call.await.is_ok()) }
                });
                let rate = rate.await;
                engine.close().await;
                // Beside it, because a machine is not equally fast for long.
                let after = benchmark(&server, &cmd, requests);
                let base = f64::midpoint(before, after);
                before = after;
                println!(
                    "appendfsync {sync}, {lanes} lanes, {rooms} conversations: {rate:.0}/s ÷ {base:.0}/s = {:.2}",
                    rate / base
                );
            }
        }
        println!("load {}", machine_load());
    }
}

/// Pages a second beside `redis-benchmark` with the same script.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for half a minute"]
async fn reads() {
    let Some(server) = server(&["--appendonly", "no"]) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    let room = room("reads");
    fill(&engine, std::slice::from_ref(&room), 100_000).await;
    for limit in [10, PAGE] {
        let life = engine.life().expect("known");
        let mut cmd = engine.keys.call(&engine.scripts.range, room.conv, &life);
        cmd.arg(0).arg(crate::model::INTEGER_MAX).arg("desc").arg(limit).arg("").arg("");
        let before = benchmark(&server, &cmd, 50_000);
        let (shared, query) =
            (Arc::clone(&engine), RangeQuery { order: Order::Desc, limit, ..room.history() });
        let rate = rate(move |_, _| {
            let (engine, query) = (Arc::clone(&shared), query.clone());
            async move { assert_eq!(engine.range(query).await.unwrap().items.len(), limit) }
        });
        let rate = rate.await;
        let base = f64::midpoint(before, benchmark(&server, &cmd, 50_000));
        println!(
            "pages of {limit}: {rate:.0}/s ÷ {base:.0}/s = {:.2}; load {}",
            rate / base,
            machine_load()
        );
    }
}

/// Ways to store a message, by what 100 000 of 200 bytes take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for a few seconds"]
async fn storage() {
    const COUNT: u64 = 100_000;
    const CIDS: &str = "redis.call('HSET', 'c', 'ann ' .. string.format('%036.0f', seq), seq)";
    const TIMES: &str =
        "redis.call('ZADD', 't', 1700000000000 + seq * 1000, string.format('%016.0f', seq))";
    // 36 bytes of cid and 200 of content stand in the text, as they do in the engine.
    const TEXT: &str = "'300 1700000000000 1700000000000 0 ann ' .. string.format('%036.0f', seq) .. ' text ' .. ARGV[2]";
    let ways = [
        ("hash of messages", format!("redis.call('HSET', 'm', seq, {TEXT})"), true),
        (
            "hash in buckets of 100",
            format!("redis.call('HSET', 'm' .. math.floor(seq / 100), seq, {TEXT})"),
            true,
        ),
        ("stream, one field", format!("redis.call('XADD', 'm', seq .. '-0', 'm', {TEXT})"), true),
        ("string a message", format!("redis.call('SET', 'm' .. seq, {TEXT})"), true),
        ("index by ts alone", TIMES.to_owned(), false),
        ("cids alone", CIDS.to_owned(), false),
    ];
    for (name, store, with_indexes) in ways {
        let Some(server) = server(&["--appendonly", "no", "--stream-node-max-bytes", "4096"])
        else {
            return;
        };
        let before = used_memory(&server);
        let indexes = if with_indexes { format!("{TIMES} {CIDS}") } else { String::new() };
        let script = format!("for seq = 1, tonumber(ARGV[1]) do {store} {indexes} end");
        command(&server, &["EVAL", &script, "0", &COUNT.to_string(), &content()]).unwrap();
        let bytes = (used_memory(&server) - before) as f64 / COUNT as f64;
        println!(
            "{name}{}: {bytes:.0} bytes a message",
            if with_indexes { ", with both indexes" } else { "" }
        );
    }
}
