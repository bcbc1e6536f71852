//! Requests of Socket.IO: handshakes, polls, what clients bring, and upgrades.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, ORIGIN, VARY};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use engineioxide::service::EngineIoService;
use engineioxide::socket::Sid;
use futures_util::TryStreamExt as _;
use hyper::service::Service as _;
use tokio::time::{sleep, timeout};

use super::PATH;
use super::engine::{Admitted, Engine, PAYLOAD_BYTES_MAX, POST_BYTES_MAX, Ticket, config};
use super::engine_packet::EnginePacket;
use super::intake::Intake;
use super::line::{Closing, Line};
use super::peer::{Peer, Peers};
use crate::protocol::CloseCode;
use crate::server::addresses::AddressPlace;
use crate::server::ending::Ending;
use crate::server::{Node, upgrade};

/// Far more than a handshake has.
const HANDSHAKE_BYTES_MAX: usize = 4 << 10;
/// Time for the answer to a poll to be there before another answer that ends the client.
const POLL_FIRST: Duration = Duration::from_millis(100);
/// Stands between the packets of a request.
const SEPARATOR: u8 = 0x1e;
/// What packets are, as requests and answers.
const TEXT: &str = "text/plain; charset=UTF-8";

/// Socket.IO of a node.
pub(in crate::server) struct SocketIo {
    node: Arc<Node>,
    engine: EngineIoService<Engine>,
    peers: Arc<Peers>,
}

/// What the query of a request says. It is judged once, here: the engine gets a request of our own making.
struct Query {
    is_websocket: bool,
    sid: Option<Result<Sid, ()>>,
    is_version_4: bool,
}

impl Query {
    fn parse(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let value =
            |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        Self {
            is_websocket: value("transport") == Some("websocket"),
            sid: value("sid").map(|sid| sid.parse().map_err(|_| ())),
            is_version_4: value("EIO") == Some("4"),
        }
    }
}

impl SocketIo {
    pub(in crate::server) fn new(node: Arc<Node>) -> Self {
        let peers = Arc::new(Peers::default());
        let engine = Engine::new(Arc::clone(&node), Arc::clone(&peers));
        let engine = EngineIoService::with_config(Arc::new(engine), config(&node.settings));
        Self { node, engine, peers }
    }

