//! Load for tests of faults and for figures, on any engine.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::subject::{PAST, Room};
use crate::harness::seeds;
use crate::model::UserName;
use crate::persistence::{AppendOutcome, EngineError, Persistence};

/// What a variable of the environment asks for, or what is usual.
pub fn asked<T: FromStr>(variable: &str, usual: T) -> T {
    seeds::asked(variable).unwrap_or(usual)
}

/// How long something stands still: `CHATCTL_TEST_PAUSE_S`, or a time that is quick.
pub fn pause_asked() -> Duration {
    const QUICK_S: u64 = 6;
    Duration::from_secs(asked("CHATCTL_TEST_PAUSE_S", QUICK_S))
}

/// Messages in the largest conversation of a figure: `CHATCTL_TEST_VOLUME`, or what the figure is about.
pub fn volume_asked() -> u64 {
    const VOLUME: u64 = 1_000_000;
    asked("CHATCTL_TEST_VOLUME", VOLUME)
}

/// Powers of ten up to that.
pub fn volumes_asked() -> Vec<u64> {
    let powers = (3..).map(|power| 10u64.pow(power));
    let volumes: Vec<u64> = powers.take_while(|&volume| volume <= volume_asked()).collect();
    assert!(volumes.len() > 1, "CHATCTL_TEST_VOLUME: give at least 10000");
    volumes
}

/// The load of the machine in the last minute.
pub fn machine_load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// What became of one append.
pub struct Sent {
    /// When it was called.
    pub called: Instant,
    /// Until it was answered.
    pub took: Duration,
    /// The answer.
    pub outcome: Result<AppendOutcome, EngineError>,
}

/// Appends to rooms in turn, so many a second, until told to stop, whatever becomes of them. Each is named by its number.
pub async fn send_at(
    engine: Arc<dyn Persistence>,
    sender: UserName,
    rooms: Vec<Room>,
    content: String,
    per_second: u32,
    stop: Arc<AtomicBool>,
) -> Vec<Sent> {
    let begun = Instant::now();
    let mut calls = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let due = begun + Duration::from_secs(1) * number / per_second;
        tokio::time::sleep_until(due.into()).await;
        let room = &rooms[number as usize % rooms.len()];
        let message = room.named(&sender, &format!("{number}"), &content, PAST);
        let called = Instant::now();
        let call = engine.append(message);
        calls.push(tokio::spawn(async move {
            let outcome = call.await;
            Sent { called, took: called.elapsed(), outcome }
        }));
    }
    join_all(calls).await.into_iter().map(|call| call.expect("a call")).collect()
}

/// Calls a second of so many workers, each one after the other.
pub async fn rate<F: Future<Output = ()> + Send + 'static>(
    workers: usize,
    during: Duration,
    call: impl Fn(usize, u64) -> F + Clone + Send + Sync + 'static,
) -> f64 {
    let started = Instant::now();
    let workers = (0..workers).map(|worker| {
        let call = call.clone();
        tokio::spawn(async move {
            let mut count: u64 = 0;
            while started.elapsed() < during {
                call(worker, count).await;
                count += 1;
            }
            count
        })
    });
    let counts = join_all(workers.collect::<Vec<_>>()).await;
    let all: u64 = counts.into_iter().map(|count| count.expect("a worker")).sum();
    all as f64 / started.elapsed().as_secs_f64()
}
