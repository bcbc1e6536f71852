//! Each path, method and status of the OpenAPI documents, asked of a server.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::document;
use super::schema::Validator;
use crate::support::tokens::SECRET;
use crate::support::{PATIENCE, Peer, Server};

/// An answer: status, type and body.
struct Answer {
    status: u16,
    content_type: String,
    body: String,
}

async fn ask(address: &str, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let host =
        if headers.contains("Host: ") { String::new() } else { format!("Host: {address}\r\n") };
    let length = if method == "POST" {
        format!("Content-Length: {}\r\n", body.len())
    } else {
        String::new()
    };
    // An upgrade has a `Connection` of its own.
    let close = if headers.contains("Connection: ") { "" } else { "Connection: close\r\n" };
    let request = format!("{method} {path} HTTP/1.1\r\n{host}{headers}{length}{close}\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    while !response.windows(4).any(|window| window == b"\r\n\r\n") {
        response.push(timeout(PATIENCE, stream.read_u8()).await.expect("in time").unwrap());
    }
    let head = String::from_utf8(response).unwrap();
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)];
    if status != 101 {
        timeout(PATIENCE, stream.read_exact(&mut body)).await.expect("in time").unwrap();
    }
    let content_type = field("content-type").unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap().to_owned();
    Answer { status, content_type, body: String::from_utf8(body).unwrap() }
}

/// A document, and which of its answers were seen.
struct Told {
    document: Value,
    validator: Validator,
    seen: BTreeSet<(String, String, String)>,
}

impl Told {
    async fn new(name: &'static str) -> Option<Self> {
        let (document, validator) = (document(name), Validator::new(name).await?);
        Some(Self { document, validator, seen: BTreeSet::new() })
    }

    /// An answer must be one that the document tells, of a type and a shape that it tells.
    async fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let (method, status) = (method.to_lowercase(), answer.status.to_string());
        let told = &self.document["paths"][path][&method]["responses"][&status];
        assert!(told.is_object(), "{method} {path} answers {status}: {}", answer.body);
        if let Some(content) = told.get("content") {
            assert!(
                content.get(&answer.content_type).is_some(),
                "{path}: {:?}",
                answer.content_type
            );
        }
        if answer.content_type == "application/json" {
            let pointer = [
                "paths",
                path,
                &*method,
                "responses",
                &*status,
                "content",
                "application/json",
                "schema",
            ];
            let pointer = pointer.map(|part| {
                part.replace('~', "~0").replace('/', "~1").replace('{', "%7B").replace('}', "%7D")
            });
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            let pointer = format!("/{}", pointer.join("/"));
            let violation = self.validator.violation(&pointer, &body).await;
            assert_eq!(violation, None);
        }
        self.seen.insert((path.to_owned(), method, status));
    }

    /// Every answer that the document tells, but those that take more than a request.
    fn all_seen(&self, elsewhere: &[(&str, &str, &str)]) {
        let mut told = BTreeSet::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for status in operation["responses"].as_object().unwrap().keys() {
                    told.insert((path.clone(), method.clone(), status.clone()));
                }
            }
        }
        let elsewhere = elsewhere.iter().map(|(path, method, status)| {
            (path.to_string(), method.to_string(), status.to_string())
        });
        let seen: BTreeSet<_> = self.seen.iter().cloned().chain(elsewhere).collect();
        assert_eq!(seen, told);
    }
}

