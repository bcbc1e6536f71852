//! The accept loop, and HTTP on each connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::ServerSettings;
use super::accept_pace::AcceptPace;
use super::addresses::{AddressPlace, Addresses};
use super::unheard::Unheard;
use crate::model::LIMITS;
use crate::tls::Stream;

/// Pauses after an accept that failed for want of something (file descriptors, memory).
const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Takes connections of one listener.
pub(super) struct Acceptor<'a> {
    pub(super) listener: TcpListener,
    pub(super) router: Router,
    /// Takes TLS off; `None`: there is none.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) addresses: Arc<Addresses>,
    pub(super) pace: AcceptPace,
    pub(super) settings: &'a ServerSettings,
    /// No more connections; those there are end after the request at hand.
    pub(super) stop: CancellationToken,
    /// Connections end now.
    pub(super) abort: CancellationToken,
}

impl Acceptor<'_> {
    /// Accepts until told to stop, then waits for the HTTP connections it started. An error never
    /// ends it: what the kernel lacks now it may have later.
    pub(super) async fn run(mut self) {
        // `headers_max` is what the library takes by itself, without memory of its own for each request.
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.settings.header_timeout)
            .max_header_size(LIMITS.head_bytes_max)
            // More, so that a head just too large is read to its end, and its answer is read, too.
            .max_buf_size(2 * LIMITS.head_bytes_max)
            .keep_alive(true);
        let (connections, mut unheard) = (TaskTracker::new(), Unheard::default());
        let mut backoff = BACKOFF_MIN;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                accepted = async {
                    self.pace.ready().await;
                    self.listener.accept().await
                } => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    backoff = BACKOFF_MIN;
                    self.pace.took();
                    // Those that were not upgraded yet, and scrapers: the header timeout makes room within seconds.
                    if connections.len() >= LIMITS.http_connections_max && unheard.end_oldest() {
                        metrics::counter!("chatctl_refused_total", "reason" => "http").increment(1);
                    }
                    let Some(place) = self.addresses.admit(peer.ip()) else {
                        metrics::counter!("chatctl_refused_total", "reason" => "address_unheard")
                            .increment(1);
                        continue;
                    };
                    if prepare(&stream).is_err() {
                        continue;
                    }
                    let (http, router) = (http.clone(), self.router.clone());
                    let (stop, abort) = (self.stop.clone(), self.abort.clone());
                    let place = Arc::new(place);
                    let connection = match self.tls.clone() {
                        None => {
                            let stream = Stream::Plain(stream);
                            connections.spawn(serve(stream, place, http, router, stop, abort))
                        }
                        Some(tls) => {
                            let time = self.settings.header_timeout;
                            connections.spawn(async move {
                                // Boxed: it is large, and over soon.
                                let stream = Box::pin(handshake(tls, stream, time, &stop)).await;
                                if let Some(stream) = stream {
                                    serve(stream, place, http, router, stop, abort).await;
                                }
                            })
                        }
                    };
                    unheard.add(connection.abort_handle(), connections.len());
                }
                // The client gave up between its SYN and our accept.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    metrics::counter!("chatctl_accept_errors_total").increment(1);
                    tracing::warn!(%error, ?backoff, "cannot accept connections; trying again");
                    tokio::select! {
                        () = self.stop.cancelled() => break,
                        () = sleep(backoff) => {}
                    }
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
        drop(self.listener);
        connections.close();
        connections.wait().await;
    }
}

/// Bytes that the kernel takes from us beyond what it can send to the client. Left alone it takes 4 MiB for a client that reads nothing, a copy for
/// each, while our own queue shares frames and is bounded. Below it, a client that reads is never kept waiting for us.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 128 << 10;

/// How the kernel is to treat a connection.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Frames are whole when we write them: waiting for more would only cost latency.
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    Ok(())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// The stream inside, unless the client does not get that far in `time`, or the server stops.
async fn handshake(
    tls: TlsAcceptor,
    stream: TcpStream,
    time: Duration,
    stop: &CancellationToken,
) -> Option<Stream> {
    let failed = |reason: &'static str| {
        metrics::counter!("chatctl_tls_handshakes_failed_total", "reason" => reason).increment(1);
    };
    tokio::select! {
        done = timeout(time, tls.accept(stream)) => match done {
            Ok(Ok(stream)) => return Some(Stream::tls(stream)),
            Ok(Err(error)) => {
                failed("refused");
                tracing::debug!(%error, "a TLS handshake failed");
            }
            Err(_) => {
                failed("timeout");
                tracing::debug!("a TLS handshake took too long");
            }
        },
        () = stop.cancelled() => {}
    }
    None
}

/// One connection's HTTP. After an upgrade this ends and gives its memory back: the WebSocket
/// lives in a task of its own.
async fn serve(
    stream: Stream,
    place: Arc<AddressPlace>,
    http: http1::Builder,
    router: Router,
    stop: CancellationToken,
    abort: CancellationToken,
) {
    // A WebSocket takes its place along.
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&place));
        request
    });
    let service = TowerToHyperService::new(service);
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = abort.cancelled() => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that the kernel takes for a client that reads nothing.
    async fn taken(are_prepared: bool) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(client, listener.accept());
        let (_client, (server, _)) = (client.unwrap(), server.unwrap());
        if are_prepared {
            prepare(&server).unwrap();
        }
        let mut taken = 0;
        while let Ok(Ok(())) = timeout(Duration::from_millis(500), server.writable()).await {
            taken += server.try_write(&[b'x'; 8_192]).unwrap_or(0);
        }
        taken
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_kernel_takes_little_for_a_client_that_reads_nothing() {
        let (alone, prepared) = (taken(false).await, taken(true).await);
        eprintln!("{alone} bytes, {prepared} when prepared");
        assert!(prepared < 1 << 20 && prepared < alone / 2, "{alone} bytes, and {prepared}");
    }
}
