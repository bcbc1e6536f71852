//! The stock client of Socket.IO against a real server: the same chat by another wire.

use futures_util::{SinkExt as _, StreamExt as _};
use rstest::rstest;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::certificates::Authority;
use crate::support::stock_client::{MODULES, StockClient};
use crate::support::tokens::{token, with_secret};
use crate::support::{PATIENCE, Server, chatctl, message, unique};

/// What the stock client is told, and how it is connected then.
const WEBSOCKET: &[&str] = &["websocket"];
const POLLING: &[&str] = &["polling"];
/// The client's default: it begins by polling and upgrades.
const UPGRADE: &[&str] = &[];

fn seqs(page: &Value) -> Vec<u64> {
    page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect()
}

#[rstest]
#[case::websocket(WEBSOCKET)]
#[case::polling(POLLING)]
#[case::upgrade(UPGRADE)]
#[tokio::test]
async fn it_chats_with_a_websocket(#[case] transports: &[&str]) {
    let server = Server::start().await;
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let Some(mut ann) = StockClient::of(&server, transports).await else { return };
    let hello = ann.ok("hello", json!({"user": ann_name, "client": "stock"})).await;
    assert_eq!((&hello["user"], &hello["protocol"]), (&json!(ann_name), &json!(1)));
    assert_eq!(hello["limits"]["frame_bytes_max"], 131_072);
    let transport = ann.transport().await;
    match transports {
        [only] => assert_eq!(transport, *only),
        _ if transport == "polling" => assert_eq!(ann.transport().await, "websocket"),
        _ => assert_eq!(transport, "websocket"),
    }
    let mut bob = server.connect(&bob_name).await;
    let opened = ann.ok("open", json!({"to": {"user": bob_name}})).await;
    let (conv, epoch) = (opened["conv"].clone(), opened["epoch"].clone());
    bob.open_user(&ann_name).await;

    // Both ways, once each, in order; own messages as well.
    let sent = ann.ok("send", message(&conv, "a1", Some(2_000))).await;
    assert_eq!((&sent["seq"], &sent["dup"]), (&json!(1), &json!(false)));
    assert_eq!(bob.push("msg").await["cid"], "a1");
    bob.send(&conv, "b1", Some(1_000)).await;
    for (seq, cid, late) in [(1, "a1", false), (2, "b1", true)] {
        let pushed = ann.push("msg").await;
        assert_eq!(pushed["seq"], seq);
        assert_eq!((&pushed["cid"], &pushed["late"]), (&json!(cid), &json!(late)));
    }
    let again = ann.ok("send", message(&conv, "a1", None)).await;
    assert_eq!((&again["seq"], &again["dup"]), (&json!(1), &json!(true)));

    // Late and unread, read, acknowledged.
    let page = ann.ok("open", json!({"to": {"user": bob_name}, "limit": 1})).await;
    assert_eq!((&page["unread"], &page["unread_late"]), (&json!(1), &json!(1)));
    assert_eq!(page["late"][0]["cid"], "b1");
    let read = ann.ok("read", json!({"conv": conv, "order": "asc"})).await;
    assert_eq!(seqs(&read), [2, 1], "by time");
    let acked = ann.ok("ack", json!({"conv": conv, "up_to": 2})).await;
    assert_eq!((&acked["acked"]["up_to"], &acked["unread"]), (&json!(2), &json!(0)));
    assert_eq!(bob.push("acked").await["up_to"], 2);

    // The same errors.
    assert_eq!(ann.error_code("send", message(&json!("nowhere"), "x", None)).await, "not_found");
    assert_eq!(ann.error_code("send", json!({"conv": conv})).await, "invalid_field");
    assert_eq!(ann.error_code("shout", json!({})).await, "unknown_method");
    assert_eq!(ann.error_code("open", json!(5)).await, "invalid_field");
    assert_eq!(ann.error_code("hello", json!({"user": ann_name})).await, "already_hello");
    let mut other = message(&conv, "a1", None);
    other["type"] = json!("image");
    assert_eq!(ann.error_code("send", other).await, "conflict");
    assert_eq!(ann.emit(&[json!("ping")]).await, json!({"ok": {}}), "a body may be left out");

    // Many at once: all answered, in the order written.
    let mut ids = Vec::new();
    for number in 0..600 {
        ids.push(ann.begin("send", message(&conv, &format!("m{number}"), None)).await);
    }
    for (number, id) in ids.into_iter().enumerate() {
        assert_eq!(ann.answer(id).await["send"]["seq"], 3 + number);
    }
    for number in 0..600 {
        assert_eq!(ann.push("msg").await["seq"], 3 + number);
    }

    // A connection that is gone without a word, and what was said meanwhile.
    ann.say("cut", json!(null)).await;
    ann.closed().await;
    for cid in ["b2", "b3"] {
        bob.send(&conv, cid, None).await;
    }
    let mut ann = StockClient::connect(&server, transports, &ann_name).await.unwrap();
    let resume = json!({"to": {"user": bob_name}, "resume": {"epoch": epoch, "seq": 602}});
    let resumed = ann.ok("open", resume).await;
    assert_eq!(resumed["recovered"], true);
    assert_eq!(seqs(&resumed), [603, 604]);
    bob.send(&conv, "b4", None).await;
    assert_eq!(ann.push("msg").await["seq"], 605);

    // A drain says so before the disconnect; of who polls, to the request that waits: there is none for a moment after each answer.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    server.signal(Signal::TERM);
    assert_eq!(ann.closed().await.0, Some(4_001));
}

