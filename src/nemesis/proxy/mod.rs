//! A link that can be broken: a TCP proxy whose connections are slowed, held, narrowed or cut.

mod pump;
mod weather;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::pump::Pump;
pub use self::weather::{Direction, Weather};

/// The pause after an accept that failed for want of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A listening proxy to one address. Dropped, it is gone with all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Of the accept loop and everything below it.
    ended: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    weather: watch::Sender<Weather>,
    open: Mutex<HashMap<u64, Controls>>,
    connections: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

/// What ends a connection, or one direction of it.
#[derive(Debug, Clone)]
struct Controls {
    cut: CancellationToken,
    to_server_ends: CancellationToken,
    to_client_ends: CancellationToken,
}

/// What has passed a link so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Connections that were accepted.
    pub connections: u64,
    /// Bytes from clients that were written to the server.
    pub to_server_bytes: u64,
    /// Bytes from the server that were written to clients.
    pub to_client_bytes: u64,
}

impl Proxy {
    /// Listens on a free port of the loopback for connections to `upstream` (`host:port`), which need not listen yet.
    pub async fn start(upstream: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            weather: watch::Sender::new(Weather::default()),
            open: Mutex::default(),
            connections: AtomicU64::new(0),
            to_server: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
        });
        let ended = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&shared), ended.clone()));
        Ok(Self { address, shared, ended })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for the connections that are there and those to come.
    pub fn set(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// Ends all connections that are there.
    pub fn cut(&self) {
        self.shared.open().values().for_each(|controls| controls.cut.cancel());
    }

    /// Ends one direction of all connections that are there: the receiver reads their end, and may still write.
    pub fn half_close(&self, direction: Direction) {
        for controls in self.shared.open().values() {
            match direction {
                Direction::ToServer => controls.to_server_ends.cancel(),
                Direction::ToClient => controls.to_client_ends.cancel(),
            }
        }
    }

    /// What has passed so far.
    pub fn passed(&self) -> Passed {
        Passed {
            connections: self.shared.connections.load(Ordering::Relaxed),
            to_server_bytes: self.shared.to_server.load(Ordering::Relaxed),
            to_client_bytes: self.shared.to_client.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Controls>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, ended: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = ended.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) => {
                let number = shared.connections.fetch_add(1, Ordering::Relaxed);
                let controls = Controls {
                    cut: ended.child_token(),
                    to_server_ends: CancellationToken::new(),
                    to_client_ends: CancellationToken::new(),
                };
                shared.open().insert(number, controls.clone());
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        () = controls.cut.cancelled() => {}
                        // Either end's trouble is the other's end.
                        _ = connection(&shared, &controls, client) => {}
                    }
                    shared.open().remove(&number);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(shared: &Shared, controls: &Controls, client: TcpStream) -> io::Result<()> {
    let server = TcpStream::connect(&shared.upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let pump = |direction, passed, half_close: &CancellationToken| Pump {
        direction,
        weather: shared.weather.subscribe(),
        passed,
        half_close: half_close.clone(),
    };
    let there = pump(Direction::ToServer, &shared.to_server, &controls.to_server_ends);
    let back = pump(Direction::ToClient, &shared.to_client, &controls.to_client_ends);
    tokio::try_join!(there.run(from_client, to_server), back.run(from_server, to_client))
        .map(|_| ())
}

#[cfg(test)]
mod tests;
