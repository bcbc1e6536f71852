//! Hands a result to whoever collects metrics.

use std::fmt;
use std::io;
use std::str::FromStr;

use axum::body::Body;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};

use super::http::ask;

/// What is sent is OpenMetrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How much of a refusal is shown, characters.
const SHOWN_CHARS: usize = 200;

/// Where metrics are put, like `http://127.0.0.1:9091/metrics/job/chatctl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushUrl {
    uri: Uri,
}

impl FromStr for PushUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "write it like http://127.0.0.1:9091/metrics/job/chatctl";
        let uri = text.parse::<Uri>().map_err(|error| format!("{error}; {EXAMPLE}"))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        match uri.scheme_str() {
            Some("http") if authority.contains('@') => {
                Err("a password would be sent in clear text; put a gateway without one nearby"
                    .to_owned())
            }
            Some("http") if !authority.is_empty() => Ok(Self { uri }),
            Some("https") => Err("only http:// is spoken; put a gateway nearby".to_owned()),
            _ => Err(EXAMPLE.to_owned()),
        }
    }
}

impl fmt::Display for PushUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(formatter)
    }
}

/// Why metrics did not get there, or perhaps did not.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Nobody answers, or not in time.
    #[error("cannot push metrics to {url}: {source}; is a gateway listening there?")]
    Io {
        /// Where to.
        url: String,
        /// What happened.
        source: io::Error,
    },
    /// They were refused.
    #[error("{url} refused the metrics: {status}{said}")]
    Refused {
        /// Where to.
        url: String,
        /// Its status.
        status: StatusCode,
        /// The beginning of its answer, with what goes before it.
        said: String,
    },
}

impl PushUrl {
    /// Puts OpenMetrics text there, in place of what an earlier run put at the same address.
    pub async fn push(&self, openmetrics: String) -> Result<(), PushError> {
        let failed = |source| PushError::Io { url: self.to_string(), source };
        let host = self.uri.host().unwrap_or_default();
        let address = format!("{host}:{}", self.uri.port_u16().unwrap_or(80));
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::put(path)
            .header(HOST, self.uri.authority().map_or(host, |authority| authority.as_str()))
            .header(USER_AGENT, concat!("chatctl/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, OPENMETRICS)
            .body(Body::from(openmetrics))
            .map_err(|error| failed(io::Error::other(error)))?;
        let (status, body) = ask(&address, request).await.map_err(failed)?;
        if status.is_success() {
            return Ok(());
        }
        let shown: String = body.trim().chars().take(SHOWN_CHARS).collect();
        let said = if shown.is_empty() { shown } else { format!(": {}", shown.escape_debug()) };
        Err(PushError::Refused { url: self.to_string(), status, said })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with this, and gives back what was asked.
    async fn gateway(answer: &'static str) -> (PushUrl, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metrics/job/a?b=c", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"# EOF\n") {
                let mut buffer = [0; 1_024];
                let count = stream.read(&mut buffer).await.unwrap();
                assert!(count > 0, "ended early");
                asked.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        (url.parse().unwrap(), serving)
    }

    #[tokio::test]
    async fn metrics_are_put_at_the_path() {
        let answer = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
        let (url, serving) = gateway(answer).await;
        url.push("a 1\n# EOF\n".to_owned()).await.unwrap();
        let asked = serving.await.unwrap().to_lowercase();
        assert!(asked.starts_with("put /metrics/job/a?b=c http/1.1\r\n"), "{asked}");
        for header in [
            "content-length: 10",
            "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8",
            "host: 127.0.0.1:",
        ] {
            assert!(asked.contains(&format!("\r\n{header}")), "{asked}");
        }
        assert!(asked.ends_with("\r\n\r\na 1\n# eof\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_refusal_says_what_was_said() {
        let answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nno\nlabels";
        let (url, _serving) = gateway(answer).await;
        let error = url.push("# EOF\n".to_owned()).await.unwrap_err().to_string();
        assert!(error.contains("refused the metrics: 400 Bad Request: no\\nlabels"), "{error}");

        let (url, _serving) = gateway("SSH-2.0-x\r\n").await;
        let error = url.push("# EOF\n".to_owned()).await.unwrap_err().to_string();
        assert!(error.contains("is a gateway listening there?"), "{error}");
        let nobody = "http://127.0.0.1:1/".parse::<PushUrl>().unwrap();
        let error = nobody.push(String::new()).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot push metrics to http://127.0.0.1:1/: "), "{error}");
    }

    #[test]
    fn addresses_that_cannot_be_are_refused() {
        for (text, part) in [
            ("https://host/", "only http://"),
            ("host:9091", "write it like"),
            ("http:///metrics", "write it like"),
            ("", "write it like"),
            ("ftp://host/", "write it like"),
            ("http://me:pw@host/", "clear text"),
        ] {
            let error = text.parse::<PushUrl>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(
            "http://[::1]:9091".parse::<PushUrl>().unwrap().to_string(),
            "http://[::1]:9091/"
        );
    }
}
