//! A whole server in this process, with real sockets and an engine that knows nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

mod socketio;

use super::*;
use crate::chat::{Access, ChatSettings};
use crate::distribution::local::LocalDistribution;
use crate::model::{
    ConvId, Durability, Epoch, LIMITS, NodeId, OperatorLimits, Seq, SessionId, UserName,
};
use crate::persistence::{
    AckOutcome, AckRequest, Append, AppendOutcome, EngineError, Following, GroupOutcome,
    GroupRequest, LatePage, Lost, Mine, OpenQuery, Opened, Page, Persistence, RangeQuery, Rostered,
    Summary,
};
use crate::registry::local::LocalRegistry;
use crate::registry::{PresenceSink, Registry, StartError};

/// Longer than anything here may take: a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// An engine that refuses everything.
#[derive(Default)]
struct NoEngine {
    clock_skew_ms: Option<i64>,
    lost_data: Option<Lost>,
    /// Why it takes no writes.
    ill: Option<fn(String) -> EngineError>,
}

fn lost() -> Lost {
    Lost { at: std::time::Instant::now(), epoch: Epoch::new("e2").unwrap() }
}

fn refuse<T>() -> Result<T, EngineError> {
    Err(EngineError::Unavailable("a fake".to_owned()))
}

#[async_trait]
impl Persistence for NoEngine {
    fn name(&self) -> &'static str {
        "FAKE"
    }
    fn durability(&self) -> Durability {
        Durability::NONE
    }
    fn epoch(&self, _: ConvId) -> Epoch {
        Epoch::new("e").unwrap()
    }
    fn clock_skew_ms(&self) -> Option<i64> {
        self.clock_skew_ms
    }
    fn lost_data(&self) -> Option<Lost> {
        self.lost_data.clone()
    }
    fn health(&self) -> Result<(), EngineError> {
        self.ill.map_or(Ok(()), |ill| Err(ill("a fake".to_owned())))
    }
    fn append(&self, _: Append) -> BoxFuture<'static, Result<AppendOutcome, EngineError>> {
        async { refuse() }.boxed()
    }
    async fn open(&self, _: OpenQuery) -> Result<Opened, EngineError> {
        refuse()
    }
    async fn range(&self, _: RangeQuery) -> Result<Page, EngineError> {
        refuse()
    }
    async fn after(&self, _: ConvId, _: Seq, _: usize) -> Result<Following, EngineError> {
        refuse()
    }
    async fn unread_late(
        &self,
        _: ConvId,
        _: &UserName,
        _: Seq,
        _: usize,
    ) -> Result<LatePage, EngineError> {
        refuse()
    }
    async fn ack(&self, _: AckRequest) -> Result<AckOutcome, EngineError> {
        refuse()
    }
    async fn regroup(&self, _: GroupRequest) -> Result<GroupOutcome, EngineError> {
        refuse()
    }
    async fn roster(&self, _: ConvId) -> Result<Rostered, EngineError> {
        refuse()
    }
    async fn mine(&self, _: &UserName) -> Result<Vec<Mine>, EngineError> {
        refuse()
    }
    async fn summary(&self, _: ConvId, _: &UserName) -> Result<Summary, EngineError> {
        refuse()
    }
    async fn close(&self) {}
}

struct TestServer {
    public: SocketAddr,
    admin: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl TestServer {
    async fn start(settings: ServerSettings) -> Self {
        Self::start_on(NoEngine::default(), None, settings).await
    }

    async fn start_on(
        engine: NoEngine,
        required_durability: Option<Durability>,
        settings: ServerSettings,
    ) -> Self {
        let bind = || bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listeners = Listeners { public: bind(), tls: None, admin: bind() };
        let public = listeners.public.local_addr().unwrap();
        let admin = listeners.admin.local_addr().unwrap();
        let node = NodeId::new("node").unwrap();
        let info = NodeInfo {
            node: node.clone(),
            distribution: "LOCAL",
            registry: "LOCAL",
            required_durability,
        };
        let chat = ChatService::start(
            Arc::new(engine),
            Arc::new(LocalDistribution::default()),
            Arc::new(LocalRegistry::default()),
            ChatSettings {
                node,
                ping: settings.ping,
                limits: OperatorLimits::default(),
                access: Access::default(),
            },
        )
        .await
        .unwrap();
        let stop = CancellationToken::new();
        let metrics = install_metrics().unwrap();
        let running = tokio::spawn(run(listeners, chat, info, settings, metrics, stop.clone()));
        Self { public, admin, stop, running }
    }

    async fn connect(&self) -> WebSocketStream<TcpStream> {
        let stream = TcpStream::connect(self.public).await.unwrap();
        client_async(format!("ws://{}/v1/ws", self.public), stream).await.unwrap().0
    }

    /// Ends well: every connection closed, nothing hangs.
    async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.expect("the drain ends").unwrap();
    }
}

