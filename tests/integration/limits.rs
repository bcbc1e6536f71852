//! The bounds of `hello.limits`: at the bound it works, beyond it the documented answer comes.

use serde_json::{Value, json};

use crate::support::{Server, message, unique};

#[tokio::test]
async fn contents_and_frames_at_their_bounds() {
    let server = Server::start().await;
    let mut ann = server.connect(&unique("ann")).await;
    let conv = ann.open_user(&unique("bob")).await["conv"].clone();
    // Six bytes each as JSON: the largest content that a frame must still carry back.
    let control: String = "\u{1}".repeat(16_384);
    for (cid, content) in
        [("plain", "x".repeat(16_384)), ("wide", "ü".repeat(8_192)), ("control", control)]
    {
        let mut body = message(&conv, cid, None);
        body["content"] = json!(content);
        ann.ok("send", body).await;
        assert_eq!(ann.push("msg").await["content"], content.as_str());
    }
    let frame = |bytes: usize| {
        let (start, end) = (r#"{"id":99,"ping":{"pad":""#, r#""}}"#);
        format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len()))
    };
    ann.write_text(&frame(131_072)).await;
    assert_eq!(ann.frame().await.unwrap(), json!({"id": 99, "ping": {}}));
    ann.write_text(&frame(131_073)).await;
    assert_eq!(ann.close_code().await, 1009);
}

#[tokio::test]
async fn a_page_of_large_messages_is_cut_and_goes_on() {
    let server = Server::start().await;
    let mut ann = server.connect(&unique("ann")).await;
    let conv =
        ann.ok("open", json!({"to": {"user": unique("bob")}, "push": false})).await["conv"].clone();
    let content = "\u{1}".repeat(16_384);
    for number in 1..=25 {
        let mut body = message(&conv, &format!("c{number}"), None);
        body["content"] = json!(content);
        ann.ok("send", body).await;
    }
    let mut request = json!({"conv": conv, "order": "asc", "limit": 200});
    let (mut seqs, mut pages) = (Vec::new(), 0);
    loop {
        let page = ann.ok("read", request.clone()).await;
        assert!(page.to_string().len() <= 1 << 20, "{} bytes", page.to_string().len());
        pages += 1;
        seqs.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()),
        );
        let Some(next) = page.get("next") else { break };
        request["cursor"] = next.clone();
    }
    assert_eq!(seqs, (1..=25).collect::<Vec<_>>());
    assert!(pages >= 3, "25 × 98 KB do not fit two pages");
}

#[tokio::test]
async fn open_conversations_are_bounded() {
    let server = Server::start_with(&[("CHATCTL_LOCAL_SYNC", "memory")]).await;
    let mut ann = server.connect(&unique("ann")).await;
    let mut first = Value::Null;
    for number in 0..1_000 {
        let page = ann.open_channel(&format!("c{number}")).await;
        if number == 0 {
            first = page["conv"].clone();
        }
    }
    let beyond = json!({"to": {"channel": "beyond"}});
    assert_eq!(ann.error_code("open", beyond.clone()).await.0, "limit");
    ann.open_channel("c0").await;
    ann.ok("leave", json!({"conv": first})).await;
    ann.ok("open", beyond).await;
}

#[tokio::test]
async fn more_than_in_flight_max_commands_are_all_answered() {
    let server = Server::start().await;
    let mut ann = server.connect(&unique("ann")).await;
    let conv = ann.open_user(&unique("bob")).await["conv"].clone();
    let mut ids = Vec::new();
    for number in 0..1_000 {
        ids.push(ann.begin("send", message(&conv, &format!("c{number}"), None)).await);
    }
    for (number, id) in ids.into_iter().enumerate() {
        assert_eq!(ann.answer(id).await["send"]["seq"], number + 1);
    }
}

#[tokio::test]
async fn acknowledged_ranges_are_bounded() {
    let server = Server::start_with(&[("CHATCTL_LOCAL_SYNC", "memory")]).await;
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let mut ann = server.connect(&ann_name).await;
    let conv =
        ann.ok("open", json!({"to": {"user": bob_name}, "push": false})).await["conv"].clone();
    let mut ids = Vec::new();
    for number in 0..2_100 {
        ids.push(ann.begin("send", message(&conv, &format!("c{number}"), None)).await);
    }
    for id in ids {
        ann.answer(id).await;
    }
    let mut bob = server.connect(&bob_name).await;
    bob.open_user(&ann_name).await;
    let ranges = |from: usize, count: usize| -> Vec<[usize; 2]> {
        (from..from + count).map(|number| [number * 2, number * 2 + 1]).collect()
    };
    for hundred in 0..10 {
        bob.ok("ack", json!({"conv": conv, "ranges": ranges(1 + hundred * 100, 100)})).await;
    }
    let one_more = json!({"conv": conv, "ranges": ranges(1_001, 1)});
    assert_eq!(bob.error_code("ack", one_more).await.0, "limit");
    let page = bob.ok("open", json!({"to": {"user": ann_name}, "limit": 0})).await;
    assert_eq!(page["acked"]["ranges"].as_array().unwrap().len(), 1_000, "nothing changed");
    assert_eq!((&page["unread"], &page["unread_more"]), (&json!(99), &json!(true)));
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_closed_and_others_go_on() {
    let server = Server::start_with(&[("CHATCTL_OUTBOX_BYTES_MAX", "4194304")]).await;
    let channel = unique("channel");
    let mut slow = server.connect(&unique("slow")).await;
    slow.open_channel(&channel).await;
    let mut ann = server.connect(&unique("ann")).await;
    let conv =
        ann.ok("open", json!({"to": {"channel": channel}, "echo": false})).await["conv"].clone();
    let mut body = message(&conv, "", None);
    body["content"] = json!("x".repeat(16_000));
    // Until the kernel's buffers and the outbox are full, and then some.
    for number in 0..2_000 {
        body["cid"] = json!(format!("c{number}"));
        ann.ok("send", body.clone()).await;
        if server_closed_slow(&server, number).await {
            break;
        }
    }
    assert_eq!(slow.close_code().await, 4408);
    ann.send(&conv, "after", None).await;
}

/// Looked at now and then, to end the flood early.
async fn server_closed_slow(server: &Server, number: usize) -> bool {
    number % 50 == 0 && server.counter("chatctl_slow_readers_total").await >= 1.0
}
