//! Opening, sending, reading, acknowledging and listing, as the protocol defines them.

use serde_json::{Value, json};

use crate::support::{Peer, Server, message, unique};

fn seqs(items: &Value) -> Vec<u64> {
    items.as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect()
}

async fn pair(server: &Server) -> (Peer, Peer, Value) {
    let (ann, bob) = (unique("ann"), unique("bob"));
    let (mut one, mut other) = (server.connect(&ann).await, server.connect(&bob).await);
    let conv = one.open_user(&bob).await["conv"].clone();
    assert_eq!(other.open_user(&ann).await["conv"], conv, "both sides open the same conversation");
    (one, other, conv)
}

#[tokio::test]
async fn a_late_message_is_never_lost_from_sight() {
    let server = Server::start().await;
    let (mut ann, mut bob, conv) = pair(&server).await;
    for number in 1..=12 {
        ann.send(&conv, &format!("c{number}"), Some(1_000 + number)).await;
    }
    bob.ok("ack", json!({"conv": conv, "up_to": 12})).await;
    let late = ann.send(&conv, "late", Some(5)).await;
    assert_eq!((&late["seq"], &late["late"]), (&json!(13), &json!(true)));
    let equal = ann.send(&conv, "equal", Some(1_012)).await;
    assert_eq!(equal["late"], false, "equal is not late");

    let ann_name = late_sender(&mut bob, &conv).await;
    let page = bob.ok("open", json!({"to": {"user": ann_name}, "limit": 10})).await;
    assert_eq!(seqs(&page["items"]), (4..=12).chain([14]).collect::<Vec<_>>());
    assert_eq!(seqs(&page["late"]), vec![13], "beside the latest 10, the unread late one");
    assert_eq!((&page["unread"], &page["unread_late"]), (&json!(2), &json!(1)));
    assert_eq!((&page["unread_before"], &page["gap"]), (&json!(0), &json!(false)));

    let read = bob.ok("read", json!({"conv": conv, "late": true})).await;
    assert_eq!(seqs(&read["items"]), vec![13]);
    let acked = bob.ok("ack", json!({"conv": conv, "ranges": [[13, 14]]})).await;
    assert_eq!(acked["acked"], json!({"up_to": 13, "ranges": []}));
    let read = bob.ok("read", json!({"conv": conv, "late": true})).await;
    assert_eq!((seqs(&read["items"]), read.get("next")), (vec![], None));
}

