//! Where a server is.

use std::fmt;
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::Uri;

use super::ClientError;
use crate::protocol::WEBSOCKET_PATH;

/// The address of a chat server's WebSocket: `ws://host:port`, or `wss://` over TLS, with or without the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    url: String,
    authority: String,
    tls_name: Option<String>,
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

    /// What the server's certificate must be for; `None`: it is reached without TLS.
    pub fn tls_name(&self) -> Option<&str> {
        self.tls_name.as_deref()
    }

    /// The same server, reached at another `host:port`. Its certificate is the same.
    pub fn elsewhere(&self, authority: &str) -> Self {
        let url = self.url.replacen(&self.authority, authority, 1);
        Self { url, authority: authority.to_owned(), tls_name: self.tls_name.clone() }
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
        let (scheme, port) = match uri.scheme_str() {
            Some("ws") => ("ws", 80),
            Some("wss") => ("wss", 443),
            _ => return Err(wrong("it does not begin with ws:// or wss://".into())),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("there is no host in it".into()))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(port));
        let path = match uri.path_and_query().map(|path| path.as_str()) {
            None | Some("" | "/") => WEBSOCKET_PATH,
            Some(path) => path,
        };
        // Without the brackets of an IPv6 address.
        let name = || host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls_name = (scheme == "wss").then(name);
        Ok(Self { url: format!("{scheme}://{authority}{path}"), authority, tls_name })
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
        assert_eq!(url("wss://host").unwrap(), "wss://host:443/v1/ws");
        for wrong in ["http://host:1", "127.0.0.1:80", "", "ws://", "wss://"] {
            let error = url(wrong).unwrap_err().to_string();
            assert!(error.contains("ws://127.0.0.1:8080"), "{error}");
        }
    }

    #[test]
    fn a_certificate_is_for_the_host_wherever_it_is_reached() {
        let name = |text: &str| {
            let address: Address = text.parse().unwrap();
            let elsewhere = address.elsewhere("127.0.0.1:9");
            assert_eq!(elsewhere.tls_name(), address.tls_name());
            assert_eq!(elsewhere.authority(), "127.0.0.1:9");
            address.tls_name().map(str::to_owned)
        };
        assert_eq!(name("ws://chat.example"), None);
        assert_eq!(name("wss://chat.example:8443").as_deref(), Some("chat.example"));
        assert_eq!(name("wss://[::1]:8443").as_deref(), Some("::1"));
    }
}