#[rstest]
#[case::websocket(WEBSOCKET)]
#[case::polling(POLLING)]
#[case::upgrade(UPGRADE)]
#[tokio::test]
async fn what_is_wrong_has_the_same_code(#[case] transports: &[&str]) {
    let server = Server::start().await;
    let connect = async || StockClient::connect(&server, transports, &unique("ann")).await;
    let Some(mut ann) = connect().await else { return };
    // What upgrades does so first: a client that has sent too much by then has sent it twice.
    if transports.is_empty() {
        while ann.transport().await != "websocket" {}
    }
    let padded = |bytes: usize| json!({"pad": "x".repeat(bytes)});
    ann.ok("ping", padded(131_000)).await;
    ann.tell(&[json!("ping"), padded(131_072)]).await;
    assert_eq!(ann.closed().await.0, Some(1_009));

    let mut ann = connect().await.unwrap();
    ann.tell(&[json!("send"), json!({"$binary": "bytes"})]).await;
    assert_eq!(ann.closed().await.0, Some(1_003));

    // Two bodies are no command. The tenth in a minute closes.
    let mut ann = connect().await.unwrap();
    for number in 1..=10 {
        ann.tell(&[json!("open"), json!({}), json!({})]).await;
        if number < 10 {
            assert_eq!(ann.push("error").await["code"], "bad_frame");
        }
    }
    assert_eq!(ann.closed().await.0, Some(4_500));

    // An invalid hello may be said again; no namespace but one.
    let mut ann = StockClient::of(&server, transports).await.unwrap();
    assert_eq!(ann.error_code("hello", json!({"user": "no name"})).await, "invalid_field");
    assert_eq!(
        ann.error_code("hello", json!({"token": "x", "user": "ann"})).await,
        "invalid_field"
    );
    ann.ok("hello", json!({"user": unique("ann")})).await;
    let url = format!("http://{}/other", server.address());
    let options = match transports {
        [] => json!({}),
        transports => json!({ "transports": transports }),
    };
    let mut other = StockClient::new(&url, options).await.unwrap();
    assert_eq!(other.error_code("hello", json!({"user": "ann"})).await, "not_found");
    ann.ok("ping", json!({})).await;
}

/// A stock client that reconnects by itself: the application says `hello` (by `auth`) and resumes.
#[rstest]
#[case::websocket(WEBSOCKET)]
#[case::polling(POLLING)]
#[case::upgrade(UPGRADE)]
#[tokio::test]
async fn it_comes_back_by_itself_and_resumes(#[case] transports: &[&str]) {
    // Its next life has the same address.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let mut server = Server::start_with(&[("CHATCTL_LISTEN", &listen)]).await;
    let channel = unique("channel");
    let mut options =
        json!({"reconnection": true, "reconnectionDelay": 50, "reconnectionDelayMax": 200});
    if !transports.is_empty() {
        options["transports"] = json!(transports);
    }
    let client = StockClient::new(&format!("http://{listen}"), options).await;
    let Some(mut ann) = client else { return };
    ann.ok("hello", json!({"user": unique("ann")})).await;
    let opened = ann.ok("open", json!({"to": {"channel": channel}})).await;
    ann.ok("send", message(&opened["conv"], "a1", None)).await;
    server.kill().await;
    ann.closed().await;
    server.restart().await;
    // Said again by the client itself, with the same auth.
    ann.push("hello").await;
    let resume =
        json!({"to": {"channel": channel}, "resume": {"epoch": opened["epoch"], "seq": 0}});
    let resumed = ann.ok("open", resume).await;
    assert_eq!((&resumed["recovered"], seqs(&resumed)), (&json!(true), vec![1]));
}

