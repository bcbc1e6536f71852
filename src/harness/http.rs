//! One request over plain HTTP, for the few addresses that are not chat: a server's counters, a gateway for metrics.

use std::io;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Most bytes of one answer.
const RESPONSE_BYTES_MAX: usize = 8 << 20;

/// How long connecting, asking and reading may take together.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks whoever listens at `address` (`host:port`), on a connection of its own.
///
/// The request's URI is sent as it is: a path, and a `Host` header beside it. An error is one of the connection, or of an
/// answer that is no HTTP, too long or too late; a status is never one.
pub(super) async fn ask(address: &str, request: Request<Body>) -> io::Result<(StatusCode, String)> {
    // Asked for seldom, and large: it is no part of every future that may ask.
    timeout(TIMEOUT, Box::pin(exchange(address, request)))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange(address: &str, request: Request<Body>) -> io::Result<(StatusCode, String)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), RESPONSE_BYTES_MAX).await;
        let body = body.map_err(io::Error::other)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    // The connection moves only while it is polled, and is of no use once there is an answer.
    tokio::select! {
        biased;
        answered = answered => answered,
        Err(error) = connection => Err(io::Error::other(error)),
    }
}
