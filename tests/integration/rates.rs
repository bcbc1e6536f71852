//! Rates of a session, at their limits: what is refused, when it may come again, and who is closed.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::raw::{Got, Raw, frame};
use crate::support::{Peer, Server, message, unique};

/// A bucket of so many that hardly flows back while a test runs.
const DAY_MS: &str = "86400000";

/// A server on which one variable is a rate of 1 in a second.
async fn server(variable: &str, burst_ms: &str) -> Server {
    Server::start_with(&[
        (variable, "1"),
        ("CHATCTL_RATE_BURST_MS", burst_ms),
        ("CHATCTL_LOCAL_SYNC", "memory"),
    ])
    .await
}

/// The wait that a refusal tells.
fn retry_after(error: &Value) -> Duration {
    assert_eq!(error["code"], "rate_limited", "{error}");
    assert_eq!((&error["temporary"], &error["definite"]), (&json!(true), &json!(true)), "{error}");
    let retry_after_ms = error["retry_after_ms"].as_u64().unwrap();
    assert!((1..=2_000).contains(&retry_after_ms), "{error}");
    Duration::from_millis(retry_after_ms)
}

#[tokio::test]
async fn commands_at_their_limit() {
    let server = server("CHATCTL_COMMANDS_PER_S_MAX", "10000").await;
    let begun = Instant::now();
    let mut ann = server.connect(&unique("ann")).await;
    // `hello` is one of ten.
    for number in 2..=10 {
        assert_eq!(ann.ok("ping", json!({})).await, json!({}), "{number}");
    }
    let error = ann.error("ping", json!({})).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "too slow to be judged");
    let wait = retry_after(&error);
    assert!(wait <= Duration::from_secs(1), "{error}");
    tokio::time::sleep(wait).await;
    ann.ok("ping", json!({})).await;
    // Another session has a bucket of its own.
    server.connect(&unique("bob")).await.ok("ping", json!({})).await;
}

#[tokio::test]
async fn a_refused_send_is_not_done_and_its_cid_is_free() {
    let server = server("CHATCTL_MESSAGES_PER_S_MAX", "10000").await;
    let mut ann = server.connect(&unique("ann")).await;
    let conv = ann.open_user(&unique("bob")).await["conv"].clone();
    let begun = Instant::now();
    for number in 1..=10 {
        assert_eq!(ann.send(&conv, &format!("c{number}"), None).await["seq"], number);
    }
    let error = ann.error("send", message(&conv, "c11", None)).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "too slow to be judged");
    let wait = retry_after(&error);
    // Other commands go on, and see that nothing was stored.
    let page = ann.ok("read", json!({"conv": conv, "limit": 20})).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 10);
    tokio::time::sleep(wait).await;
    let sent = ann.send(&conv, "c11", None).await;
    assert_eq!((&sent["seq"], &sent["dup"]), (&json!(11), &json!(false)));
}

/// `hello` in exactly so many bytes, and a ping.
fn padded(method: &str, id: u64, bytes: usize) -> String {
    let start = format!(r#"{{"id":{id},"{method}":{{"user":"ann","pad":""#);
    let end = r#""}}"#;
    format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len()))
}

#[rstest]
#[case::limit_less_one(86_399, true)]
#[case::limit(86_400, true)]
#[case::limit_and_one(86_401, false)]
#[tokio::test]
async fn incoming_bytes_at_their_limit(#[case] bytes: usize, #[case] is_let_in: bool) {
    let server = server("CHATCTL_INCOMING_BYTES_PER_S_MAX", DAY_MS).await;
    let mut ann = Peer::silent(&server.url).await;
    let begun = Instant::now();
    ann.write_text(&padded("hello", 1, 400)).await;
    assert!(ann.frame().await.unwrap().get("hello").is_some());
    ann.write_text(&padded("ping", 2, bytes - 400)).await;
    let answer = ann.frame().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "too slow to be judged");
    match is_let_in {
        true => assert_eq!(answer, json!({"id": 2, "ping": {}})),
        false => {
            assert_eq!(answer["id"], 2, "{answer}");
            retry_after(&answer["error"]);
        }
    }
}

