//! The address of a JSON Web Key Set.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

use super::Authority;

/// `https://host[:port]/path`, or the same with `http`. Shown without its query, which may hold a key of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksUrl {
    uri: Uri,
    host: String,
    port: u16,
    is_https: bool,
}

/// The text is no address of a JSON Web Key Set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not https://host[:port]/path or http://host[:port]/path")]
pub struct JwksUrlError;

impl JwksUrl {
    /// The host; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; that of the scheme where none is written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Path and query, as a request names them.
    pub fn target(&self) -> &str {
        self.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// Host and port, as a request names them.
    pub fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// Whether somebody on the way could put other keys in the place of those that are there.
    pub fn is_exposed(&self) -> bool {
        let is_here = Authority::parse(self.authority()).is_some_and(|host| host.is_loopback());
        !self.is_https && !is_here
    }
}

impl FromStr for JwksUrl {
    type Err = JwksUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| JwksUrlError)?;
        let (is_https, port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(JwksUrlError),
        };
        let authority = uri.authority().ok_or(JwksUrlError)?;
        // No user and password: they would have to be kept out of sight everywhere.
        if Authority::parse(authority.as_str()).is_none() {
            return Err(JwksUrlError);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(port);
        Ok(Self { host, port, is_https, uri })
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.uri.path())
    }
}

impl fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwksUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://id.example/jwks", "id.example", 443, "/jwks", false)]
    #[case("http://id.example:8080/a?key=k", "id.example", 8080, "/a?key=k", true)]
    #[case("http://127.0.0.1:1/jwks", "127.0.0.1", 1, "/jwks", false)]
    #[case("http://[::1]:1/jwks", "::1", 1, "/jwks", false)]
    #[case("https://id.example", "id.example", 443, "/", false)]
    fn its_parts(
        #[case] url: JwksUrl,
        #[case] host: &str,
        #[case] port: u16,
        #[case] target: &str,
        #[case] exposed: bool,
    ) {
        assert_eq!((url.host(), url.port(), url.target()), (host, port, target));
        assert_eq!(url.is_exposed(), exposed);
        assert!(!url.to_string().contains("key="));
    }

    #[rstest]
    #[case("")]
    #[case("id.example/jwks")]
    #[case("ftp://id.example/jwks")]
    #[case("https://user:pw@id.example/jwks")]
    #[case("https:///jwks")]
    #[case("https://id example/jwks")]
    fn what_is_none_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<JwksUrl>(), Err(JwksUrlError));
    }
}
