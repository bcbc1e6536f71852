//! Where a server is.

use std::fmt;
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::Uri;

use super::ClientError;
use crate::protocol::WEBSOCKET_PATH;

/// The address of a chat server's WebSocket: `ws://host:port`, with or without the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    url: String,
    authority: String,
}

impl Address {
    /// The whole URL, path included.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `host:port`, as a socket connects to it.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The same server, reached at another `host:port`.
    pub fn elsewhere(&self, authority: &str) -> Self {
        let url = self.url.replacen(&self.authority, authority, 1);
        Self { url, authority: authority.to_owned() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl FromStr for Address {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let wrong = |reason: String| ClientError::Address { address: text.to_owned(), reason };
        let uri: Uri = text.parse().map_err(|error| wrong(format!("{error}")))?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => {
                return Err(wrong("TLS is not spoken here; use the ws:// listener".into()));
            }
            _ => return Err(wrong("it does not begin with ws://".into())),
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("there is no host in it".into()))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        let path = match uri.path_and_query().map(|path| path.as_str()) {
            None | Some("" | "/") => WEBSOCKET_PATH,
            Some(path) => path,
        };
        Ok(Self { url: format!("ws://{authority}{path}"), authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_may_be_left_out_and_other_schemes_are_refused() {
        let url = |text: &str| text.parse::<Address>().map(|address| address.url().to_owned());
        assert_eq!(url("ws://127.0.0.1:9").unwrap(), "ws://127.0.0.1:9/v1/ws");
        assert_eq!(url("ws://[::1]:9/v1/ws").unwrap(), "ws://[::1]:9/v1/ws");
        assert_eq!(url("ws://host/other").unwrap(), "ws://host:80/other");
        for wrong in ["http://host:1", "127.0.0.1:80", "wss://host", "", "ws://"] {
            let error = url(wrong).unwrap_err().to_string();
            assert!(error.contains("ws://127.0.0.1:8080"), "{error}");
        }
    }
}
