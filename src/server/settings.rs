//! What the network side of a node can be told.

use std::time::Duration;

use crate::config::{Origin, Secret};
use crate::model::{LIMITS, PONG_GRACE_MS};

/// Durations and bounds. Everything is here and nothing is a constant elsewhere, so that tests
/// take milliseconds.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Time between two pings.
    pub ping: Duration,
    /// Nothing heard for `ping` and this closes 4008.
    pub pong_grace: Duration,
    /// Time for the first `hello`.
    pub hello: Duration,
    /// Time for the head of an HTTP request.
    pub header_timeout: Duration,
    /// Bytes that may wait to be sent to one client.
    pub outbox_bytes_max: usize,
    /// Clients at once.
    pub connections_max: usize,
    /// Clients above that which are still told so by a close frame; more get a plain 503.
    pub refusals_max: usize,
    /// Connections of one address; `None`: no limit.
    pub connections_per_address_max: Option<u64>,
    /// Connections that are accepted in a second; `None`: as many as come.
    pub connects_per_s_max: Option<u64>,
    /// Web pages of other hosts that may connect.
    pub origins: Vec<Origin>,
    /// What whoever revokes must show.
    pub admin_token: Option<Secret>,
    /// Most time between the order to stop and the end.
    pub drain: Duration,
    /// Time for what is queued, and the close frame, to reach the socket of a client that is closed.
    pub close_flush: Duration,
    /// The same for a reader that is too slow or silent: only the frame begun and the close frame.
    pub slow_flush: Duration,
    /// Time for the client's side of the close.
    pub close_wait: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(25),
            pong_grace: Duration::from_millis(PONG_GRACE_MS),
            hello: Duration::from_millis(LIMITS.hello_ms_max),
            header_timeout: Duration::from_secs(5),
            outbox_bytes_max: 8 << 20,
            connections_max: 100_000,
            refusals_max: 1_000,
            connections_per_address_max: None,
            connects_per_s_max: None,
            origins: Vec::new(),
            admin_token: None,
            drain: Duration::from_secs(5),
            close_flush: Duration::from_secs(5),
            slow_flush: Duration::from_secs(1),
            close_wait: Duration::from_secs(1),
        }
    }
}
