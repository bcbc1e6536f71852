//! The network side of a node: listeners, HTTP, WebSocket, metrics, and the way to stop.

mod accept;
mod accept_pace;
mod addresses;
mod admin;
mod connections;
mod drain;
mod ending;
mod fragments;
mod frame_header;
mod frame_reader;
mod frame_writer;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
pub(crate) mod instructions;
mod listen;
mod metrics;
mod metrics_table;
mod openapi;
mod origin;
mod page;
mod process;
mod public;
mod pulse;
mod readiness;
mod revoke;
mod settings;
mod socketio;
mod unheard;
mod upgrade;
mod websocket;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::accept::Acceptor;
use self::accept_pace::AcceptPace;
use self::addresses::Addresses;
use self::connections::Connections;
pub use self::listen::{bind, can_bind};
pub use self::metrics::{Metrics, install as install_metrics};
pub use self::metrics_table::metrics_table;
pub use self::openapi::{openapi, openapi_admin};
pub use self::readiness::NodeInfo;
use self::readiness::Readiness;
pub use self::settings::ServerSettings;
use crate::chat::ChatService;
use crate::tls::ServerIdentity;

/// The bound sockets of a node.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub public: TcpListener,
    /// What clients are shown, over TLS; `None`: the public listener is plain.
    pub tls: Option<PublicTls>,
    /// For operators.
    pub admin: TcpListener,
}

/// TLS on the public listener.
#[derive(Clone)]
pub struct PublicTls {
    /// Follows its files while the node serves.
    pub identity: Arc<ServerIdentity>,
    /// Shows it.
    pub acceptor: TlsAcceptor,
}

impl fmt::Debug for PublicTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicTls({:?})", self.identity)
    }
}

/// What everything on the network side of a node shares.
struct Node {
    chat: Arc<ChatService>,
    settings: ServerSettings,
    connections: Arc<Connections>,
    readiness: Readiness,
    metrics: Metrics,
    /// Owns every WebSocket; the drain waits for it.
    websockets: TaskTracker,
    /// No new WebSocket.
    draining: CancellationToken,
    /// The drain is over: whatever is left ends now.
    abort: CancellationToken,
}

/// Serves until `stop`, then drains: returns when every connection has ended and the engine is
/// closed, at most a little later than the drain time.
pub async fn run(
    listeners: Listeners,
    chat: Arc<ChatService>,
    info: NodeInfo,
    settings: ServerSettings,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let Listeners { public, tls, admin } = listeners;
    let node = Arc::new(Node {
        readiness: Readiness::new(Arc::clone(&chat), info),
        connections: Connections::new(&settings),
        chat,
        settings,
        metrics,
        websockets: TaskTracker::new(),
        draining: CancellationToken::new(),
        abort: CancellationToken::new(),
    });
    // Operators are few, and their scrapers may all come from one address.
    let addresses = Addresses::new(node.settings.connections_per_address_max);
    let acceptor = |listener, router, tls, addresses, per_s, stop: &CancellationToken| Acceptor {
        listener,
        router,
        tls,
        addresses,
        pace: AcceptPace::new(per_s),
        settings: &node.settings,
        stop: stop.clone(),
        abort: node.abort.clone(),
    };
    let connects_per_s_max = node.settings.connects_per_s_max;
    // Operators can look until the end; clients come until the drain.
    let admin_stop = CancellationToken::new();
    let loopback = |listener: &TcpListener| {
        listener.local_addr().is_ok_and(|address| address.ip().is_loopback())
    };
    let public_router = public::router(Arc::clone(&node), loopback(&public));
    let admin_router = admin::router(Arc::clone(&node), loopback(&admin));
    let shown = tls.as_ref().map(|tls| tls.acceptor.clone());
    let serve_clients =
        acceptor(public, public_router, shown, addresses, connects_per_s_max, &stop).run();
    let serve_operators =
        acceptor(admin, admin_router, None, Addresses::new(None), None, &admin_stop).run();
    let drain = async {
        stop.cancelled().await;
        drain::drain(&node).await;
        admin_stop.cancel();
    };
    let follow = async {
        let Some(tls) = tls else { return };
        tokio::select! {
            never = tls.identity.follow() => match never {},
            () = stop.cancelled() => {}
        }
    };
    tokio::join!(serve_clients, serve_operators, drain, follow, node.metrics.upkeep(&admin_stop));
    node.chat.close().await;
}
