//! The opening handshake of RFC 6455, case by case; every case names its section.

use crate::support::Server;
use crate::support::raw::{Got, HANDSHAKE, Raw, text};

#[tokio::test]
async fn every_handshake_of_the_table() {
    let server = Server::start().await;
    let address = server.address();
    let without = |name: &str| {
        let lines = HANDSHAKE.split_inclusive("\r\n");
        lines.filter(|line| !line.starts_with(name)).collect::<String>()
    };
    let with = |more: &str| format!("{HANDSHAKE}{more}\r\n");
    let other = |name: &str, line: &str| format!("{}{line}\r\n", without(name));
    let get = "GET /v1/ws HTTP/1.1";
    let key = "Sec-WebSocket-Key";
    let version = "Sec-WebSocket-Version";
    let accepted = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=";
    let cases = [
        ("1.3, 4.2.2", "the example", get, HANDSHAKE.to_owned(), 101, accepted),
        (
            "4.2.1",
            "names and tokens in other cases",
            get,
            HANDSHAKE
                .to_uppercase()
                .replace("DGHLIHNHBXBSZSBUB25JZQ==", "dGhlIHNhbXBsZSBub25jZQ=="),
            101,
            accepted,
        ),
        (
            "4.2.1",
            "a list of tokens",
            get,
            other("Connection", "Connection: keep-alive, Upgrade"),
            101,
            accepted,
        ),
        (
            "9.1",
            "an extension is offered",
            get,
            with("Sec-WebSocket-Extensions: permessage-deflate"),
            101,
            accepted,
        ),
        (
            "4.2.1",
            "a subprotocol is offered",
            get,
            with("Sec-WebSocket-Protocol: chat"),
            101,
            accepted,
        ),
        ("4.2.1", "no key", get, without(key), 400, ""),
        ("4.2.1", "two keys", get, with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, ""),
        (
            "4.2.1",
            "a key of 15 bytes",
            get,
            other(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub24="),
            400,
            "",
        ),
        (
            "4.2.1",
            "a key of 17 bytes",
            get,
            other(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE="),
            400,
            "",
        ),
        (
            "4.2.1",
            "a key that is no base64",
            get,
            other(key, "Sec-WebSocket-Key: ????????????????????????"),
            400,
            "",
        ),
        (
            "4.2.2, 4.4",
            "version 8",
            get,
            other(version, "Sec-WebSocket-Version: 8"),
            426,
            "sec-websocket-version: 13",
        ),
        (
            "4.2.2, 4.4",
            "version 14",
            get,
            other(version, "Sec-WebSocket-Version: 14"),
            426,
            "sec-websocket-version: 13",
        ),
        ("4.2.2, 4.4", "no version", get, without(version), 426, "sec-websocket-version: 13"),
        ("4.2.1", "no upgrade", get, without("Upgrade"), 426, "upgrade: websocket"),
        (
            "4.2.1",
            "another upgrade",
            get,
            other("Upgrade", "Upgrade: h2c"),
            426,
            "upgrade: websocket",
        ),
        ("4.2.1", "no connection", get, without("Connection"), 426, "upgrade: websocket"),
        ("4.2.1", "HTTP/1.0", "GET /v1/ws HTTP/1.0", HANDSHAKE.to_owned(), 426, ""),
        (
            "4.2.1",
            "another method",
            "POST /v1/ws HTTP/1.1",
            HANDSHAKE.to_owned(),
            405,
            "allow: get",
        ),
        ("4.2.1", "another path", "GET /v1/nowhere HTTP/1.1", HANDSHAKE.to_owned(), 404, ""),
        ("4.2.2, 10.2", "another web page", get, with("Origin: http://evil.example"), 403, ""),
        ("4.2.1", "no request at all", "HELLO", String::new(), 400, ""),
    ];
    for (section, name, line, headers, status, header) in cases {
        let mut raw = Raw::connect(&address).await;
        let head =
            raw.request(&format!("{line}\r\nHost: {address}\r\n{headers}")).await.to_lowercase();
        assert_eq!(head.split(' ').nth(1), Some(&*status.to_string()), "§{section} {name}: {head}");
        assert!(header.is_empty() || head.contains(header), "§{section} {name}: {head}");
        // §9.1, §4.2.2: what was not agreed on is not there.
        assert!(!head.contains("sec-websocket-extensions"), "{head}");
        assert!(!head.contains("sec-websocket-protocol"), "{head}");
        if status == 101 {
            raw.write(&text(r#"{"id":1,"hello":{"user":"ann"}}"#)).await;
            assert!(matches!(raw.read().await, Got::Text(_)), "{name}");
        }
    }
    // §4.2.1: there must be a Host; the rule about web pages refuses its absence.
    let mut raw = Raw::connect(&address).await;
    let head = raw.request(&format!("{get}\r\n{HANDSHAKE}")).await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
}
