//! What a link does to the bytes that pass it.

use std::fmt;
use std::time::Duration;

/// One of the two directions of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connected.
    ToServer,
    /// Back.
    ToClient,
}

/// The state of a link, for every connection through it. The default lets everything pass at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weather {
    /// Added to each piece.
    pub latency: Duration,
    /// Up to this much more, different for each piece; the order stays.
    pub jitter: Duration,
    /// At most so many bytes a second, in each direction of each connection.
    pub bytes_per_s: Option<u64>,
    /// Written in pieces of so many bytes.
    pub piece_bytes: Option<usize>,
    /// Nothing gets through in this direction until it is healed; what comes meanwhile waits, as it would in a sender's kernel.
    pub holds_to_server: bool,
    /// The same, the other way.
    pub holds_to_client: bool,
}

impl Weather {
    /// Whether nothing passes in `direction`.
    pub fn holds(&self, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => self.holds_to_server,
            Direction::ToClient => self.holds_to_client,
        }
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match (self.holds_to_server, self.holds_to_client) {
            (true, true) => parts.push("nothing passes".to_owned()),
            (true, false) => parts.push("nothing passes to the server".to_owned()),
            (false, true) => parts.push("nothing passes to the client".to_owned()),
            (false, false) => {}
        }
        if !self.latency.is_zero() || !self.jitter.is_zero() {
            let (latency, jitter) = (self.latency.as_millis(), self.jitter.as_millis());
            parts.push(format!("{latency} ms and up to {jitter} ms more"));
        }
        if let Some(bytes) = self.bytes_per_s {
            parts.push(format!("{bytes} bytes/s"));
        }
        if let Some(bytes) = self.piece_bytes {
            parts.push(format!("pieces of {bytes} bytes"));
        }
        match parts.is_empty() {
            true => f.write_str("clear"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}
