//! The REDIS bus against servers that fail, on real servers of our own.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::started;
use super::subject::{Heard, RedisFactory, message, place};
use crate::distribution::Distribution as _;
use crate::distribution::redis::{RedisDistribution, RedisSettings};
use crate::model::NodeId;

/// Silence of the server is noticed, and healed, within this after it is over or instead of it.
const NOTICED_MAX: Duration = Duration::from_secs(5);
/// More than the queue holds.
const MANY: u64 = 20_000;

fn command(factory: &RedisFactory, words: &[&str]) -> redis::Value {
    let mut connection =
        redis::Client::open(factory.server.url()).unwrap().get_connection().unwrap();
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).unwrap()
}

fn signal(factory: &RedisFactory, signal: Signal) {
    let pid = Pid::from_raw(factory.server.pid() as i32).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_cut_of_the_subscription_the_gap_is_told_and_hints_come_again() {
    let Some(factory) = RedisFactory::redis() else { return };
    let (here, heard_here) = started(&factory).await;
    let (_there, heard) = started(&factory).await;
    command(&factory, &["CLIENT", "KILL", "TYPE", "pubsub"]);
    // One while it is down, one when it hears again.
    let begun = Instant::now();
    while heard.gaps() < 2 || heard_here.gaps() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(2), "no gap was told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    here.publish(message(&place(), 1, "x"));
    heard.until("another node", |hints| Heard::highest(hints) == 1).await;
    assert_eq!(heard_here.numbers(), [1], "the own node hears it once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_to_a_paused_server_does_not_block_and_the_bus_heals() {
    let Some(factory) = RedisFactory::redis() else { return };
    let (here, own) = started(&factory).await;
    let (_there, heard) = started(&factory).await;
    signal(&factory, Signal::STOP);
    let (begun, place) = (Instant::now(), place());
    for seq in 1..=MANY {
        here.publish(message(&place, seq, "x"));
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    own.until("the own node", |hints| hints.len() as u64 == MANY).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    signal(&factory, Signal::CONT);
    let healed = Instant::now();
    // The head may be told before the other node is back: that is what gaps are for.
    heard.until_told(&*here, MANY + 1, NOTICED_MAX).await;
    assert!(healed.elapsed() < NOTICED_MAX, "{:?}", healed.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_and_restarted_server_carries_hints_again() {
    let Some(mut factory) = RedisFactory::redis() else { return };
    let (here, _own) = started(&factory).await;
    let (_there, heard) = started(&factory).await;
    factory.server.kill();
    let place = place();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for seq in 1..=10 {
        here.publish(message(&place, seq, "x"));
    }
    // While nothing is heard the engine is asked, again and again.
    for _ in 0..3 {
        let gaps = heard.gaps();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(heard.gaps() > gaps, "a gap is told each second");
    }
    factory.server.restart();
    factory.server.wait();
    // Told before the other node was back, it is lost: that is what gaps are for.
    heard.until_told(&*here, 11, NOTICED_MAX).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let gaps = heard.gaps();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(heard.gaps(), gaps, "everything is heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_the_start_fails_with_a_reason() {
    let settings = |url: &str| RedisSettings {
        server: url.into(),
        prefix: String::new(),
        node: NodeId::generate(),
    };
    // The port of a server that was killed may be another's by then.
    let bus = RedisDistribution::new(settings("redis://127.0.0.1:1")).unwrap();
    let error = bus.start(std::sync::Arc::<Heard>::default()).await.unwrap_err().to_string();
    assert!(error.contains("REDIS_URL"), "{error}");
    let error = RedisDistribution::new(settings("redis://:secret@")).err().unwrap().to_string();
    assert!(error.contains("REDIS_URL") && !error.contains("secret"), "{error}");
    bus.close().await;
}