#[tokio::test]
async fn reply_bytes_at_their_limit() {
    let server = server("CHATCTL_REPLY_BYTES_PER_S_MAX", DAY_MS).await;
    let mut ann = server.connect(&unique("ann")).await;
    let mut replied = 0;
    let begun = Instant::now();
    let mut count = |reply: &Value| {
        // As it stood on the wire: no number of ours has two forms, and no key is left out.
        replied += reply.to_string().len();
        replied
    };
    let opened = ann.call("open", json!({"to": {"user": unique("bob")}, "push": false})).await;
    count(&opened);
    let conv = opened["open"]["conv"].clone();
    let mut body = message(&conv, "large", None);
    body["content"] = json!("x".repeat(10_000));
    count(&ann.call("send", body).await);
    let mut read = ann.call("read", json!({"conv": conv})).await;
    while count(&read) <= 86_400 {
        read = ann.call("read", json!({"conv": conv})).await;
        assert!(read.get("read").is_some(), "refused too early: {read}");
    }
    for (method, body) in [
        ("read", json!({"conv": conv})),
        ("open", json!({"to": {"user": "carl"}})),
        ("list", json!({})),
    ] {
        let error = ann.error(method, body).await;
        assert_eq!(error["code"], "rate_limited", "{method}: {error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    // Who has read much may still write.
    ann.send(&conv, "small", None).await;
}

/// What a flood of commands or pings gets: its close code, and after how long.
async fn flood(server: &Server, sent: &[u8]) -> (Got, Duration) {
    let mut raw = Raw::greeted(&server.address(), &unique("ann")).await;
    let begun = Instant::now();
    loop {
        raw.write(sent).await;
        // Whatever has come is read, so that only the rate is what ends it.
        while let Some(got) = raw.read_within(Duration::from_millis(5)).await {
            if !matches!(got, Got::Text(_) | Got::Pong(_)) {
                return (got, begun.elapsed());
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "it goes on and on");
    }
}

#[rstest]
#[case::commands(frame(0x81, br#"{"id":2,"ping":{}}"#).repeat(20))]
#[case::pings(frame(0x89, b"ping").repeat(20))]
#[case::pongs(frame(0x8a, b"pong").repeat(20))]
#[case::bad_commands(frame(0x81, br#"{"id":2,"nonsense":{}}"#).repeat(20))]
#[tokio::test]
async fn a_sustained_flood_is_closed(#[case] sent: Vec<u8>) {
    let server = Server::start_with(&[
        ("CHATCTL_COMMANDS_PER_S_MAX", "20"),
        ("CHATCTL_RATE_BURST_MS", "500"),
        ("CHATCTL_RATE_SUSTAINED_MS", "2000"),
    ])
    .await;
    let (got, after) = flood(&server, &sent).await;
    assert_eq!(got, Got::Close(Some(4029)));
    assert!((2.0..10.0).contains(&after.as_secs_f64()), "after {after:?}");
    assert!(server.counter("chatctl_rate_limited_total").await >= 40.0);
    assert_eq!(server.counter("chatctl_closes_total").await, 1.0);
}

#[tokio::test]
async fn who_comes_again_when_told_gets_its_share_and_stays() {
    let server = Server::start_with(&[
        ("CHATCTL_MESSAGES_PER_S_MAX", "50"),
        ("CHATCTL_RATE_BURST_MS", "100"),
        ("CHATCTL_RATE_SUSTAINED_MS", "1000"),
        ("CHATCTL_LOCAL_SYNC", "memory"),
    ])
    .await;
    let mut ann = server.connect(&unique("ann")).await;
    let conv =
        ann.ok("open", json!({"to": {"user": unique("bob")}, "push": false})).await["conv"].clone();
    // All at once, and each again when it may.
    let begun = Instant::now();
    let mut due: Vec<(Instant, usize)> = (0..150).map(|number| (begun, number)).collect();
    while !due.is_empty() {
        let now = Instant::now();
        let mut begins = Vec::new();
        for (_, number) in due.extract_if(.., |(at, _)| *at <= now) {
            let body = message(&conv, &format!("c{number}"), None);
            begins.push((ann.begin("send", body).await, number));
        }
        for (id, number) in begins {
            let reply = ann.answer(id).await;
            if let Some(error) = reply.get("error") {
                due.push((Instant::now() + retry_after(error), number));
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    assert!((2.5..8.0).contains(&took), "150 messages at 50/s in {took} s");
    ann.ok("ping", json!({})).await;
}

#[tokio::test]
async fn a_client_of_the_harness_waits_and_loses_nothing() {
    let server = Server::start_with(&[
        // Less than the slowest machine makes.
        ("CHATCTL_COMMANDS_PER_S_MAX", "50"),
        ("CHATCTL_RATE_BURST_MS", "200"),
        ("CHATCTL_RATE_SUSTAINED_MS", "2000"),
        ("CHATCTL_LOCAL_SYNC", "memory"),
    ])
    .await;
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let bench =
        ["bench", "paired-clients", "--clients", "4", "--messages", "60", "--check", "--json"];
    let bench =
        bench.into_iter().chain(["--url", &server.url, "--out", folder]).collect::<Vec<_>>();
    let output = crate::support::chatctl(&bench).output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{said}{} {} {} {}",
        report["verdict"],
        report["errors"],
        report["counts"],
        report["check"]
    );
    assert!(report["errors"]["rate_limited"].as_u64() > Some(0), "{}", report["errors"]);
    assert_eq!(report["check"]["outcome"], "valid", "{}", report["check"]);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let check = [
        "check",
        "validity",
        "--clients",
        "4",
        "--messages",
        "60",
        "--url",
        &server.url,
        "--out",
        out,
    ];
    let output = crate::support::chatctl(&check).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn a_flood_of_pings_costs_one_pong_and_no_memory() {
    let server = Server::start().await;
    let mut raw = Raw::greeted(&server.address(), "ann").await;
    let before = server.counter("chatctl_process_resident_bytes").await;
    // §5.5.3: only the newest need be answered. 50 000 pings of 125 bytes, of which nobody reads the pongs.
    for number in 0..500u32 {
        let mut payload = [0; 125];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        raw.write(&frame(0x89, &payload).repeat(100)).await;
    }
    raw.write(&frame(0x89, b"last")).await;
    raw.write(&frame(0x81, br#"{"id":2,"ping":{}}"#)).await;
    let mut pongs = 0;
    let (mut is_last, mut is_answered) = (false, false);
    while !(is_last && is_answered) {
        match raw.read().await {
            Got::Pong(payload) => {
                pongs += 1;
                is_last |= payload == b"last";
            }
            Got::Text(text) => is_answered |= text == r#"{"id":2,"ping":{}}"#,
            got => panic!("{got:?}"),
        }
    }
    assert!(pongs <= 50_001, "{pongs}");
    let grown = server.counter("chatctl_process_resident_bytes").await - before;
    assert!(grown < 8e6, "{grown} bytes more");
}