fn settings() -> ServerSettings {
    ServerSettings {
        drain: Duration::from_millis(200),
        close_wait: Duration::from_millis(200),
        ..ServerSettings::default()
    }
}

/// Writes bytes and reads until the server closes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    exchange(address, request.as_bytes()).await
}

/// Reads until the close frame.
async fn close_frame(socket: &mut WebSocketStream<TcpStream>) -> Option<CloseFrame> {
    timeout(PATIENCE, async {
        loop {
            match socket.next().await.expect("a close frame comes before the end") {
                Ok(Message::Close(frame)) => return frame,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
    .expect("the server closes")
}

async fn close_code(socket: &mut WebSocketStream<TcpStream>) -> u16 {
    close_frame(socket).await.expect("the close carries a code").code.into()
}

const UPGRADE: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A handshake with bytes right behind it, and the answer from after the head on.
async fn raw(server: &TestServer, frames: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.public).await.unwrap();
    let head = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n{UPGRADE}\r\n",
        server.public
    );
    stream.write_all(&[head.as_bytes(), frames].concat()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    answer.split_off(head)
}

#[tokio::test]
async fn health_and_readiness_are_told() {
    let server = TestServer::start(settings()).await;
    assert!(get(server.public, "/healthz", "").await.starts_with("HTTP/1.1 200 "));
    let public = get(server.public, "/readyz", "").await;
    assert!(
        public.starts_with("HTTP/1.1 200 ") && public.ends_with("{\"ready\":true}"),
        "{public}"
    );
    let admin = get(server.admin, "/readyz", "").await;
    let body = "{\"ready\":true,\"node\":\"node\",\"engine\":{\"name\":\"FAKE\",\"durability\":\"none\"},\
        \"distribution\":{\"name\":\"LOCAL\"},\"registry\":{\"name\":\"LOCAL\"},\"reasons\":[]}";
    assert!(admin.ends_with(body), "{admin}");
    assert!(get(server.public, "/metrics", "").await.starts_with("HTTP/1.1 404 "));
    server.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_off_and_a_class_that_fell_are_reasons_against_a_node() {
    let engine = NoEngine { clock_skew_ms: Some(-5_000), ..NoEngine::default() };
    let server = TestServer::start_on(engine, Some(Durability::DISK), settings()).await;
    let admin = get(server.admin, "/readyz", "").await;
    assert!(admin.starts_with("HTTP/1.1 503 ") && admin.contains("-5000 ms"), "{admin}");
    for code in ["clock_skew", "durability"] {
        assert!(admin.contains(&format!("\"code\":\"{code}\"")), "{admin}");
    }
    assert!(get(server.public, "/readyz", "").await.starts_with("HTTP/1.1 503 "));
    server.stop().await;
}

/// A registry that is away.
struct NoRegistry;

#[async_trait]
impl Registry for NoRegistry {
    fn name(&self) -> &'static str {
        "FAKE"
    }
    async fn start(&self, _: Arc<dyn PresenceSink>) -> Result<(), StartError> {
        Ok(())
    }
    async fn connect(&self, _: &UserName, _: &SessionId) {}
    async fn disconnect(&self, _: &UserName, _: &SessionId) {}
    async fn online(&self, _: &UserName) -> bool {
        false
    }
    fn health(&self) -> Result<(), String> {
        Err("a fake".to_owned())
    }
}

/// Each reason that there is, by what brings it about, and what the guide says of it.
#[rstest]
#[case::draining("draining", NoEngine::default())]
#[case::unavailable("unavailable", NoEngine { ill: Some(EngineError::Unavailable), ..NoEngine::default() })]
#[case::overloaded("overloaded", NoEngine { ill: Some(EngineError::Overloaded), ..NoEngine::default() })]
#[case::storage_full("storage_full", NoEngine { ill: Some(EngineError::StorageFull), ..NoEngine::default() })]
#[case::read_only("read_only", NoEngine { ill: Some(EngineError::ReadOnly), ..NoEngine::default() })]
#[case::timeout("timeout", NoEngine { ill: Some(EngineError::Timeout), ..NoEngine::default() })]
#[case::internal("internal", NoEngine { ill: Some(EngineError::Internal), ..NoEngine::default() })]
#[case::clock("clock_skew", NoEngine { clock_skew_ms: Some(5_000), ..NoEngine::default() })]
#[case::durability("durability", NoEngine::default())]
#[case::lost("engine_lost_data", NoEngine { lost_data: Some(lost()), ..NoEngine::default() })]
#[case::registry("registry_away", NoEngine::default())]
#[tokio::test]
async fn a_reason_is_told_and_documented(#[case] code: &str, #[case] engine: NoEngine) {
    let node = NodeId::new("node").unwrap();
    let info = NodeInfo {
        node: node.clone(),
        distribution: "LOCAL",
        registry: "LOCAL",
        required_durability: (code == "durability").then_some(Durability::DISK),
    };
    let registry: Arc<dyn Registry> = match code {
        "registry_away" => Arc::new(NoRegistry),
        _ => Arc::new(LocalRegistry::default()),
    };
    let chat = ChatService::start(
        Arc::new(engine),
        Arc::new(LocalDistribution::default()),
        registry,
        ChatSettings {
            node,
            ping: Duration::from_secs(25),
            limits: OperatorLimits::default(),
            access: Access::default(),
        },
    );
    let readiness = Readiness::new(chat.await.unwrap(), info);
    if code == "draining" {
        readiness.set_draining();
    }
    let report = readiness.report();
    assert_eq!(report.reasons.iter().map(|reason| reason.code).collect::<Vec<_>>(), [code]);
    let guide = include_str!("../../docs/guides/operating.md");
    let row = guide.lines().find(|line| line.starts_with(&format!("| `{code}` |")));
    let row = row.unwrap_or_else(|| panic!("{code} is not in docs/guides/operating.md"));
    assert_eq!(row.contains("| 503 |"), !report.ready, "{row}");
    assert!(row.contains("| 503 |") || row.contains("| 200 |"), "{row}");
}

#[tokio::test]
async fn metrics_count_connections() {
    let server = TestServer::start(settings()).await;
    let socket = server.connect().await;
    let text = get(server.admin, "/metrics", "").await;
    assert!(text.contains("# TYPE chatctl_connections gauge\nchatctl_connections 1\n"), "{text}");
    assert!(text.contains("chatctl_process_resident_bytes "), "{text}");
    drop(socket);
    server.stop().await;
}

#[rstest]
#[case::silent(b"")]
#[case::half_a_head(b"GET / HTTP/1.1\r\nHost: loc")]
#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for(#[case] bytes: &[u8]) {
    let short = ServerSettings { header_timeout: Duration::from_millis(30), ..settings() };
    let server = TestServer::start(short).await;
    assert_eq!(exchange(server.public, bytes).await, "");
    server.stop().await;
}

#[tokio::test]
async fn other_web_pages_are_refused_everywhere() {
    let server = TestServer::start(settings()).await;
    let evil = "Origin: http://evil.example\r\n";
    for path in ["/", "/healthz", "/readyz", "/nowhere"] {
        let answer = get(server.public, path, evil).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{path}: {answer}");
    }
    let upgrade = format!("{evil}{UPGRADE}");
    assert!(get(server.public, "/v1/ws", &upgrade).await.starts_with("HTTP/1.1 403 "));
    let own = format!("Origin: http://{}\r\n", server.public);
    assert!(get(server.public, "/healthz", &own).await.starts_with("HTTP/1.1 200 "));
    let rebound = b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert!(exchange(server.public, rebound).await.starts_with("HTTP/1.1 403 "));
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_handshake_is_told_what_to_do() {
    let server = TestServer::start(settings()).await;
    let plain = get(server.public, "/v1/ws", "").await.to_lowercase();
    assert!(plain.starts_with("http/1.1 426 ") && plain.contains("upgrade: websocket"), "{plain}");
    let mut stream = TcpStream::connect(server.public).await.unwrap();
    let old = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n{}\r\n",
        server.public,
        UPGRADE.replace("13", "8")
    );
    stream.write_all(old.as_bytes()).await.unwrap();
    let mut answer = [0; 1_024];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).to_lowercase();
    assert!(answer.starts_with("http/1.1 426 "), "{answer}");
    assert!(answer.contains("sec-websocket-version: 13"), "{answer}");
    drop(stream);
    server.stop().await;
}

#[rstest]
#[case::binary(b"\x82\x80\0\0\0\0", 1003)]
#[case::bad_utf8(b"\x81\x81\0\0\0\0\xff", 1007)]
#[case::too_large(b"\x81\xff\0\0\0\0\0\x02\0\x01\0\0\0\0", 1009)]
#[case::not_masked(b"\x81\x01x", 1002)]
#[case::reserved_bit(b"\xc1\x80\0\0\0\0", 1002)]
#[case::stray_continuation(b"\x80\x80\0\0\0\0", 1002)]
#[tokio::test]
async fn a_bad_frame_is_closed_with_its_code(#[case] frame: &[u8], #[case] code: u16) {
    let server = TestServer::start(settings()).await;
    let answer = raw(&server, frame).await;
    assert_eq!(answer[0], 0x88, "a close frame: {answer:?}");
    assert_eq!(u16::from_be_bytes([answer[2], answer[3]]), code);
    server.stop().await;
}

#[tokio::test]
async fn the_largest_frame_is_taken_and_a_ping_answered() {
    let server = TestServer::start(settings()).await;
    let mut socket = server.connect().await;
    socket.send(Message::text("x".repeat(LIMITS.frame_bytes_max))).await.unwrap();
    socket.send(Message::Ping("payload".into())).await.unwrap();
    timeout(PATIENCE, async {
        loop {
            match socket.next().await.unwrap() {
                Ok(Message::Pong(payload)) => break assert_eq!(payload, "payload"),
                // The session may have an opinion on the text; the frame was taken.
                Ok(Message::Text(_)) => {}
                Ok(Message::Close(Some(frame))) => break assert_eq!(u16::from(frame.code), 4500),
                other => panic!("{other:?}"),
            }
        }
    })
    .await
    .unwrap();
    server.stop().await;
}

#[tokio::test]
async fn who_says_no_hello_is_closed() {
    let short = ServerSettings { hello: Duration::from_millis(30), ..settings() };
    let server = TestServer::start(short).await;
    assert_eq!(close_code(&mut server.connect().await).await, 4002);
    server.stop().await;
}

#[tokio::test]
async fn who_answers_no_ping_is_closed() {
    let short = ServerSettings {
        ping: Duration::from_millis(20),
        pong_grace: Duration::from_millis(20),
        ..settings()
    };
    let server = TestServer::start(short).await;
    // Never a pong: these are bytes on a socket, no client.
    let answer = raw(&server, b"").await;
    assert!(answer.starts_with(b"\x89\0"), "a ping: {answer:?}");
    let close = answer.windows(4).any(|window| window[0] == 0x88 && window[2..] == [0x0f, 0xa8]);
    assert!(close, "4008: {answer:?}");
    // Whoever answers stays, for several times as long: only the server's stop ends it.
    let mut socket = server.connect().await;
    for _ in 0..5 {
        let frame = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        assert!(matches!(frame, Message::Ping(_)), "{frame:?}");
    }
    let (code, ()) = tokio::join!(close_code(&mut socket), server.stop());
    assert_eq!(code, 4001);
}

#[tokio::test]
async fn the_client_that_closes_gets_its_code_back() {
    let server = TestServer::start(settings()).await;
    let mut socket = server.connect().await;
    let frame = CloseFrame { code: 1000.into(), reason: "".into() };
    socket.close(Some(frame)).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 1000);
    server.stop().await;
}

