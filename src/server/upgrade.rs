//! From HTTP to a WebSocket (RFC 6455 §4.2), by hand: the socket itself is handed over, and
//! nothing of HTTP stays with the connection.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::addresses::AddressPlace;
use super::connections::Slot;
use super::{Node, websocket};
use crate::tls::Stream;

/// Why a request is no WebSocket handshake.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Method,
    NoUpgrade,
    Version,
    Key,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET")], "use GET\n").into_response()
            }
            Self::NoUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                [(UPGRADE, "websocket"), (CONNECTION, "Upgrade")],
                "this is a WebSocket: connect by ws://, or wss:// where it speaks TLS\n",
            )
                .into_response(),
            Self::Version => (
                StatusCode::UPGRADE_REQUIRED,
                [(SEC_WEBSOCKET_VERSION, "13")],
                "use WebSocket version 13\n",
            )
                .into_response(),
            Self::Key => {
                (StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in base64, once\n")
                    .into_response()
            }
        }
    }
}

/// Answers 101 and starts the connection's own task, which the node owns.
pub(super) async fn upgrade(State(node): State<Arc<Node>>, mut request: Request) -> Response {
    let accept = match check(&request) {
        Ok(accept) => accept,
        Err(refusal) => return refusal,
    };
    let place = request.extensions_mut().remove::<Arc<AddressPlace>>();
    let slot = match admit(&node, place.as_deref()) {
        Ok(slot) => slot,
        Err(refusal) => return refusal,
    };
    let upgrade = hyper::upgrade::on(&mut request);
    node.websockets.spawn(begin(upgrade, Arc::clone(&node), slot, place));
    switching(&accept)
}

/// A place for one more client of this address, or the answer that there is none.
#[expect(clippy::result_large_err, reason = "once for each client")]
pub(super) fn admit(node: &Node, place: Option<&AddressPlace>) -> Result<Slot, Response> {
    if place.is_some_and(|place| place.refused) {
        return Err(too_many_of_address());
    }
    let unavailable = |text: &'static str| (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    if node.draining.is_cancelled() {
        return Err(unavailable("the server is shutting down\n"));
    }
    node.connections.admit().ok_or_else(|| {
        metrics::counter!("chatctl_refused_total", "reason" => "connections").increment(1);
        unavailable("too many connections\n")
    })
}

/// The answer to an address that has all the connections it may have.
pub(super) fn too_many_of_address() -> Response {
    metrics::counter!("chatctl_refused_total", "reason" => "address").increment(1);
    let text = "too many connections from this address\n";
    // It holds a place as long as it is there.
    (StatusCode::TOO_MANY_REQUESTS, [(CONNECTION, "close")], text).into_response()
}

/// The answer after which the socket is a WebSocket.
pub(super) fn switching(accept: &str) -> Response {
    let headers = [(CONNECTION, "Upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_ACCEPT, accept)];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// The socket itself and what came with the handshake; `None`: the client went away before it had our 101.
pub(super) async fn taken(upgrade: OnUpgrade) -> Option<(Stream, Bytes)> {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "an upgrade was not finished");
            return None;
        }
    };
    match upgraded.downcast::<TokioIo<Stream>>() {
        Ok(parts) => Some((parts.io.into_inner(), parts.read_buf)),
        Err(_) => {
            tracing::error!("an upgraded connection is not the socket that was accepted");
            None
        }
    }
}

async fn begin(upgrade: OnUpgrade, node: Arc<Node>, slot: Slot, _place: Option<Arc<AddressPlace>>) {
    if let Some((stream, read_ahead)) = taken(upgrade).await {
        websocket::run(stream, read_ahead, node, slot).await;
    }
}

/// The value of `Sec-WebSocket-Accept`, or the answer to what is no handshake.
#[expect(clippy::result_large_err, reason = "once for each client")]
pub(super) fn check(request: &Request) -> Result<String, Response> {
    judge(request.method(), request.version(), request.headers())
        .map_err(IntoResponse::into_response)
}

fn judge(method: &Method, version: Version, headers: &HeaderMap) -> Result<String, Refusal> {
    if method != Method::GET {
        return Err(Refusal::Method);
    }
    let asks =
        has_token(headers, &UPGRADE, "websocket") && has_token(headers, &CONNECTION, "upgrade");
    if version != Version::HTTP_11 || !asks {
        return Err(Refusal::NoUpgrade);
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version.as_bytes() != b"13") {
        return Err(Refusal::Version);
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(Refusal::Key) };
    match STANDARD.decode(key.as_bytes()) {
        Ok(bytes) if bytes.len() == 16 => Ok(derive_accept_key(key.as_bytes())),
        _ => Err(Refusal::Key),
    }
}

/// Whether a header that lists tokens has this one, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(changes: &[(&'static str, Option<&'static str>)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let usual = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            // The example of RFC 6455 §1.3.
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in usual {
            headers.insert(name, value.parse().unwrap());
        }
        for &(name, value) in changes {
            match value {
                Some(value) => drop(headers.insert(name, value.parse().unwrap())),
                None => drop(headers.remove(name)),
            }
        }
        headers
    }

    #[test]
    fn the_handshake_of_the_rfc_is_accepted_and_others_are_not() {
        let get = |changes| judge(&Method::GET, Version::HTTP_11, &headers(changes));
        assert_eq!(get(&[]).as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(get(&[("upgrade", None)]), Err(Refusal::NoUpgrade));
        assert_eq!(get(&[("upgrade", Some("h2c"))]), Err(Refusal::NoUpgrade));
        assert_eq!(get(&[("connection", Some("close"))]), Err(Refusal::NoUpgrade));
        assert_eq!(get(&[("sec-websocket-version", Some("8"))]), Err(Refusal::Version));
        assert_eq!(get(&[("sec-websocket-version", None)]), Err(Refusal::Version));
        assert_eq!(get(&[("sec-websocket-key", Some("c2hvcnQ="))]), Err(Refusal::Key));
        assert_eq!(get(&[("sec-websocket-key", None)]), Err(Refusal::Key));
        let post = judge(&Method::POST, Version::HTTP_11, &headers(&[]));
        assert_eq!(post, Err(Refusal::Method));
        let old = judge(&Method::GET, Version::HTTP_10, &headers(&[]));
        assert_eq!(old, Err(Refusal::NoUpgrade));
    }
}