    /// What the engine answers to a request by polling.
    async fn polled(
        &self,
        method: Method,
        sid: Option<Sid>,
        ticket: Option<Ticket>,
        body: Bytes,
    ) -> Response {
        let sid = sid.map(|sid| format!("&sid={sid}")).unwrap_or_default();
        let Ok(mut request) = axum::http::Request::builder()
            .method(method)
            .uri(format!("{PATH}/?EIO=4&transport=polling{sid}"))
            .body(Body::from(body))
        else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        if let Some(ticket) = ticket {
            request.extensions_mut().insert(ticket);
        }
        match self.engine.call(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    }

    /// A new client by polling.
    async fn open(&self, place: Option<Arc<AddressPlace>>) -> Response {
        let slot = match upgrade::admit(&self.node, place.as_deref()) {
            Ok(slot) => slot,
            Err(refusal) => return refusal,
        };
        // Its requests come and go; as long as it is connected it has a place of its own.
        let place = match place.map(|place| place.another()) {
            None => None,
            Some(Some(place)) if !place.refused => Some(place),
            Some(_) => return upgrade::too_many_of_address(),
        };
        let peer = Peer::new(&self.node.settings);
        let ticket = Ticket::new(Admitted { peer, slot, place });
        let (head, body) =
            self.polled(Method::GET, None, Some(ticket), Bytes::new()).await.into_parts();
        let Ok(body) = axum::body::to_bytes(body, HANDSHAKE_BYTES_MAX).await else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        (head.status, [(CONTENT_TYPE, TEXT)], bounded(&body)).into_response()
    }

    /// Packets by polling. The next request is not taken before the session has room, and one at a time.
    async fn post(&self, sid: Sid, peer: &Peer, body: Body) -> Response {
        let Ok(_posting) = peer.posting.try_lock() else {
            peer.inbox.end(Ending::Code(CloseCode::PROTOCOL));
            return bad_request(3, "Bad request");
        };
        peer.heard(0);
        if !peer.inbox.until_room().await {
            self.told(peer).await;
            return bad_request(1, "Session ID unknown");
        }
        let Ok(read) = timeout(self.node.settings.pong_grace, read(body)).await else {
            return StatusCode::REQUEST_TIMEOUT.into_response();
        };
        match read {
            Ok(Some(body)) => {
                peer.heard(body.len());
                let answer = self.is_alive(sid).await;
                if answer.status() != StatusCode::OK {
                    self.told(peer).await;
                    return answer;
                }
                match say(peer, &body) {
                    Ok(After::Goes) => answer,
                    Ok(After::Leaves) => {
                        self.polled(Method::POST, Some(sid), None, "1".into()).await
                    }
                    Err(code) => {
                        self.end(peer, code).await;
                        bad_request(3, "Bad request")
                    }
                }
            }
            Ok(None) => {
                self.end(peer, CloseCode::TOO_LARGE).await;
                StatusCode::PAYLOAD_TOO_LARGE.into_response()
            }
            Err(_) => bad_request(3, "Bad request"),
        }
    }

    /// Ends it.
    async fn end(&self, peer: &Peer, code: CloseCode) {
        peer.inbox.end(Ending::Code(code));
        self.told(peer).await;
    }

    /// Waits until the session is over. A client gives up at the answer that follows: that of its poll, which tells it why and goes by
    /// another connection, must be there first.
    async fn told(&self, peer: &Peer) {
        let _ = timeout(self.node.settings.pong_grace, peer.over.cancelled()).await;
        sleep(POLL_FIRST).await;
    }

    /// Tells the engine that its client is alive; when that is over is not for the engine to say. What it answers says whether it knows
    /// it, and by polling.
    async fn is_alive(&self, sid: Sid) -> Response {
        self.polled(Method::POST, Some(sid), None, "3".into()).await
    }

    /// A poll, one at a time.
    async fn poll(&self, sid: Sid, peer: &Peer) -> Response {
        let Ok(_polling) = peer.polling.try_lock() else {
            // The first is told why.
            peer.inbox.end(Ending::Code(CloseCode::PROTOCOL));
            return bad_request(3, "Bad request");
        };
        peer.heard(0);
        self.is_alive(sid).await;
        self.polled(Method::GET, Some(sid), None, Bytes::new()).await
    }

    /// A WebSocket: of a new client, or of one who polls.
    fn websocket(self: &Arc<Self>, sid: Option<Sid>, mut request: Request) -> Response {
        let accept = match upgrade::check(&request) {
            Ok(accept) => accept,
            Err(refusal) => return refusal,
        };
        let place = request.extensions_mut().remove::<Arc<AddressPlace>>();
        let (peer, ticket) = match sid {
            None => match upgrade::admit(&self.node, place.as_deref()) {
                Ok(slot) => {
                    let peer = Peer::new(&self.node.settings);
                    let ticket = Admitted { peer: Arc::clone(&peer), slot, place: None };
                    (peer, Some(Ticket::new(ticket)))
                }
                Err(refusal) => return refusal,
            },
            Some(sid) => match self.peers.get(sid) {
                Some(peer) => (peer, None),
                None => return bad_request(1, "Session ID unknown"),
            },
        };
        let Some(gate) = peer.new_line() else { return bad_request(3, "Bad request") };
        let upgrade = hyper::upgrade::on(&mut request);
        let this = Arc::clone(self);
        self.node.websockets.spawn(async move {
            let line = upgrade::taken(upgrade).await.map(|(stream, ahead)| {
                let closing = Closing {
                    tasks: this.node.websockets.clone(),
                    wait: this.node.settings.close_wait,
                };
                let intake = Intake::new(sid.is_some());
                let (gate, peer) = (Arc::clone(&gate), Arc::clone(&peer));
                Line::new(stream, ahead, intake, gate, peer, closing, place)
            });
            let Some(line) = line else {
                peer.inbox.end(Ending::Lost);
                return;
            };
            let sid = sid.map(|sid| format!("&sid={sid}")).unwrap_or_default();
            let uri = format!("{PATH}/?EIO=4&transport=websocket{sid}");
            let Ok(mut request) = axum::http::Request::builder().uri(uri).body(()) else { return };
            if let Some(ticket) = ticket {
                request.extensions_mut().insert(ticket);
            }
            if let Err(error) = this.engine.call((line, request)).await {
                tracing::error!(%error, "the engine takes no WebSocket");
            }
        });
        upgrade::switching(&accept)
    }
}

/// A handshake that tells the client our bound of a request, by which it divides what it sends, not the engine's.
fn bounded(handshake: &[u8]) -> String {
    let told = |bytes: usize| format!(r#""maxPayload":{bytes}"#);
    let text = String::from_utf8_lossy(handshake);
    text.replacen(&told(PAYLOAD_BYTES_MAX), &told(POST_BYTES_MAX), 1)
}

/// All of a body, unless it is larger than may come at once.
async fn read(body: Body) -> Result<Option<Bytes>, axum::Error> {
    let mut stream = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(part) = stream.try_next().await? {
        if whole.len() + part.len() > POST_BYTES_MAX {
            return Ok(None);
        }
        whole.extend_from_slice(&part);
    }
    Ok(Some(whole.freeze()))
}

/// How it goes on after a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum After {
    Goes,
    /// It leaves.
    Leaves,
}

/// Hands the packets of a request over, up to the first that may not come: the error is what to close with.
pub(super) fn say(peer: &Peer, body: &[u8]) -> Result<After, CloseCode> {
    for packet in body.split(|&byte| byte == SEPARATOR) {
        let packet = std::str::from_utf8(packet).map_err(|_| CloseCode::BAD_UTF8)?;
        match EnginePacket::read(packet)? {
            EnginePacket::Message(packet) => peer.said(packet),
            EnginePacket::Alive => {}
            EnginePacket::Close => return Ok(After::Leaves),
            // Only over a WebSocket.
            EnginePacket::Probe | EnginePacket::Upgrade => return Err(CloseCode::PROTOCOL),
        }
    }
    Ok(After::Goes)
}

/// An error as Engine.IO has it.
fn bad_request(code: u8, message: &str) -> Response {
    let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
    (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Every request below [`PATH`].
pub(in crate::server) async fn serve(
    State(this): State<Arc<SocketIo>>,
    request: Request,
) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = answer(&this, request).await;
    // Who is not allowed was refused before. There are no cookies, so that nothing more needs to be allowed.
    if let Some(origin) = origin {
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(VARY, ORIGIN.into());
    }
    response
}

async fn answer(this: &Arc<SocketIo>, mut request: Request) -> Response {
    let query = Query::parse(request.uri());
    if !query.is_version_4 {
        return bad_request(5, "Unsupported protocol version");
    }
    let sid = match query.sid {
        None => None,
        Some(Ok(sid)) => Some(sid),
        Some(Err(())) => return bad_request(1, "Session ID unknown"),
    };
    if query.is_websocket {
        return this.websocket(sid, request);
    }
    let Some(sid) = sid else {
        if request.method() != Method::GET {
            return bad_request(2, "Bad handshake method");
        }
        let place = request.extensions_mut().remove::<Arc<AddressPlace>>();
        return this.open(place).await;
    };
    let Some(peer) = this.peers.get(sid) else { return bad_request(1, "Session ID unknown") };
    match *request.method() {
        Method::GET => this.poll(sid, &peer).await,
        Method::POST => this.post(sid, &peer, request.into_body()).await,
        _ => bad_request(3, "Bad request"),
    }
}
