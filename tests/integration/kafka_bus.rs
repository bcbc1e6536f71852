//! The KAFKA bus from outside: servers that share Redis for messages and Kafka for hints.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chatctl::services::{Nodes, ServiceKind};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::services::{OwnServices, SharedServices};
use crate::support::{Peer, Server, message, percentiles, scale, unique};

/// While the bus is away, messages come by reading the engine: within this.
const DELIVERED_MAX: Duration = Duration::from_secs(6);

#[tokio::test]
async fn clients_of_two_nodes_chat_over_one_topic() {
    let Some(shared) = SharedServices::find().await else { return };
    let prefix = unique("kafka:");
    let engines = shared.on_kafka(&prefix);
    let (one, other) = (Server::start_with(&engines).await, Server::start_with(&engines).await);
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let (mut ann, mut bob) = (one.connect(&ann_name).await, other.connect(&bob_name).await);
    let conv = ann.open_user(&bob_name).await["conv"].clone();
    ann.send(&conv, "a1", None).await;
    let listed = json!({"conv": conv, "to": {"user": ann_name}, "head": 1});
    assert_eq!(bob.push("listed").await, listed, "told on the other node, not open there");
    bob.open_user(&ann_name).await;
    for seq in 2..=50 {
        // Right after the reply to open: nothing has to be made for a conversation first.
        ann.send(&conv, &format!("a{seq}"), None).await;
        assert_eq!(bob.push("msg").await["seq"], seq);
    }
    bob.ok("ack", json!({"conv": conv, "up_to": 50})).await;
    let read = json!({"conv": conv, "user": bob_name, "up_to": 50});
    assert_eq!(ann.push("acked").await, read);
    let (_, metrics) = other.admin_get("/metrics").await;
    for stage in ["travelled", "written"] {
        let series = format!("chatctl_delivery_stage_seconds_count{{stage=\"{stage}\"}}");
        assert!(metrics.contains(&series), "{series} in {metrics}");
    }
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_said_with_what_to_do() {
    let Some(shared) = SharedServices::find().await else { return };
    let prefix = unique("kafka:");
    let engines = shared.on_kafka(&prefix);
    let elsewhere = [&engines[..], &[("CHATCTL_KAFKA_TOPIC", "elsewhere")]].concat();
    let text = Server::refused(&elsewhere).await;
    for part in ["elsewhere", "CHATCTL_KAFKA_TOPIC", "init-env"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn while_the_only_broker_is_away_messages_come_all_the_same() {
    let kinds = [ServiceKind::Redis, ServiceKind::Kafka];
    let Some(own) = OwnServices::start(&kinds, Nodes::One).await else { return };
    let variables = own.on_kafka();
    let engines: Vec<_> = variables.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let (one, other) = (Server::start_with(&engines).await, Server::start_with(&engines).await);
    let channel = unique("channel");
    let mut writer = one.connect(&unique("writer")).await;
    let mut reader = other.connect(&unique("reader")).await;
    let conv: Value = writer.open_channel(&channel).await["conv"].clone();
    reader.open_channel(&channel).await;
    let (told, mut sent) = tokio::sync::mpsc::unbounded_channel::<Instant>();
    let reading = tokio::spawn(async move {
        let mut slowest = Duration::ZERO;
        let mut expected = 0;
        while let Some(sent_at) = sent.recv().await {
            expected += 1;
            assert_eq!(reader.push("msg").await["seq"], expected, "each once, in order");
            slowest = slowest.max(sent_at.elapsed());
        }
        (slowest, reader)
    });
    let (begun, mut is_up) = (Instant::now(), true);
    for number in 0.. {
        if is_up && begun.elapsed() > Duration::from_secs(1) {
            own.nodes_of(ServiceKind::Kafka)[0].signal(Signal::KILL).unwrap();
            is_up = false;
        }
        if begun.elapsed() > Duration::from_secs(6) {
            break;
        }
        writer.send(&conv, &format!("c{number}"), None).await;
        told.send(Instant::now()).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    own.up().await;
    for number in 0..50 {
        writer.send(&conv, &format!("d{number}"), None).await;
        told.send(Instant::now()).unwrap();
    }
    drop(told);
    let (slowest, _reader) = reading.await.unwrap();
    assert!(slowest < DELIVERED_MAX, "{slowest:?}");
    println!("with the only broker killed the slowest delivery took {slowest:?}");
}

/// Joins cost no broker round trip: the first message after an `open` comes as fast as any other.
#[tokio::test]
async fn the_first_message_after_an_open_comes_as_fast_as_any() {
    const STEADY: u64 = 5;
    let pairs = scale("CHATCTL_TEST_PAIRS", 100);
    let Some(shared) = SharedServices::find().await else { return };
    let prefix = unique("kafka:");
    let engines = shared.on_kafka(&prefix);
    let (one, other) = (Server::start_with(&engines).await, Server::start_with(&engines).await);
    let (mut first, mut steady) = (Vec::new(), Vec::new());
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    for pair in 0..pairs {
        let (ann_name, bob_name) = (format!("{ann_name}-{pair}"), format!("{bob_name}-{pair}"));
        let (mut ann, mut bob) = (one.connect(&ann_name).await, other.connect(&bob_name).await);
        let conv = ann.open_user(&bob_name).await["conv"].clone();
        bob.open_user(&ann_name).await;
        for seq in 1..=1 + STEADY {
            let sent = Instant::now();
            ann.begin("send", message(&conv, &format!("c{seq}"), None)).await;
            assert_eq!(bob.push("msg").await["seq"], seq);
            if seq == 1 {
                first.push(sent.elapsed())
            } else {
                steady.push(sent.elapsed())
            };
            ann.push("msg").await;
        }
    }
    let ([first50, _], [steady50, _]) = (percentiles(&mut first), percentiles(&mut steady));
    println!(
        "first after an open: p50 {first50:.2} ms, steady {steady50:.2}: {:.2}",
        first50 / steady50
    );
    assert!(first50 <= 3.0 * steady50, "{first50} ms, otherwise {steady50} ms");
}

/// Sessions of a killed node go on elsewhere, each without a gap.
#[tokio::test]
async fn sessions_of_a_killed_node_resume_on_the_others() {
    const JITTER_MS: u64 = 500;
    let sessions = scale("CHATCTL_TEST_SESSIONS", 200);
    let Some(shared) = SharedServices::find().await else { return };
    let prefix = unique("kafka:");
    let engines = shared.on_kafka(&prefix);
    let mut doomed = Server::start_with(&engines).await;
    let others = [Server::start_with(&engines).await, Server::start_with(&engines).await];
    let channels: Vec<String> = (0..10).map(|_| unique("channel")).collect();
    let users = unique("user");
    let mut readers = Vec::new();
    for number in 0..sessions {
        let name = format!("{users}-{number}");
        let mut reader = doomed.connect(&name).await;
        let channel = channels[number % channels.len()].clone();
        let opened = reader.open_channel(&channel).await;
        readers.push((name, channel, opened["epoch"].clone(), reader));
    }
    let urls = others.each_ref().map(|server| format!("ws://{}/v1/ws", server.address()));
    let killed_at = Arc::new(OnceLock::new());
    let mut reading = tokio::task::JoinSet::new();
    for (number, (name, channel, epoch, mut reader)) in readers.into_iter().enumerate() {
        let (url, killed_at) = (urls[number % urls.len()].clone(), Arc::clone(&killed_at));
        reading.spawn(async move {
            let mut seen = 0;
            while let Some(frame) = reader.try_frame().await {
                if let Some(seq) = frame["msg"]["seq"].as_u64() {
                    assert_eq!(seq, seen + 1, "on the node that is killed");
                    seen = seq;
                }
            }
            let jitter = JITTER_MS * number as u64 / sessions as u64;
            tokio::time::sleep(Duration::from_millis(jitter)).await;
            let mut reader = Peer::connect(&url, &name).await;
            let resume =
                json!({"to": {"channel": channel}, "resume": {"epoch": epoch, "seq": seen}});
            let opened = reader.ok("open", resume).await;
            assert_eq!(opened["recovered"], true, "{opened}");
            for item in opened["items"].as_array().unwrap() {
                assert_eq!(item["seq"], seen + 1, "what was missed, in order");
                seen += 1;
            }
            let killed_at: &Instant = killed_at.get().expect("it was killed");
            let whole = killed_at.elapsed();
            // And it goes on.
            assert_eq!(reader.push("msg").await["seq"], seen + 1);
            whole
        });
    }
    let mut writer = others[0].connect(&unique("writer")).await;
    let mut convs = Vec::new();
    for channel in &channels {
        convs.push(writer.open_channel(channel).await["conv"].clone());
    }
    let (begun, mut slowest, mut number) = (Instant::now(), Duration::ZERO, 0);
    while !reading.is_empty() && begun.elapsed() < Duration::from_secs(20) {
        if number == 100 {
            killed_at.set(Instant::now()).unwrap();
            doomed.kill().await;
        }
        writer.send(&convs[number % convs.len()], &format!("c{number}"), None).await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
        while let Some(whole) = reading.try_join_next() {
            slowest = slowest.max(whole.unwrap());
        }
    }
    assert!(reading.is_empty(), "{} sessions did not go on", reading.len());
    println!("{sessions} sessions of a killed node: the last was without a gap after {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
