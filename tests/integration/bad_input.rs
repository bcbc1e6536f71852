//! What a hostile or mistaken client gets: an answer or a close code, and nobody else notices.

use rstest::rstest;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::support::{Peer, Server, message, unique};

/// The error that answers a raw frame.
async fn error_of(peer: &mut Peer, text: &str) -> Value {
    peer.write_text(text).await;
    let frame = peer.frame().await.unwrap();
    assert!(frame.get("error").is_some(), "{text}: {frame}");
    frame
}

#[rstest]
#[case::not_json("hello?", None)]
#[case::array("[]", None)]
#[case::no_id(r#"{"ping":{}}"#, None)]
#[case::id_zero(r#"{"id":0,"ping":{}}"#, None)]
#[case::id_text(r#"{"id":"7","ping":{}}"#, None)]
#[case::id_float(r#"{"id":1.5,"ping":{}}"#, None)]
#[case::id_too_large(r#"{"id":9007199254740992,"ping":{}}"#, None)]
#[case::no_method(r#"{"id":7}"#, Some(7))]
#[case::two_methods(r#"{"id":7,"ping":{},"list":{}}"#, Some(7))]
#[case::the_same_method_twice(r#"{"id":7,"ping":{},"ping":{}}"#, Some(7))]
#[case::lone_surrogate(r#"{"id":7,"ping":{"x":"\ud800"}}"#, None)]
#[tokio::test]
async fn a_frame_that_is_none_is_answered(#[case] text: &str, #[case] id: Option<u64>) {
    let server = Server::start().await;
    let mut peer = server.connect(&unique("ann")).await;
    let frame = error_of(&mut peer, text).await;
    assert_eq!(frame["error"]["code"], "bad_frame", "{frame}");
    assert_eq!(frame.get("id").and_then(Value::as_u64), id);
    peer.ok("ping", json!({})).await;
}