#[tokio::test]
async fn too_many_are_told_so_and_more_are_not_upgraded() {
    let tight = ServerSettings {
        connections_max: 1,
        refusals_max: 1,
        close_wait: PATIENCE,
        drain: Duration::from_millis(50),
        ..settings()
    };
    let server = TestServer::start(tight).await;
    let _first = server.connect().await;
    // It holds its place until its side is closed too.
    let mut second = server.connect().await;
    let stream = TcpStream::connect(server.public).await.unwrap();
    match client_async(format!("ws://{}/v1/ws", server.public), stream).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("{other:?}"),
    }
    assert_eq!(close_code(&mut second).await, 4504);
    server.stop().await;
}

#[tokio::test]
async fn a_drain_tells_the_operators_closes_everyone_and_ends() {
    let server = TestServer::start(ServerSettings { drain: PATIENCE / 10, ..settings() }).await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(server.connect().await);
    }
    server.stop.cancel();
    let admin = loop {
        // The first look may come before the server has heard of its stop.
        let admin = get(server.admin, "/readyz", "").await;
        if !admin.starts_with("HTTP/1.1 200 ") {
            break admin;
        }
    };
    assert!(admin.starts_with("HTTP/1.1 503 "), "{admin}");
    assert!(admin.contains("\"reasons\":[{\"code\":\"draining\""), "{admin}");
    for socket in &mut sockets {
        assert_eq!(close_code(socket).await, 4001);
    }
    drop(sockets);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_no_part_does_not_hold_the_drain() {
    let server = TestServer::start(ServerSettings { close_wait: PATIENCE * 2, ..settings() }).await;
    // It reads nothing and never closes its side.
    let _socket = server.connect().await;
    server.stop().await;
}