const FOREIGN: &str = "Origin: http://evil.example\r\n";
const JSON: &str = "Content-Type: application/json\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn the_public_listener_answers_as_it_is_told() {
    let server = Server::start().await;
    let Some(mut told) = Told::new("openapi.json").await else { return };
    let address = server.address();
    let handshake = format!("{UPGRADE}{KEY}");
    let polling = "/socket.io/?EIO=4&transport=polling";
    let session = ask(&address, "GET", polling, "", "").await;
    let opened: Value = serde_json::from_str(&session.body[1..]).unwrap();
    let of_session = format!("{polling}&sid={}", opened["sid"].as_str().unwrap());
    told.check("GET", "/socket.io", &session).await;
    for (method, path, as_told, headers, body) in [
        ("GET", "/", "/", "", ""),
        ("GET", "/", "/", "If-None-Match: *\r\n", ""),
        ("GET", "/", "/", FOREIGN, ""),
        ("GET", "/page/style.css", "/page/{name}", "", ""),
        ("GET", "/page/style.css", "/page/{name}", "If-None-Match: *\r\n", ""),
        ("GET", "/page/style.css", "/page/{name}", FOREIGN, ""),
        ("GET", "/page/nothing.css", "/page/{name}", "", ""),
        ("GET", "/healthz", "/healthz", "", ""),
        ("GET", "/healthz", "/healthz", "Host: evil.example\r\n", ""),
        ("GET", "/readyz", "/readyz", "", ""),
        ("GET", "/readyz", "/readyz", FOREIGN, ""),
        ("GET", "/v1/ws", "/v1/ws", &handshake, ""),
        ("GET", "/v1/ws", "/v1/ws", UPGRADE, ""),
        ("GET", "/v1/ws", "/v1/ws", "", ""),
        ("GET", "/v1/ws", "/v1/ws", FOREIGN, ""),
        ("GET", "/socket.io/", "/socket.io", "", ""),
        ("GET", "/socket.io", "/socket.io", "", ""),
        ("GET", "/socket.io/", "/socket.io", FOREIGN, ""),
        ("POST", &of_session, "/socket.io", "Content-Type: text/plain\r\n", "40{\"user\":\"ann\"}"),
        ("POST", &polling.replace("polling", "pigeons"), "/socket.io", "", ""),
        ("POST", polling, "/socket.io", FOREIGN, ""),
    ] {
        let answer = ask(&address, method, path, headers, body).await;
        told.check(method, as_told, &answer).await;
    }
    // A method that a handshake has not is told under the one that it has.
    let posted = ask(&address, "POST", "/v1/ws", &handshake, "").await;
    told.check("GET", "/v1/ws", &posted).await;
    let full = Server::start_with(&[("CHATCTL_CONNECTIONS_PER_ADDRESS_MAX", "2")]).await;
    let _places = (Peer::silent(&full.url).await, Peer::silent(&full.url).await);
    let too_many = ask(&full.address(), "GET", "/v1/ws", &handshake, "").await;
    assert_eq!(too_many.status, 429);
    told.check("GET", "/v1/ws", &too_many).await;
    // A node that is not ready, and one that is full or shuts down: tests/integration/operations.rs, connection_limits.rs.
    told.all_seen(&[("/readyz", "get", "503"), ("/v1/ws", "get", "503")]);
}

#[tokio::test]
async fn the_admin_listener_answers_as_it_is_told() {
    const ADMIN: &str = "a-secret-of-the-admin-listener";
    let variables = [("CHATCTL_AUTH_SECRET", SECRET), ("CHATCTL_ADMIN_TOKEN", ADMIN)];
    let server = Server::start_with(&variables).await;
    let Some(mut told) = Told::new("openapi-admin.json").await else { return };
    let admin = server.admin().to_owned();
    let bearer = format!("Authorization: Bearer {ADMIN}\r\n");
    let shown = format!("{bearer}{JSON}");
    let examples = told.document["paths"]["/revoke"]["post"]["requestBody"]["content"]["application/json"]["examples"].clone();
    for (name, example) in examples.as_object().unwrap() {
        let answer = ask(&admin, "POST", "/revoke", &shown, &example["value"].to_string()).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        told.check("POST", "/revoke", &answer).await;
    }
    for (method, path, as_told, headers, body) in [
        ("GET", "/", "/", "", ""),
        ("GET", "/", "/", FOREIGN, ""),
        ("GET", "/status", "/status", "", ""),
        ("GET", "/status", "/status", "If-None-Match: *\r\n", ""),
        ("GET", "/status", "/status", FOREIGN, ""),
        ("GET", "/page/status.js", "/page/{name}", "", ""),
        ("GET", "/page/status.js", "/page/{name}", "If-None-Match: *\r\n", ""),
        ("GET", "/page/status.js", "/page/{name}", FOREIGN, ""),
        ("GET", "/page/nothing.js", "/page/{name}", "", ""),
        ("GET", "/healthz", "/healthz", "", ""),
        ("GET", "/healthz", "/healthz", FOREIGN, ""),
        ("GET", "/readyz", "/readyz", "", ""),
        ("GET", "/readyz", "/readyz", FOREIGN, ""),
        ("GET", "/metrics", "/metrics", "", ""),
        ("GET", "/metrics", "/metrics", FOREIGN, ""),
        ("POST", "/revoke", "/revoke", &shown, "{\"nobody\":1}"),
        ("POST", "/revoke", "/revoke", JSON, "{\"user\":\"ann\"}"),
        ("POST", "/revoke", "/revoke", FOREIGN, "{\"user\":\"ann\"}"),
        ("POST", "/revoke", "/revoke", &bearer, "{\"user\":\"ann\"}"),
    ] {
        let answer = ask(&admin, method, path, headers, body).await;
        told.check(method, as_told, &answer).await;
    }
    // A node that is not ready, and revocations that cannot be kept, take a service that is away.
    told.all_seen(&[("/readyz", "get", "503"), ("/revoke", "post", "503")]);
    // Without a secret, on the own machine.
    let open = Server::start_with(&[("CHATCTL_AUTH_SECRET", SECRET)]).await;
    let body = json!({"user": "ann"}).to_string();
    let answer = ask(open.admin(), "POST", "/revoke", JSON, &body).await;
    told.check("POST", "/revoke", &answer).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}
