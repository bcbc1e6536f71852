//! One GET of a JSON Web Key Set, over HTTP or HTTPS: on a connection of its own, bounded in time and bytes, without redirects.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::JwksUrl;
use crate::tls::{Trust, explain};

/// How long connecting, asking and reading may take together: less than a `hello` is waited for.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an answer; sets of providers have a few thousand.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The way to a set.
pub struct Fetcher {
    url: JwksUrl,
    tls: Option<TlsConnector>,
}

impl Fetcher {
    /// Not connected yet. It reads the certificates that this system trusts, if the way is over TLS; the error is why there are none.
    pub fn new(url: JwksUrl) -> Result<Self, String> {
        let tls = if url.is_https() { Some(Trust::load(None)?.connector()?) } else { None };
        Ok(Self { url, tls })
    }

    /// The text of the set, or why there is none.
    pub async fn get(&self) -> Result<String, String> {
        // Seldom, and large: it is no part of every future that may ask.
        match timeout(TIMEOUT, Box::pin(self.ask())).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer in {} s", TIMEOUT.as_secs())),
        }
    }

    async fn ask(&self) -> Result<String, String> {
        let address = (self.url.host(), self.url.port());
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        match &self.tls {
            None => exchange(stream, &self.url).await,
            Some(tls) => {
                let name = ServerName::try_from(self.url.host().to_owned());
                let name = name.map_err(|_| "the host is no name for TLS".to_owned())?;
                let stream = tls.connect(name, stream).await;
                exchange(stream.map_err(|error| explain(&error, "SSL_CERT_FILE"))?, &self.url).await
            }
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &JwksUrl,
) -> Result<String, String> {
    let said = |error: hyper::Error| error.to_string();
    let request = Request::get(url.target())
        .header(HOST, url.authority())
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .body(Body::empty())
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(said)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(format!("it answered {status}"));
        }
        let body = to_bytes(Body::new(response.into_body()), BODY_BYTES_MAX).await;
        let body = body.map_err(|error| format!("its answer cannot be read: {error}"))?;
        String::from_utf8(body.into()).map_err(|_| "its answer is not UTF-8".to_owned())
    };
    // The connection moves only while it is polled, and is of no use once there is an answer.
    tokio::select! {
        biased;
        answered = answered => answered,
        Err(error) = connection => Err(error.to_string()),
    }
}
