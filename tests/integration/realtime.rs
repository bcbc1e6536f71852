//! Pushes: each message once, in order, to whoever has its conversation open.

use serde_json::{Value, json};

use crate::support::{Peer, Server, message, unique};

#[tokio::test]
async fn pushes_follow_the_head_of_open_while_others_write() {
    let server = Server::start().await;
    let channel = unique("channel");
    let (writers, messages) = (4, 200);
    let mut writing = Vec::new();
    for _ in 0..writers {
        let mut writer = server.connect(&unique("writer")).await;
        let conv = writer.open_channel(&channel).await["conv"].clone();
        writing.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            for number in 0..messages {
                ids.push(writer.begin("send", message(&conv, &format!("c{number}"), None)).await);
            }
            let mut seqs = Vec::new();
            for id in ids {
                seqs.push(writer.answer(id).await["send"]["seq"].as_u64().unwrap());
            }
            assert!(seqs.is_sorted(), "sends of one session commit in the order written");
        }));
    }
    let last = writers * messages;
    let mut reading = Vec::new();
    for _ in 0..6 {
        let mut reader = server.connect(&unique("reader")).await;
        let channel = channel.clone();
        reading.push(tokio::spawn(async move {
            for _ in 0..5 {
                let head = reader.open_channel(&channel).await["head"].as_u64().unwrap();
                for expected in head + 1..=(head + 30).min(last) {
                    assert_eq!(next_after_open(&mut reader, head).await, expected);
                }
            }
            let head = reader.open_channel(&channel).await["head"].as_u64().unwrap();
            for expected in head + 1..=last {
                assert_eq!(next_after_open(&mut reader, head).await, expected);
            }
            let more = reader.pushes_so_far("msg").await;
            assert!(more.iter().all(|push| push["seq"].as_u64().unwrap() <= head), "{more:?}");
        }));
    }
    for task in writing.into_iter().chain(reading) {
        task.await.unwrap();
    }
}

/// The next message above `head`: what an earlier `open` of the same session pushed comes before the reply
/// and is kept by the test's client.
async fn next_after_open(reader: &mut Peer, head: u64) -> u64 {
    loop {
        let seq = reader.push("msg").await["seq"].as_u64().unwrap();
        if seq > head {
            return seq;
        }
    }
}

#[tokio::test]
async fn resume_bridges_exactly_or_not_at_all() {
    let server = Server::start().await;
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let mut ann = server.connect(&ann_name).await;
    let page = ann.open_user(&bob_name).await;
    let (conv, epoch) = (page["conv"].clone(), page["epoch"].clone());
    for number in 1..=20 {
        ann.send(&conv, &format!("c{number}"), Some(2_000 - number)).await;
    }
    let mut bob = server.connect(&bob_name).await;
    let open = |epoch: &Value, seq: u64| json!({"to": {"user": ann_name}, "resume": {"epoch": epoch, "seq": seq}});
    let resumed = bob.ok("open", open(&epoch, 15)).await;
    let seqs: Vec<_> =
        resumed["items"].as_array().unwrap().iter().map(|item| item["seq"].clone()).collect();
    assert_eq!(seqs, [16, 17, 18, 19, 20].map(|seq| json!(seq)));
    assert_eq!((&resumed["recovered"], &resumed["unread_late"]), (&json!(true), &json!(19)));
    for absent in ["late", "next", "gap", "unread_before"] {
        assert!(resumed.get(absent).is_none(), "{absent}");
    }
    let nothing = bob.ok("open", open(&epoch, 20)).await;
    assert_eq!((&nothing["recovered"], &nothing["items"]), (&json!(true), &json!([])));
    for (epoch, seq) in [(&epoch, 21), (&json!("another"), 15)] {
        let page = bob.ok("open", open(epoch, seq)).await;
        assert_eq!(page["recovered"], false);
        assert_eq!(page["items"].as_array().unwrap().len(), 10, "a normal page");
        assert!(page.get("gap").is_some());
    }
}

#[tokio::test]
async fn echo_and_push_are_choices_of_each_session() {
    let server = Server::start().await;
    let channel = unique("channel");
    let name = unique("ann");
    let open = |more: Value| {
        let mut body = json!({"to": {"channel": channel}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let (mut quiet, mut other, mut deaf) =
        (server.connect(&name).await, server.connect(&name).await, server.connect(&name).await);
    let conv = quiet.ok("open", open(json!({"echo": false}))).await["conv"].clone();
    other.ok("open", open(json!({}))).await;
    deaf.ok("open", open(json!({"push": false}))).await;
    quiet.send(&conv, "q", None).await;
    other.send(&conv, "o", None).await;
    assert_eq!(other.push("msg").await["cid"], "q");
    assert_eq!(other.push("msg").await["cid"], "o");
    assert_eq!(quiet.push("msg").await["cid"], "o", "its own send is left out");
    assert_eq!(deaf.pushes_so_far("msg").await, Vec::<Value>::new());

    other.ok("leave", json!({"conv": conv})).await;
    quiet.send(&conv, "q2", None).await;
    assert_eq!(other.error_code("read", json!({"conv": conv})).await.0, "not_found");
    assert_eq!(other.pushes_so_far("msg").await, Vec::<Value>::new());
}

#[tokio::test]
async fn acknowledgements_presence_and_mentions_reach_those_concerned() {
    let server = Server::start().await;
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let mut ann = server.connect(&ann_name).await;
    let page = ann.open_user(&bob_name).await;
    let conv = page["conv"].clone();
    assert!(page.get("online").is_none(), "bob has not opened it: ann learns nothing of him");

    let mut bob = server.connect(&bob_name).await;
    ann.send(&conv, "c1", None).await;
    let listed = bob.push("listed").await;
    assert_eq!(listed, json!({"conv": conv, "to": {"user": ann_name}, "head": 1}));
    let page = bob.open_user(&ann_name).await;
    assert_eq!(page["online"], true);
    let mut second = server.connect(&bob_name).await;
    second.open_user(&ann_name).await;

    bob.ok("ack", json!({"conv": conv, "up_to": 1})).await;
    assert_eq!(ann.push("acked").await, json!({"conv": conv, "user": bob_name, "up_to": 1}));
    let own = json!({"conv": conv, "user": bob_name, "up_to": 1, "ranges": []});
    assert_eq!(second.push("acked").await, own);

    second.cut().await;
    bob.cut().await;
    let away = json!({"conv": conv, "user": bob_name, "online": false});
    assert_eq!(ann.push("presence").await, away);
    let _bob = server.connect(&bob_name).await;
    assert_eq!(ann.push("presence").await["online"], true);
}

#[tokio::test]
async fn a_conversation_that_is_not_open_is_mentioned_at_most_once_a_second() {
    let server = Server::start().await;
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let mut ann = server.connect(&ann_name).await;
    let mut bob = server.connect(&bob_name).await;
    let conv = ann.open_user(&bob_name).await["conv"].clone();
    let begun = std::time::Instant::now();
    for number in 1..=50 {
        ann.send(&conv, &format!("c{number}"), None).await;
    }
    let mut mentions = 0;
    loop {
        let listed = bob.push("listed").await;
        mentions += 1;
        if listed["head"] == 50 {
            break;
        }
    }
    // One when it became bob's, then one for each second begun.
    assert!(mentions <= 3 + begun.elapsed().as_secs(), "{mentions} mentions");
}
