//! The REDIS registry against servers that fail, on real servers of our own.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::subject::{Factory as _, Heard, LEASE, NOTICED_MAX, RedisFactory, user};
use crate::model::{NodeId, SessionId};
use crate::registry::Registry as _;
use crate::registry::WAIT_MAX;
use crate::registry::redis::{RedisRegistry, RedisSettings};

fn command(factory: &RedisFactory, words: &[&str]) -> redis::Value {
    let mut connection =
        redis::Client::open(factory.server.url()).unwrap().get_connection().unwrap();
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).unwrap()
}

fn signal(factory: &RedisFactory, signal: Signal) {
    let pid = Pid::from_raw(factory.server.pid() as i32).unwrap();
    kill_process(pid, signal).unwrap();
}

async fn until_online(node: &super::Node, name: &str) {
    let deadline = Instant::now() + LEASE + NOTICED_MAX;
    while !node.registry.online(&user(name)).await {
        assert!(Instant::now() < deadline, "{name} does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_emptied_is_told_everything_again() {
    let Some(factory) = RedisFactory::redis() else { return };
    let (one, other) = (factory.node("one").await, factory.node("other").await);
    let session = SessionId::generate();
    for number in 0..600 {
        one.registry.connect(&user(&format!("u{number}")), &SessionId::generate()).await;
    }
    one.registry.connect(&user("ann"), &session).await;
    command(&factory, &["FLUSHALL"]);
    for name in ["ann", "u0", "u599"] {
        until_online(&other, name).await;
    }
    one.registry.disconnect(&user("ann"), &session).await;
    assert!(!other.registry.online(&user("ann")).await);
    assert_eq!(one.heard.newest(&user("ann")).map(|(_, online)| online), Some(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_was_taken_out_by_somebody_else_is_told_again() {
    let Some(factory) = RedisFactory::redis() else { return };
    let (one, other) = (factory.node("one").await, factory.node("other").await);
    one.registry.connect(&user("ann"), &SessionId::generate()).await;
    one.registry.connect(&user("bob"), &SessionId::generate()).await;
    let redis::Value::Array(keys) = command(&factory, &["KEYS", "test:*users:*"]) else {
        panic!("no keys")
    };
    for key in keys {
        let key: String = redis::from_redis_value(key).unwrap();
        command(&factory, &["SREM", &key, "ann"]);
    }
    until_online(&other, "ann").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_that_comes_back_empty_is_told_everything_again() {
    let Some(mut factory) = RedisFactory::redis() else { return };
    let (one, other) = (factory.node("one").await, factory.node("other").await);
    let (ann, bob, session) = (user("ann"), user("bob"), SessionId::generate());
    one.registry.connect(&ann, &session).await;
    factory.server.kill();
    let begun = Instant::now();
    one.registry.connect(&bob, &session).await;
    one.registry.disconnect(&ann, &session).await;
    assert!(one.registry.online(&bob).await, "known on its own node");
    assert!(!other.registry.online(&bob).await, "nobody knows elsewhere");
    assert!(begun.elapsed() < WAIT_MAX * 4, "{:?}", begun.elapsed());
    assert_eq!(one.heard.newest(&bob), Some((0, true)), "guessed");
    assert_eq!(one.heard.of(&ann).last(), Some(&false), "guessed");
    assert!(one.registry.health().is_err());
    // Longer than a lease: nobody may take out the others before they had time to come back.
    tokio::time::sleep(LEASE).await;
    factory.server.restart();
    factory.server.wait();
    until_online(&other, "bob").await;
    assert!(one.registry.health().is_ok());
    assert!(!other.registry.online(&ann).await);
    let truth = || one.heard.newest(&bob).is_some_and(|(version, online)| version > 0 && online);
    Heard::until("bob to be told again", NOTICED_MAX, truth).await;
    assert_eq!(other.heard.count(false), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_guess_is_put_right() {
    let Some(factory) = RedisFactory::redis() else { return };
    let (one, other) = (factory.node("one").await, factory.node("other").await);
    let (ann, session) = (user("ann"), SessionId::generate());
    one.registry.connect(&ann, &session).await;
    other.registry.connect(&ann, &SessionId::generate()).await;
    signal(&factory, Signal::STOP);
    one.registry.disconnect(&ann, &session).await;
    assert_eq!(one.heard.newest(&ann).map(|(_, online)| online), Some(true));
    assert_eq!(one.heard.of(&ann).last(), Some(&false), "guessed");
    signal(&factory, Signal::CONT);
    let right = || one.heard.of(&ann).last() == Some(&true);
    Heard::until("the truth", NOTICED_MAX, right).await;
    assert!(one.registry.online(&ann).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_is_waited_for_no_longer_than_it_says_and_in_the_end_all_is_true() {
    let Some(factory) = RedisFactory::redis() else { return };
    let (one, other) = (factory.node("one").await, factory.node("other").await);
    let here = SessionId::generate();
    for number in 0..50 {
        one.registry.connect(&user(&format!("before{number}")), &here).await;
    }
    signal(&factory, Signal::STOP);
    let mut tasks = Vec::new();
    for number in 0..50 {
        let (node, session) = (one.clone(), here.clone());
        tasks.push(tokio::spawn(async move {
            let begun = Instant::now();
            node.registry.connect(&user(&format!("during{number}")), &session).await;
            node.registry.disconnect(&user(&format!("before{number}")), &session).await;
            node.registry.online(&user("somebody")).await;
            begun.elapsed()
        }));
    }
    for task in tasks {
        let took = task.await.unwrap();
        assert!(took < WAIT_MAX * 3 + WAIT_MAX / 2, "{took:?}");
    }
    // Every lease ends.
    tokio::time::sleep(LEASE * 2).await;
    signal(&factory, Signal::CONT);
    for number in 0..50 {
        until_online(&other, &format!("during{number}")).await;
        assert!(!other.registry.online(&user(&format!("before{number}"))).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_goes_when_nobody_is_there() {
    let Some(factory) = RedisFactory::redis() else { return };
    for number in 0..5 {
        let node = factory.node(&format!("n{number}")).await;
        node.registry.connect(&user("ann"), &SessionId::generate()).await;
        node.kill().await;
    }
    let last = factory.node("last").await;
    let deadline = Instant::now() + LEASE * 2 + NOTICED_MAX;
    loop {
        let lives = command(&factory, &["ZCARD", "test:{registry}:leases"]);
        if lives == redis::Value::Int(1) {
            break;
        }
        assert!(Instant::now() < deadline, "{lives:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    last.registry.close().await;
    let keys = command(&factory, &["KEYS", "*"]);
    let only = redis::Value::BulkString(b"test:{registry}:version".to_vec());
    assert_eq!(keys, redis::Value::Array(vec![only]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_the_start_fails_with_a_reason() {
    let settings = |url: &str| RedisSettings {
        server: url.into(),
        prefix: "test:".to_owned(),
        name: "one".to_owned(),
        node: NodeId::generate(),
        lease: LEASE,
    };
    // The port of a server that was killed may be another's by then.
    let registry = RedisRegistry::new(settings("redis://127.0.0.1:1")).unwrap();
    let error = registry.start(std::sync::Arc::<Heard>::default()).await.unwrap_err().to_string();
    assert!(error.contains("REDIS_URL"), "{error}");
    let error = RedisRegistry::new(settings("redis://:secret@")).err().unwrap().to_string();
    assert!(error.contains("REDIS_URL") && !error.contains("secret"), "{error}");
    registry.close().await;
}
