//! What the engine takes and gives, as tables. Run one at a time, on a quiet machine:
//! `cargo test --release figures::NAME -- --ignored --nocapture`.
#![expect(clippy::print_stdout, reason = "its only purpose")]

mod pages;
mod plot;
mod reads;
mod storage;
mod writes;

use std::process::Command;

use redis::{Arg, Cmd};

use super::*;
use crate::model::LIMITS;
use crate::persistence::conformance::load::{self, machine_load};

/// Calls that wait at once, in the engine as in `redis-benchmark`.
const CONCURRENCY: usize = 64;
/// How long each rate is measured.
const MEASURED: Duration = Duration::from_secs(4);
/// Messages on a page.
const PAGE: usize = 50;

fn content() -> String {
    "x".repeat(200)
}

/// Stores messages 1 s apart, many at once; how many had to be sent again.
async fn fill(engine: &RedisPersistence, rooms: &[Room], each: u64) -> u64 {
    const IN_FLIGHT: usize = 2_000;
    let all = rooms.iter().flat_map(|room| (0..each).map(move |number| (room, number)));
    let content = content();
    let (mut calls, mut retries) = (Vec::new(), 0);
    for (room, number) in all {
        let cid = format!("{number:036}");
        calls.push(store(engine, room.named(&ann(), &cid, &content, PAST + number * 1_000)));
        if calls.len() == IN_FLIGHT {
            retries += join_all(std::mem::take(&mut calls)).await.into_iter().sum::<u64>();
        }
    }
    retries + join_all(calls).await.into_iter().sum::<u64>()
}

/// Stores a message; again, under its name, where a busy machine made it wait too long. How often again.
async fn store(engine: &RedisPersistence, message: Append) -> u64 {
    const RETRIES_MAX: u64 = 50;
    for retries in 0..=RETRIES_MAX {
        match engine.append(message.clone()).await {
            Ok(_) => return retries,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("{:?} is not stored", message.cid);
}

/// CPU time that a process has taken.
fn cpu_time(pid: u32) -> Duration {
    /// Of `/proc`, on every Linux.
    const TICKS_PER_SECOND: u64 = 100;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in brackets, may hold anything; `utime` and `stime` are the 12th and 13th after it.
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 1_000 / TICKS_PER_SECOND)
}

fn used_memory(server: &Server) -> u64 {
    let info = command(server, &["INFO", "memory"]).unwrap();
    let info: String = redis::from_redis_value(info).unwrap();
    let field = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    field.trim().parse().unwrap()
}

/// What `redis-benchmark` gets out of a server for one command; `__rand_int__` in it is another number each time.
fn benchmark(server: &Server, cmd: &Cmd, requests: u32) -> f64 {
    let words = cmd.args_iter().map(|word| match word {
        Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => "0".to_owned(),
    });
    let output = Command::new("redis-benchmark")
        .args(["-p", &server.port().to_string(), "-c", &CONCURRENCY.to_string(), "-q"])
        // It reads the range as an `int`: more becomes 0, and each number the same.
        .args(["-r", &i32::MAX.to_string(), "-n", &requests.to_string()])
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
    load::rate(CONCURRENCY, MEASURED, call).await
}
