//! No web page may talk to someone's local server: the rule about `Origin` and `Host`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::config::{Authority, Origin};

/// Who may talk to a listener.
#[derive(Debug)]
pub(super) struct Guard {
    /// `Host` must be a loopback name. Without it, a page of evil.example whose DNS answers
    /// 127.0.0.1 would reach us as its own host.
    pub(super) loopback: bool,
    /// Origins that may come although they are not the `Host`.
    pub(super) origins: Vec<Origin>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("Host is no loopback name; connect by localhost, or listen on another address\n")]
    Host,
    #[error("Origin is neither this Host nor among CHATCTL_ALLOWED_ORIGINS\n")]
    Origin,
}

impl Guard {
    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = single(headers, HOST.as_str()).map_err(|()| Refusal::Host)?;
        let host = host.and_then(Authority::parse);
        if self.loopback && !host.as_ref().is_some_and(Authority::is_loopback) {
            return Err(Refusal::Host);
        }
        let Some(origin) = single(headers, ORIGIN.as_str()).map_err(|()| Refusal::Origin)? else {
            return Ok(());
        };
        let origin: Origin = origin.parse().map_err(|_| Refusal::Origin)?;
        let same = host.is_some_and(|host| origin.is_same_host(&host));
        if same || self.origins.contains(&origin) { Ok(()) } else { Err(Refusal::Origin) }
    }
}

/// The header's value; an error when there are several, or it is no text.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// Answers 403 before anything else looks at the request.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    match guard.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let reason = match refusal {
                Refusal::Host => "host",
                Refusal::Origin => "origin",
            };
            metrics::counter!("chatctl_refused_total", "reason" => reason).increment(1);
            (StatusCode::FORBIDDEN, refusal.to_string()).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn check(loopback: bool, host: &[&str], origin: &[&str]) -> Result<(), Refusal> {
        let origins = vec!["https://chat.example".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in host {
            headers.append(HOST, value.parse().unwrap());
        }
        for value in origin {
            headers.append(ORIGIN, value.parse().unwrap());
        }
        Guard { loopback, origins }.check(&headers)
    }

    #[rstest]
    #[case::no_origin(&["127.0.0.1:8080"], &[], Ok(()))]
    #[case::own_page(&["localhost:8080"], &["http://localhost:8080"], Ok(()))]
    #[case::own_page_v6(&["[::1]:8080"], &["http://[::1]:8080"], Ok(()))]
    #[case::allowed(&["localhost:8080"], &["https://chat.example"], Ok(()))]
    #[case::allowed_in_full(&["localhost:8080"], &["https://CHAT.example:443"], Ok(()))]
    #[case::other_scheme(&["localhost:8080"], &["http://chat.example"], Err(Refusal::Origin))]
    #[case::other_page(&["localhost:8080"], &["http://evil.example"], Err(Refusal::Origin))]
    #[case::other_port(&["localhost:8080"], &["http://localhost:3000"], Err(Refusal::Origin))]
    #[case::opaque(&["localhost:8080"], &["null"], Err(Refusal::Origin))]
    #[case::two(&["localhost:8080"], &["http://localhost:8080", "null"], Err(Refusal::Origin))]
    #[case::rebound(&["evil.example:8080"], &["http://evil.example:8080"], Err(Refusal::Host))]
    #[case::rebound_plain(&["evil.example:8080"], &[], Err(Refusal::Host))]
    #[case::no_host(&[], &[], Err(Refusal::Host))]
    #[case::two_hosts(&["localhost", "evil.example"], &[], Err(Refusal::Host))]
    fn on_a_loopback_listener(
        #[case] host: &[&str],
        #[case] origin: &[&str],
        #[case] expected: Result<(), Refusal>,
    ) {
        assert_eq!(check(true, host, origin), expected);
    }

    #[rstest]
    #[case::own_page(&["chat.corp"], &["https://chat.corp"], Ok(()))]
    #[case::no_origin(&["chat.corp"], &[], Ok(()))]
    #[case::other_page(&["chat.corp"], &["https://evil.example"], Err(Refusal::Origin))]
    #[case::no_host(&[], &["https://evil.example"], Err(Refusal::Origin))]
    fn on_another_listener(
        #[case] host: &[&str],
        #[case] origin: &[&str],
        #[case] expected: Result<(), Refusal>,
    ) {
        assert_eq!(check(false, host, origin), expected);
    }
}
