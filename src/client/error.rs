//! What can go wrong between a client and its server.

use std::io;
use std::time::Duration;

use crate::protocol::{CloseCode, ErrorBody, ErrorCode};

/// Why a connect or a command has no answer to give.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The text is no address.
    #[error(
        "{address:?} is no chat server's address: {reason}; write it like ws://127.0.0.1:8080/v1/ws, or wss:// for TLS"
    )]
    Address {
        /// The text.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No TCP connection.
    #[error(
        "cannot connect to {address}: {source}; is the server running, and is the address right?"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Neither connected nor refused in time.
    #[error(
        "{address} did not accept the connection within {timeout_ms} ms; the server is overloaded or something drops the packets on the way"
    )]
    ConnectTimeout {
        /// Where.
        address: String,
        /// How long it was waited for.
        timeout_ms: u64,
    },
    /// Connected, but TLS cannot be set up.
    #[error("cannot connect to {address} safely: {reason}")]
    Tls {
        /// Where.
        address: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Connected, but the other end does not upgrade to a WebSocket.
    #[error("{address} is no chat server, or does not let this client in: {reason}")]
    Handshake {
        /// Where.
        address: String,
        /// What the other end answered.
        reason: String,
    },
    /// The connection is over. A command that was unanswered may or may not have happened.
    #[error("{address} closed the connection ({}): {reason}", shown_code(*.code))]
    Closed {
        /// Where.
        address: String,
        /// The close code; `None` when the connection ended without one.
        code: Option<u16>,
        /// The close reason, or what the system said.
        reason: String,
    },
    /// Not answered in time: may or may not have happened.
    #[error(
        "{address} did not answer within {waited_ms} ms; what was asked may or may not have happened"
    )]
    Timeout {
        /// Where.
        address: String,
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// No token can be made for the client.
    #[error("no token can be made: {reason}")]
    Token {
        /// Why.
        reason: String,
    },
    /// The server does not keep the protocol.
    #[error("{address} broke the protocol: {problem}")]
    Protocol {
        /// Where.
        address: String,
        /// What it did.
        problem: String,
    },
    /// The server answered with an error.
    #[error("refused: {0}")]
    Refused(#[from] ErrorBody),
}

impl ClientError {
    /// The labels of errors that no server answered; one that closed with a code is `closed_<code>`.
    pub const LABELS: [&str; 9] = [
        "address",
        "unreachable",
        "connect_timeout",
        "tls",
        "handshake",
        "closed",
        "client_timeout",
        "token",
        "protocol",
    ];

    /// Whether what was asked certainly did not and will not happen.
    pub fn is_definite(&self) -> bool {
        match self {
            Self::Address { .. }
            | Self::Unreachable { .. }
            | Self::ConnectTimeout { .. }
            | Self::Tls { .. }
            | Self::Handshake { .. }
            | Self::Token { .. } => true,
            Self::Closed { .. } | Self::Timeout { .. } | Self::Protocol { .. } => false,
            Self::Refused(error) => error.definite,
        }
    }

    /// Whether the same request may be sent again on the same connection.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Refused(error) => error.temporary,
            _ => false,
        }
    }

    /// The server was asked too much in too short a time: it did not do this.
    pub fn is_too_fast(&self) -> bool {
        matches!(self, Self::Refused(error) if error.code == ErrorCode::RateLimited)
    }

    /// Not done, because there was too much to do: what comes again when it was told to is welcome.
    pub fn is_turned_away(&self) -> bool {
        self.is_too_fast()
            || matches!(self, Self::Refused(error) if error.code == ErrorCode::Overloaded)
    }

    /// What the server says must pass before it is asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(error) => error.retry_after_ms.map(Duration::from_millis),
            _ => None,
        }
    }

    /// A short word to count by: the server's error code, or `client_timeout`, `closed_4408`, ….
    pub fn label(&self) -> String {
        match self {
            Self::Address { .. } => "address".into(),
            Self::Unreachable { .. } => "unreachable".into(),
            Self::ConnectTimeout { .. } => "connect_timeout".into(),
            Self::Tls { .. } => "tls".into(),
            Self::Handshake { .. } => "handshake".into(),
            Self::Closed { code: Some(code), .. } => format!("closed_{code}"),
            Self::Closed { code: None, .. } => "closed".into(),
            Self::Timeout { .. } => "client_timeout".into(),
            Self::Token { .. } => "token".into(),
            Self::Protocol { .. } => "protocol".into(),
            Self::Refused(error) => error.code.name(),
        }
    }
}

fn shown_code(code: Option<u16>) -> String {
    match code {
        Some(code) if CloseCode::reconnect(code) => format!("code {code}, connect again"),
        Some(code) => format!("code {code}, do not connect again"),
        None => "without a code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_labels_holds_all() {
        let [address, reason, problem] = [(); 3].map(|()| String::new());
        let closed =
            |code| ClientError::Closed { address: String::new(), code, reason: String::new() };
        let errors = [
            ClientError::Address { address: address.clone(), reason: reason.clone() },
            ClientError::Unreachable { address: address.clone(), source: io::Error::other("") },
            ClientError::ConnectTimeout { address: address.clone(), timeout_ms: 1 },
            ClientError::Tls { address: address.clone(), reason: reason.clone() },
            ClientError::Handshake { address: address.clone(), reason },
            closed(None),
            ClientError::Timeout { address: address.clone(), waited_ms: 1 },
            ClientError::Token { reason: String::new() },
            ClientError::Protocol { address, problem },
        ];
        assert_eq!(errors.map(|error| error.label()), ClientError::LABELS);
        assert_eq!(closed(Some(4408)).label(), "closed_4408");
    }
}
