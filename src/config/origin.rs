//! Origins and hosts as browsers send them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A host and a port, as in the `Host` header: `chat.example`, `localhost:8080`, `[::1]:8080`.
/// Host names are kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// A web origin: scheme, host and port. The port is always there: the scheme's own is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Authority {
    /// Reads a `Host` header; `None` for anything that is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (address, rest) = bracketed.split_once(']')?;
                (Host::V6(address.parse().ok()?), rest)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                (Host::parse_unbracketed(&text[..end])?, &text[end..])
            }
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }

    /// Whether it names this machine by a loopback address or as `localhost`: names that no foreign
    /// DNS server can point here.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Name(name) => name == "localhost",
            Host::V4(address) => address.is_loopback(),
            Host::V6(address) => address.is_loopback(),
        }
    }
}

impl Host {
    fn parse_unbracketed(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::V4(address));
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let valid = (1..=253).contains(&text.len()) && text.bytes().all(is_name);
        valid.then(|| Self::Name(text.to_ascii_lowercase()))
    }
}

impl Origin {
    /// Whether a page of this origin was served under `host`. The scheme may differ: a proxy in front
    /// may have taken TLS off; a missing port is the one of the origin's scheme.
    pub fn is_same_host(&self, host: &Authority) -> bool {
        self.host == host.host && self.port == host.port.unwrap_or(self.scheme.port())
    }
}

/// The text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not scheme://host or scheme://host:port with http or https")]
pub struct OriginParseError;

impl FromStr for Origin {
    type Err = OriginParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(OriginParseError)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(OriginParseError),
        };
        let Authority { host, port } = Authority::parse(rest).ok_or(OriginParseError)?;
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.port()) })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        match &self.host {
            Host::Name(name) => write!(f, "{scheme}://{name}:{}", self.port),
            Host::V4(address) => write!(f, "{scheme}://{address}:{}", self.port),
            Host::V6(address) => write!(f, "{scheme}://[{address}]:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("localhost", true)]
    #[case("LocalHost:8080", true)]
    #[case("127.0.0.1:8080", true)]
    #[case("127.8.9.1", true)]
    #[case("[::1]:8080", true)]
    #[case("[::1]", true)]
    #[case("localhost.evil.example", false)]
    #[case("127.0.0.1.evil.example:8080", false)]
    #[case("evil.example", false)]
    #[case("10.0.0.1:8080", false)]
    #[case("[2001:db8::1]:8080", false)]
    fn loopback_names_are_known(#[case] host: &str, #[case] loopback: bool) {
        assert_eq!(Authority::parse(host).unwrap().is_loopback(), loopback);
    }

    #[rstest]
    #[case("")]
    #[case(":80")]
    #[case("::1")]
    #[case("[::1")]
    #[case("[::1]x")]
    #[case("host:port")]
    #[case("host:99999")]
    #[case("host:+1")]
    #[case("user@host")]
    #[case("a b")]
    fn what_is_no_host_is_refused(#[case] host: &str) {
        assert_eq!(Authority::parse(host), None);
    }

    #[rstest]
    #[case("http://localhost:8080", "localhost:8080", true)]
    #[case("HTTP://LOCALHOST:8080", "localhost:8080", true)]
    #[case("http://[::1]:8080", "[0:0::1]:8080", true)]
    #[case("http://chat.example", "chat.example", true)]
    #[case("http://chat.example", "chat.example:80", true)]
    #[case("https://chat.example", "chat.example", true)]
    #[case("https://chat.example", "chat.example:443", true)]
    #[case("https://chat.example", "chat.example:80", false)]
    #[case("http://localhost:3000", "localhost:8080", false)]
    #[case("http://127.0.0.1:8080", "localhost:8080", false)]
    #[case("http://evil.example:8080", "localhost:8080", false)]
    fn an_origin_equals_its_own_host_only(
        #[case] origin: Origin,
        #[case] host: &str,
        #[case] same: bool,
    ) {
        assert_eq!(origin.is_same_host(&Authority::parse(host).unwrap()), same);
    }

    #[rstest]
    #[case("null")]
    #[case("file://")]
    #[case("http://")]
    #[case("http://host/path")]
    #[case("chat.example")]
    fn what_is_no_origin_is_refused(#[case] text: &str) {
        assert!(text.parse::<Origin>().is_err());
    }
}
