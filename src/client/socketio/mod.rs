//! Clients that are the stock `socket.io-client` of npm: node processes run them, and speak with us in lines.

mod relay;
mod stock_socket;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use self::relay::Relay;
pub(super) use self::stock_socket::StockSocket;
use super::Address;

/// Clients of one node process: what it does with each costs more than what we do.
const CLIENTS_PER_PROCESS: usize = 32;

/// How the clients of this process reach their servers, where it is not by a WebSocket.
struct Stock {
    modules: PathBuf,
    certificates: Option<PathBuf>,
    relays: Mutex<Vec<Weak<Relay>>>,
}

static OF_PROCESS: OnceLock<Stock> = OnceLock::new();

/// From now on clients of this process are stock clients of Socket.IO, whose package is in the `node_modules` folder `modules`: by turns
/// over WebSocket, by polling, and as they are by default. They believe the certificates in `certificates`, too. The first call counts.
/// The error says what is missing and what to do.
pub fn speak_socketio(modules: &Path, certificates: Option<&Path>) -> Result<(), String> {
    let package = modules.join("socket.io-client").join("package.json");
    if !package.is_file() {
        return Err(format!(
            "{} has no socket.io-client: run `npm install socket.io-client@4.8` and name its node_modules",
            modules.display()
        ));
    }
    let modules = std::path::absolute(modules).map_err(|error| error.to_string())?;
    let certificates = certificates.map(Path::to_owned);
    let _ = OF_PROCESS.set(Stock { modules, certificates, relays: Mutex::default() });
    Ok(())
}

/// A client that has not said `hello`, if clients are stock clients here. The error says why there is no node process.
pub(super) fn open(address: &Address) -> Option<Result<StockSocket, String>> {
    OF_PROCESS.get().map(|stock| Ok(StockSocket::open(&stock.relay()?, address)))
}

impl Stock {
    /// One with room, or a new one.
    fn relay(&self) -> Result<Arc<Relay>, String> {
        let mut relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        relays.retain(|relay| relay.strong_count() > 0);
        let mut there = relays.iter().filter_map(Weak::upgrade);
        if let Some(relay) = there.find(|relay| relay.clients() < CLIENTS_PER_PROCESS) {
            return Ok(relay);
        }
        let relay = Relay::start(&self.modules, self.certificates.as_deref())?;
        relays.push(Arc::downgrade(&relay));
        Ok(relay)
    }
}