/// The other user, as the messages name it.
async fn late_sender(peer: &mut Peer, conv: &Value) -> String {
    let read = peer.ok("read", json!({"conv": conv, "limit": 1})).await;
    read["items"][0]["from"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_retry_is_stored_once_and_a_conflict_not_at_all() {
    let server = Server::start().await;
    let (mut ann, mut bob, conv) = pair(&server).await;
    let first = ann.send(&conv, "c1", Some(1_000)).await;
    assert_eq!(first["dup"], false);
    let mut again = message(&conv, "c1", Some(9_007_199_254_740_991));
    let retried = ann.ok("send", again.clone()).await;
    let expected = json!({"seq": 1, "ts": 1_000, "late": false, "dup": true, "at": first["at"]});
    assert_eq!(retried, expected, "answered before its own ts is judged");
    again["content"] = json!("something else");
    assert_eq!(ann.error_code("send", again).await.0, "conflict");
    let other = bob.send(&conv, "c1", None).await;
    assert_eq!(other["seq"], 2, "a cid is its sender's own");

    let future = message(&conv, "c2", Some(first["at"].as_u64().unwrap() + 600_000));
    assert_eq!(ann.error_code("send", future).await, ("ts_in_future".into(), "ts".into()));
    assert_eq!(ann.send(&conv, "c2", Some(1_001)).await["seq"], 3, "a refusal leaves the cid free");
}

#[tokio::test]
async fn history_pages_meet_without_skip_or_repeat() {
    let server = Server::start().await;
    let (mut ann, _bob, conv) = pair(&server).await;
    let times: Vec<u64> = (0..60).map(|number| 1_000 + (number * 7) % 20).collect();
    for (number, ts) in times.iter().enumerate() {
        ann.send(&conv, &format!("c{number}"), Some(*ts)).await;
    }
    let mut expected: Vec<(u64, u64)> =
        times.iter().enumerate().map(|(at, ts)| (*ts, at as u64 + 1)).collect();
    expected.sort_unstable();
    for (order, limit) in [("asc", 7), ("desc", 11)] {
        let mut request =
            json!({"conv": conv, "order": order, "limit": limit, "from": 1_002, "to": 1_017});
        let mut wanted: Vec<u64> = expected
            .iter()
            .filter(|(ts, _)| (1_002..=1_017).contains(ts))
            .map(|(_, seq)| *seq)
            .collect();
        if order == "desc" {
            wanted.reverse();
        }
        let mut found = Vec::new();
        loop {
            let page = ann.ok("read", request.clone()).await;
            found.extend(seqs(&page["items"]));
            let Some(next) = page.get("next") else { break };
            request["cursor"] = next.clone();
            // Belongs to the pages already read: it must neither show nor shift anything.
            let ts = if order == "asc" { 1_000 } else { 1_019 };
            ann.send(&conv, &unique("during"), Some(ts)).await;
        }
        assert_eq!(found, wanted, "{order}");
    }
    let page = ann.ok("read", json!({"conv": conv, "after_seq": 55, "limit": 3})).await;
    assert_eq!(seqs(&page["items"]), vec![56, 57, 58]);
    let request = json!({"conv": conv, "after_seq": 55, "limit": 2, "cursor": page["next"]});
    assert_eq!(seqs(&ann.ok("read", request).await["items"]), vec![59, 60]);
    let stolen = json!({"conv": conv, "after_seq": 54, "cursor": page["next"]});
    assert_eq!(ann.error_code("read", stolen).await.0, "bad_cursor");
    let opened = ann.ok("open", json!({"to": {"user": unique("nobody")}, "limit": 0})).await;
    let foreign = json!({"conv": opened["conv"], "after_seq": 55, "cursor": page["next"]});
    assert_eq!(ann.error_code("read", foreign).await.0, "bad_cursor");
}

#[tokio::test]
async fn the_page_after_open_is_reached_by_its_cursor() {
    let server = Server::start().await;
    let (mut ann, mut bob, conv) = pair(&server).await;
    for number in 1..=30 {
        ann.send(&conv, &format!("c{number}"), None).await;
    }
    let ann_name = late_sender(&mut bob, &conv).await;
    let page = bob.ok("open", json!({"to": {"user": ann_name}})).await;
    assert_eq!(seqs(&page["items"]), (21..=30).collect::<Vec<_>>());
    assert_eq!((&page["gap"], &page["unread"]), (&json!(true), &json!(30)));
    assert_eq!(page["unread_before"], 20);
    let request = json!({"conv": conv, "order": "desc", "limit": 200, "cursor": page["next"]});
    let older = bob.ok("read", request).await;
    assert_eq!(seqs(&older["items"]), (1..=20).rev().collect::<Vec<_>>());
    assert!(older.get("next").is_none());

    let counts = bob.ok("open", json!({"to": {"user": ann_name}, "limit": 0})).await;
    assert_eq!((seqs(&counts["items"]), &counts["unread"]), (vec![], &json!(30)));
    let request = json!({"conv": conv, "limit": 5, "cursor": counts["next"]});
    assert_eq!(seqs(&bob.ok("read", request).await["items"]), vec![30, 29, 28, 27, 26]);
}

#[tokio::test]
async fn whoever_comes_to_a_channel_has_read_what_was_said_before() {
    let server = Server::start().await;
    let channel = unique("channel");
    let (mut ann, mut bob) =
        (server.connect(&unique("ann")).await, server.connect(&unique("bob")).await);
    let conv = ann.open_channel(&channel).await["conv"].clone();
    ann.send(&conv, "before", None).await;
    let page = bob.open_channel(&channel).await;
    assert_eq!((&page["acked"]["up_to"], &page["unread"]), (&json!(1), &json!(0)));
    ann.send(&conv, "after", None).await;
    let page = bob.open_channel(&channel).await;
    assert_eq!((&page["acked"]["up_to"], &page["unread"]), (&json!(1), &json!(1)), "decided once");
}

#[tokio::test]
async fn acknowledging_above_the_head_changes_nothing() {
    let server = Server::start().await;
    let (mut ann, mut bob, conv) = pair(&server).await;
    for number in 1..=5 {
        ann.send(&conv, &format!("c{number}"), None).await;
    }
    bob.ok("ack", json!({"conv": conv, "ranges": [[2, 3], [4, 5]]})).await;
    for request in
        [json!({"up_to": 6}), json!({"ranges": [[1, 7]]}), json!({"up_to": 1, "ranges": [[5, 7]]})]
    {
        let mut request = request;
        request["conv"] = conv.clone();
        assert_eq!(bob.error_code("ack", request).await.0, "ack_above_head");
    }
    let same = bob.ok("ack", json!({"conv": conv, "up_to": 0})).await;
    assert_eq!(same["acked"], json!({"up_to": 0, "ranges": [[2, 3], [4, 5]]}));
    assert_eq!(same["unread"], 3);
    let merged = bob.ok("ack", json!({"conv": conv, "up_to": 3})).await;
    assert_eq!(merged["acked"], json!({"up_to": 4, "ranges": []}));
}

#[tokio::test]
async fn list_shows_what_is_mine_newest_first() {
    let server = Server::start().await;
    let (ann_name, bob_name, channel) = (unique("ann"), unique("bob"), unique("channel"));
    let mut ann = server.connect(&ann_name).await;
    let mut bob = server.connect(&bob_name).await;
    let direct = ann.open_user(&bob_name).await["conv"].clone();
    let public = ann.open_channel(&channel).await["conv"].clone();
    assert_eq!(ann.ok("list", json!({})).await["items"], json!([]), "empty ones are left out");
    ann.send(&public, "p1", None).await;
    // `at` has milliseconds: the order of the two must not be a tie.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    ann.send(&direct, "d1", None).await;

    let list = ann.ok("list", json!({"limit": 1})).await;
    assert_eq!(list["items"][0]["to"], json!({"user": bob_name}));
    assert_eq!(list["items"][0]["newest"]["cid"], "d1");
    let rest = ann.ok("list", json!({"limit": 1, "cursor": list["next"]})).await;
    assert_eq!(rest["items"][0]["to"], json!({"channel": channel}));
    assert!(rest.get("next").is_none());

    // Bob never opened it: it is his because he was written to.
    let list = bob.ok("list", json!({})).await;
    assert_eq!(list["items"][0]["to"], json!({"user": ann_name}));
    assert_eq!((&list["items"][0]["unread"], &list["items"][0]["head"]), (&json!(1), &json!(1)));
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn notes_to_oneself_are_a_conversation_and_never_unread() {
    let server = Server::start().await;
    let name = unique("ann");
    let mut ann = server.connect(&name).await;
    let conv = ann.open_user(&name).await["conv"].clone();
    ann.send(&conv, "note", None).await;
    assert_eq!(ann.push("msg").await["cid"], "note");
    let page = ann.open_user(&name).await;
    assert_eq!((&page["unread"], seqs(&page["items"])), (&json!(0), vec![1]));
    assert!(page.get("online").is_none());
}