#[tokio::test]
async fn nesting_is_bounded_at_sixteen() {
    let server = Server::start().await;
    let mut peer = server.connect(&unique("ann")).await;
    let nested = |arrays: usize| {
        format!(r#"{{"id":9,"ping":{{"x":{}{}}}}}"#, "[".repeat(arrays), "]".repeat(arrays))
    };
    // The frame and the body are two.
    for arrays in [13, 14] {
        peer.write_text(&nested(arrays)).await;
        assert_eq!(peer.frame().await.unwrap(), json!({"id": 9, "ping": {}}));
    }
    assert_eq!(error_of(&mut peer, &nested(15)).await["error"]["code"], "bad_frame");
    assert_eq!(error_of(&mut peer, &nested(50_000)).await["error"]["code"], "bad_frame");
}

#[tokio::test]
async fn the_tenth_bad_frame_in_a_minute_closes() {
    let server = Server::start().await;
    let mut peer = server.connect(&unique("ann")).await;
    for _ in 0..9 {
        peer.write_text("{").await;
        assert_eq!(peer.frame().await.unwrap()["error"]["code"], "bad_frame");
    }
    peer.ok("ping", json!({})).await;
    peer.write_text("{").await;
    let mut answers = 9;
    let code = loop {
        match peer.frame().await {
            Ok(frame) => answers += usize::from(frame["error"]["code"] == "bad_frame"),
            Err(code) => break code,
        }
    };
    assert_eq!((answers, code), (10, 4500));
}

#[tokio::test]
async fn the_first_frame_is_hello() {
    let server = Server::start().await;
    for first in [r#"{"id":1,"ping":{}}"#, r#"{"id":1,"send":{}}"#, r#"{"id":1,"nonsense":{}}"#] {
        let mut peer = Peer::silent(&server.url).await;
        let frame = error_of(&mut peer, first).await;
        assert_eq!((&frame["id"], &frame["error"]["code"]), (&json!(1), &json!("hello_first")));
        assert_eq!(peer.close_code().await, 4500);
    }
    let mut peer = Peer::silent(&server.url).await;
    assert_eq!(peer.error_code("hello", json!({"user": ""})).await.1, "user");
    assert_eq!(
        peer.error_code("hello", json!({"user": "a", "client": "x".repeat(129)})).await.1,
        "client"
    );
    let hello = peer.ok("hello", json!({"user": "ann", "client": "x".repeat(128)})).await;
    assert_eq!((&hello["protocol"], &hello["engine"]["name"]), (&json!(1), &json!("LOCAL")));
    assert_eq!(hello["engine"]["durability"], "disk");
    assert_eq!(hello["limits"]["frame_bytes_max"], 131_072);
    assert_eq!(peer.error_code("hello", json!({"user": "bob"})).await.0, "already_hello");
    assert_eq!(peer.error_code("hello", json!({"user": 7})).await.0, "already_hello");
}

#[tokio::test]
async fn each_wrong_field_is_named() {
    let server = Server::start().await;
    let mut peer = server.connect(&unique("ann")).await;
    let conv = peer.open_user(&unique("bob")).await["conv"].clone();
    let send = |key: &str, value: Value| {
        let mut body = message(&conv, "c", None);
        body[key] = value;
        ("send", body, key.to_owned())
    };
    let with = |method: &'static str, field: &str, body: Value| (method, body, field.to_owned());
    let cases = [
        with("open", "to", json!({})),
        with("open", "to", json!({"to": "bob"})),
        with("open", "to", json!({"to": {}})),
        with("open", "to", json!({"to": {"user": "a", "channel": "b"}})),
        with("open", "to.user", json!({"to": {"user": ""}})),
        with("open", "to.user", json!({"to": {"user": "nul\0"}})),
        with("open", "to.user", json!({"to": {"user": null}})),
        with("open", "to.channel", json!({"to": {"channel": "x".repeat(65)}})),
        with("open", "limit", json!({"to": {"user": "a"}, "limit": 201})),
        with("open", "limit", json!({"to": {"user": "a"}, "limit": -1})),
        with("open", "limit", json!({"to": {"user": "a"}, "limit": null})),
        with("open", "resume.epoch", json!({"to": {"user": "a"}, "resume": {"seq": 1}})),
        with(
            "open",
            "resume.seq",
            json!({"to": {"user": "a"}, "resume": {"epoch": "e", "seq": "1"}}),
        ),
        with("open", "echo", json!({"to": {"user": "a"}, "echo": 1})),
        send("conv", json!("")),
        send("conv", json!(7)),
        send("conv", json!("nul\0")),
        send("conv", json!("x".repeat(100_000))),
        send("cid", json!("")),
        send("cid", json!("with space")),
        send("cid", json!("nul\0")),
        send("cid", json!("x".repeat(65))),
        send("cid", json!({})),
        send("type", json!("Text")),
        send("type", json!("x".repeat(33))),
        send("content", json!("")),
        send("content", json!("nul\0")),
        send("content", json!("x".repeat(16_385))),
        send("content", json!(["text"])),
        send("content", Value::Null),
        send("ts", json!(-1)),
        send("ts", json!(1.5)),
        send("ts", json!(9_007_199_254_740_992_u64)),
        with("read", "limit", json!({"conv": conv, "limit": 0})),
        with("read", "order", json!({"conv": conv, "order": "up"})),
        with("read", "from", json!({"conv": conv, "from": 2, "to": 1})),
        with("read", "from", json!({"conv": conv, "from": 2, "after_seq": 1})),
        with("read", "order", json!({"conv": conv, "order": "asc", "late": true})),
        with("read", "late", json!({"conv": conv, "late": true, "after_seq": 1})),
        with("read", "cursor", json!({"conv": conv, "cursor": 1})),
        with("ack", "up_to", json!({"conv": conv})),
        with("ack", "ranges", json!({"conv": conv, "ranges": [[2, 2]]})),
        with("ack", "ranges", json!({"conv": conv, "ranges": [[0, 2]]})),
        with("ack", "ranges", json!({"conv": conv, "ranges": [[1, 2, 3]]})),
        with("ack", "ranges", json!({"conv": conv, "ranges": vec![[1, 2]; 101]})),
        with("leave", "conv", json!({})),
        with("leave", "leave", json!(7)),
        with("list", "limit", json!({"limit": 201})),
        with("ping", "ping", Value::Null),
    ];
    for (method, body, field) in cases {
        let error = peer.error(method, body.clone()).await;
        let shown: String = body.to_string().chars().take(200).collect();
        assert_eq!(error["code"], "invalid_field", "{method} {shown}: {error}");
        assert_eq!(error["field"], field.as_str(), "{method} {shown}: {error}");
        assert_eq!((&error["temporary"], &error["definite"]), (&json!(false), &json!(true)));
    }
    // Wrong shape is answered before `not_found`, and a conversation that is not open is not found.
    let closed = json!({"conv": "A".repeat(24), "limit": 0});
    assert_eq!(peer.error_code("read", closed).await, ("invalid_field".into(), "limit".into()));
    for conv in ["A".repeat(24), "short".to_owned()] {
        assert_eq!(peer.error_code("read", json!({"conv": conv})).await.0, "not_found");
    }
    let group = json!({"to": {"group": "A".repeat(22)}});
    assert_eq!(peer.error_code("open", group).await.0, "not_found");
    assert_eq!(peer.error_code("teleport", json!({})).await.0, "unknown_method");
    for cursor in ["", "x", &"A".repeat(32), &"é".repeat(100)] {
        let read = json!({"conv": conv, "cursor": cursor});
        assert_eq!(peer.error_code("read", read).await.0, "bad_cursor");
    }
    let page = peer.ok("read", json!({"conv": conv})).await;
    assert_eq!(page["items"], json!([]), "nothing of all this was stored");
}

#[rstest]
#[case::binary(Message::binary(vec![1, 2, 3]), 1003)]
#[case::too_large(Message::text("x".repeat(131_073)), 1009)]
#[case::one_megabyte(Message::text("x".repeat(1 << 20)), 1009)]
#[case::not_utf8(raw_text(&[0xff, 0xfe]), 1007)]
#[tokio::test]
async fn what_is_no_text_frame_closes(#[case] frame: Message, #[case] code: u16) {
    let server = Server::start().await;
    let channel = unique("channel");
    let mut witness = server.connect(&unique("witness")).await;
    let conv = witness.open_channel(&channel).await["conv"].clone();
    let mut peer = server.connect(&unique("ann")).await;
    peer.open_channel(&channel).await;
    peer.write(frame).await;
    assert_eq!(peer.close_code().await, code);
    witness.send(&conv, "still-here", None).await;
    assert_eq!(witness.push("msg").await["cid"], "still-here");
}

/// A text frame that the client library would not let us make.
fn raw_text(payload: &[u8]) -> Message {
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let payload = Bytes::copy_from_slice(payload);
    Message::Frame(Frame::message(payload, OpCode::Data(Data::Text), true))
}

#[tokio::test]
async fn web_pages_of_elsewhere_and_rebound_names_are_refused() {
    let server = Server::start().await;
    let host = server.address();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let evil = format!("{upgrade}Origin: https://evil.example\r\n");
    assert_eq!(server.get("/v1/ws", &evil).await.0, 403);
    let rebound = format!("Host: evil.example\r\n{upgrade}");
    assert_eq!(server.get("/v1/ws", &rebound).await.0, 403);
    assert_eq!(server.get("/healthz", "").await.0, 200);
    assert_eq!(server.get("/healthz", &format!("Origin: http://{host}\r\n")).await.0, 200);
    assert_eq!(server.get("/nowhere", "").await.0, 404);
    assert_eq!(server.get("/v1/ws", "").await.0 / 100, 4, "no upgrade asked for");
}