#[rstest]
#[case::websocket(WEBSOCKET)]
#[case::polling(POLLING)]
#[tokio::test]
async fn who_does_not_read_is_closed_and_others_go_on(#[case] transports: &[&str]) {
    let server = Server::start_with(&[("CHATCTL_OUTBOX_BYTES_MAX", "4194304")]).await;
    let channel = unique("channel");
    let slow = StockClient::connect(&server, transports, &unique("slow")).await;
    let Some(mut slow) = slow else { return };
    slow.ok("open", json!({"to": {"channel": channel}})).await;
    slow.signal(Signal::STOP);
    let mut ann = server.connect(&unique("ann")).await;
    let conv = ann.open_channel(&channel).await["conv"].clone();
    let mut body = message(&conv, "", None);
    body["content"] = json!("x".repeat(16_000));
    for number in 0..2_000 {
        body["cid"] = json!(format!("c{number}"));
        ann.ok("send", body.clone()).await;
        if number % 50 == 0 && server.counter("chatctl_slow_readers_total").await >= 1.0 {
            break;
        }
    }
    assert_eq!(server.counter("chatctl_slow_readers_total").await, 1.0);
    ann.send(&conv, "after", None).await;
    let closed = async {
        while !server
            .admin_get("/metrics")
            .await
            .1
            .contains(r#"chatctl_closes_total{code="4408"} 1"#)
        {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("the slow one is gone");
    slow.signal(Signal::CONT);
}

#[rstest]
#[case::websocket(WEBSOCKET)]
#[case::polling(POLLING)]
#[case::upgrade(UPGRADE)]
#[tokio::test]
async fn tokens_are_asked_for_and_a_revocation_ends_it(#[case] transports: &[&str]) {
    let server = with_secret().await;
    let Some(mut ann) = StockClient::of(&server, transports).await else { return };
    assert_eq!(ann.error_code("hello", json!({"token": "x.y.z"})).await, "bad_token");
    let mut ann = StockClient::of(&server, transports).await.unwrap();
    let user = unique("ann");
    ann.ok("hello", json!({"token": token(&["--user", &user]).await})).await;
    let other = token(&["--user", &user]).await;
    assert!(ann.ok("refresh", json!({"token": other})).await["expires"].is_u64());
    let revoked = chatctl(&["revoke", "--admin", server.admin(), "--user", &user]).output().await;
    assert!(revoked.unwrap().status.success());
    assert_eq!(ann.closed().await.0, Some(4_503));
}

#[rstest]
#[case::websocket(WEBSOCKET)]
#[case::polling(POLLING)]
#[case::upgrade(UPGRADE)]
#[tokio::test]
async fn it_speaks_tls(#[case] transports: &[&str]) {
    let authority = Authority::new();
    let [certificate, key] = authority.issue_here().write(authority.folder());
    let server = Server::start_with(&[
        ("CHATCTL_TLS_CERT", certificate.to_str().unwrap()),
        ("CHATCTL_TLS_KEY", key.to_str().unwrap()),
    ])
    .await;
    let mut options = json!({"ca": std::fs::read_to_string(authority.file()).unwrap()});
    if !transports.is_empty() {
        options["transports"] = json!(transports);
    }
    let client = StockClient::new(&format!("https://{}", server.address()), options).await;
    let Some(mut ann) = client else { return };
    ann.ok("hello", json!({"user": unique("ann")})).await;
    let opened = ann.ok("open", json!({"to": {"channel": unique("channel")}})).await;
    ann.ok("send", message(&opened["conv"], "a1", None)).await;
    assert_eq!(ann.push("msg").await["seq"], 1);
}

/// The harness's own clients over this wire, judged.
#[tokio::test]
async fn check_validity_is_driven_by_stock_clients() {
    let Some(modules) = MODULES.get().await else { return };
    let out = tempfile::tempdir().unwrap();
    let run = |modules: &std::path::Path| {
        let mut command = chatctl(&["check", "validity", "--transport", "socketio"]);
        command.args(["--clients", "6", "--messages", "40", "--out"]).arg(out.path());
        command.env("CHATCTL_SOCKETIO_CLIENT", modules);
        command.output()
    };
    let output = run(&modules).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said} {output:?}");
    assert!(said.starts_with("valid"), "{said}");
    let output = run(out.path()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("npm install socket.io-client"), "{said}");
}

#[rstest]
#[case::websocket(WEBSOCKET)]
#[case::polling(POLLING)]
#[tokio::test]
async fn rates_and_places_are_the_same(#[case] transports: &[&str]) {
    let server = Server::start_with(&[
        ("CHATCTL_COMMANDS_PER_S_MAX", "10"),
        ("CHATCTL_RATE_BURST_MS", "1000"),
        ("CHATCTL_CONNECTIONS_PER_USER_MAX", "1"),
    ])
    .await;
    let name = unique("ann");
    let ann = StockClient::connect(&server, transports, &name).await;
    let Some(mut ann) = ann else { return };
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(ann.begin("ping", json!({})).await);
    }
    let (mut answered, mut refused) = (0, 0);
    for id in ids {
        let reply = ann.answer(id).await;
        match reply.get("error") {
            None => answered += 1,
            Some(error) => {
                assert_eq!(error["code"], "rate_limited");
                assert!(error["retry_after_ms"].as_u64().unwrap() > 0);
                refused += 1;
            }
        }
    }
    assert!(answered >= 5 && refused >= 20, "{answered} {refused}");
    let mut second = StockClient::of(&server, transports).await.unwrap();
    assert_eq!(second.error_code("hello", json!({"user": name})).await, "limit");
}

/// Large answers that wait when the upgrade comes: all of them must arrive, once, some by polling and some by the WebSocket.
#[tokio::test]
async fn an_upgrade_loses_nothing_of_what_waits() {
    const PAGES: usize = 12;
    let server = Server::start().await;
    let channel = unique("channel");
    let mut bob = server.connect(&unique("bob")).await;
    let conv = bob.open_channel(&channel).await["conv"].clone();
    let mut body = message(&conv, "", None);
    body["content"] = json!("x".repeat(16_000));
    for number in 0..20 {
        body["cid"] = json!(format!("c{number}"));
        bob.ok("send", body.clone()).await;
    }
    let path = "/socket.io/?EIO=4&transport=polling";
    let (_, opened) = server.get(path, "").await;
    let (_, rest) = opened.split_once("\"sid\":\"").unwrap();
    let sid = rest.split('"').next().unwrap();
    let path = format!("{path}&sid={sid}");
    let mut packets = vec![format!("40{}", json!({"user": unique("ann")}))];
    packets.push(format!("420{}", json!(["open", {"to": {"channel": channel}}])));
    for number in 1..=PAGES {
        packets.push(format!("42{number}{}", json!(["read", {"conv": conv, "limit": 20}])));
    }
    let separator = "\u{1e}";
    assert_eq!(server.post(&path, &packets.join(separator)).await, 200);
    // Nobody takes anything yet.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let (_, polled) = server.get(&path, "").await;
    let mut came: Vec<String> = polled.split(separator).map(str::to_owned).collect();
    assert!(came.iter().any(|packet| packet.starts_with("42[\"hello\"")), "some came by polling");
    let url = format!("ws://{}{}", server.address(), path.replace("polling", "websocket"));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    socket.send(Message::text("2probe")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("3probe"));
    socket.send(Message::text("5")).await.unwrap();
    let answers_to = |came: &[String], number: usize| {
        came.iter().filter(|packet| packet.starts_with(&format!("43{number}["))).count()
    };
    // In any order.
    let all = async {
        while (0..=PAGES).any(|number| answers_to(&came, number) == 0) {
            came.push(socket.next().await.unwrap().unwrap().to_string());
        }
    };
    let is_all = tokio::time::timeout(PATIENCE / 4, all).await.is_ok();
    let counts: Vec<_> = (0..=PAGES).map(|number| answers_to(&came, number)).collect();
    assert!(is_all && counts.iter().all(|&count| count == 1), "{counts:?}");
}

/// The judge sees over this wire what it sees over the other: a server that leaves out a push, one that stores another text.
#[cfg(feature = "faults")]
#[rstest]
#[case("miss-push", "rt-miss")]
#[case("corrupt-content", "corrupt")]
#[tokio::test]
async fn mutants_are_caught_by_stock_clients(#[case] fault: &str, #[case] expected: &str) {
    let Some(modules) = MODULES.get().await else { return };
    let out = tempfile::tempdir().unwrap();
    let output = chatctl(&["check", "validity", "--transport", "socketio", "--server-env"])
        .arg(format!("CHATCTL_FAULT={fault}"))
        .args(["--clients", "8", "--messages", "100", "--out"])
        .arg(out.path())
        .env("CHATCTL_SOCKETIO_CLIENT", modules)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains(expected), "{said}");
}
