//! Servers that end at the worst moments of a send, once on each engine: what was answered is there, what was not is there once or not
//! at all, and a retry says which.

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::services::SharedServices;
use crate::support::{PATIENCE, Peer, Server, message, unique};

/// Sends that are on their way at once.
const BURST: usize = 8;
/// Sends before the server ends, and in all.
const BEFORE: usize = 20;
const SENDS: usize = 48;
/// More than a bucket of CASSANDRA holds.
const SENDS_OVER_A_BUCKET: usize = 560;

/// How a send ended: its number and whether it was there before, or nothing.
type Answer = Option<(u64, bool)>;

/// Sends `cids` in bursts until the connection ends; the answers that came.
async fn send_until_the_end(peer: &mut Peer, conv: &Value, cids: &[String]) -> Vec<Answer> {
    let mut answers = vec![None; cids.len()];
    for (number, burst) in cids.chunks(BURST).enumerate() {
        for (place, cid) in burst.iter().enumerate() {
            let id = number * BURST + place + 1_000;
            let frame = json!({"id": id, "send": message(conv, cid, None)});
            if peer.try_write(&frame.to_string()).await.is_err() {
                break;
            }
        }
        let mut left = burst.len();
        while left > 0 {
            let Some(frame) = peer.try_frame().await else { return answers };
            let Some(id) = frame["id"].as_u64() else { continue };
            assert!(frame.get("error").is_none(), "{frame}");
            let sent = &frame["send"];
            let answer = (sent["seq"].as_u64().unwrap(), sent["dup"].as_bool().unwrap());
            answers[usize::try_from(id).unwrap() - 1_000] = Some(answer);
            left -= 1;
        }
    }
    answers
}

/// A server with these engines that ends at `point` for the `nth` time; then all that must hold. Which of the sends that were not
/// answered had been stored, by their places.
async fn ends_at(engine: &[(&str, &str)], point: &str, nth: usize, sends: usize) -> Vec<usize> {
    let fault = format!("crash-{point}:{nth}");
    let mut server = Server::start_with(&[engine, &[("CHATCTL_FAULT", &*fault)]].concat()).await;
    let (ann, bob) = (unique("ann"), unique("bob"));
    let mut peer = server.connect(&ann).await;
    let conv = peer.open_user(&bob).await["conv"].clone();
    let cids: Vec<String> = (0..sends).map(|number| format!("c{number}")).collect();
    let answers = send_until_the_end(&mut peer, &conv, &cids).await;
    let answered = answers.iter().flatten().count();
    // Killed, not ended.
    assert_eq!(timeout(PATIENCE, server.wait_for_end()).await.unwrap(), None, "{fault}");
    server.restart_with(&[("CHATCTL_FAULT", "")]).await;

    let mut peer = server.connect(&ann).await;
    peer.open_user(&bob).await;
    let mut there = Vec::new();
    for (place, (cid, answer)) in cids.iter().zip(&answers).enumerate() {
        let again = peer.send(&conv, cid, None).await;
        match answer {
            Some((seq, _)) => {
                assert_eq!(
                    (&again["seq"], &again["dup"]),
                    (&json!(seq), &json!(true)),
                    "{fault} {cid}"
                );
            }
            None => there.extend((again["dup"] == true).then_some(place)),
        }
    }
    let mut stored = Vec::new();
    let mut after = 0;
    loop {
        let page = peer.ok("read", json!({"conv": conv, "after_seq": after, "limit": 100})).await;
        let items = page["items"].as_array().unwrap();
        let Some(last) = items.last() else { break };
        after = last["seq"].as_u64().unwrap();
        stored.extend(items.iter().map(|item| item["cid"].as_str().unwrap().to_owned()));
        if page.get("next").is_none_or(Value::is_null) {
            break;
        }
    }
    assert_eq!(stored, cids, "{fault}: each once, in the order of its sender");
    let (unanswered, known) = (sends - answered, there.len());
    println!("{fault}: {answered} answered, {known} of {unanswered} others had been stored");
    there
}

/// The points of every engine.
async fn every_engine_point(engine: &[(&str, &str)]) {
    let stored = ends_at(engine, "before-persist", BEFORE, SENDS).await;
    assert!(stored.iter().all(|&place| place < BEFORE - 1), "{stored:?}: no engine was asked");
    for nth in [BEFORE, BEFORE + 1] {
        ends_at(engine, "while-persisting", nth, SENDS).await;
    }
    let stored = ends_at(engine, "before-reply", BEFORE, SENDS).await;
    assert!(!stored.is_empty(), "what was stored and not answered says dup:true");
    ends_at(engine, "before-publish", BEFORE, SENDS).await;
}

#[tokio::test]
async fn local_keeps_what_it_answered_wherever_it_ends() {
    every_engine_point(&[]).await;
}

#[tokio::test]
async fn redis_keeps_what_it_answered_wherever_it_ends() {
    let Some(shared) = SharedServices::find().await else { return };
    let prefix = unique("crash:");
    every_engine_point(&[
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
        ("REDIS_URL", shared.variable("REDIS_URL")),
        ("CHATCTL_REDIS_PREFIX", &prefix),
        ("CHATCTL_LEASE_MS", "1000"),
    ])
    .await;
}

#[tokio::test]
async fn cassandra_keeps_what_it_answered_wherever_it_ends_also_between_buckets() {
    let Some(shared) = SharedServices::find().await else { return };
    let prefix = unique("crash:");
    let engine = [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "CASSANDRA"),
        ("CASSANDRA_HOSTS", shared.variable("CASSANDRA_HOSTS")),
        // Other servers share the keyspace: with these it may be one of many.
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
        ("REDIS_URL", shared.variable("REDIS_URL")),
        ("CHATCTL_REDIS_PREFIX", &prefix),
        ("CHATCTL_LEASE_MS", "1000"),
    ];
    every_engine_point(&engine).await;
    for point in ["before-seal", "after-names", "after-seal", "after-first-row"] {
        ends_at(&engine, point, 1, SENDS_OVER_A_BUCKET).await;
    }
}
