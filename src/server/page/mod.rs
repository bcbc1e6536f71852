//! The web pages, embedded: the chat on the public listener, the status of the node on the admin listener.

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rust_embed::Embed;

#[derive(Embed)]
#[folder = "src/server/page/assets"]
struct Assets;

/// What a browser lets these pages do: our own scripts, styles and pictures, sockets, and nothing else. With trusted
/// types (and no policy for them) even our scripts cannot make markup of a string.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
    img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// One page at `path`, and under `/page/` what it is made of.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(
    path: &'static str,
    document: &'static str,
) -> Router<S> {
    let document = move |headers: HeaderMap| async move { answer(document, &headers) };
    let part = |Path(name): Path<String>, headers: HeaderMap| async move {
        if name.ends_with(".html") { absent() } else { answer(&name, &headers) }
    };
    Router::new().route(path, get(document)).route("/page/{name}", get(part))
}

fn absent() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing here\n").into_response()
}

fn answer(name: &str, request: &HeaderMap) -> Response {
    let (Some(file), Some(content_type)) = (Assets::get(name), content_type(name)) else {
        return absent();
    };
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(file.metadata.sha256_hash()));
    let is_known = knows(request, &etag);
    let headers = [
        (CONTENT_TYPE, content_type),
        // Asked again each time, so that a page never runs with the scripts of another version.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let etag = [(ETAG, etag)];
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers, etag).into_response();
    }
    (headers, etag, file.data).into_response()
}

/// By the end of a name; `None`: nothing that a page is made of.
fn content_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    })
}

/// Whether `If-None-Match` names this tag (RFC 9110, 13.1.2: compared weakly).
fn knows(request: &HeaderMap, etag: &str) -> bool {
    let values = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{HeaderName, Request};
    use tower::ServiceExt as _;

    use super::*;

    async fn get(path: &str, tags: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(tags) = tags {
            request = request.header(IF_NONE_MATCH, tags);
        }
        let router: Router = routes("/", "index.html");
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn header(response: &Response, name: HeaderName) -> &str {
        response.headers().get(name).unwrap().to_str().unwrap()
    }

    #[tokio::test]
    async fn every_part_comes_with_its_type_and_the_policy() {
        for name in Assets::iter() {
            let path = if name == "index.html" { "/".to_owned() } else { format!("/page/{name}") };
            let response = get(&path, None).await;
            if name == "status.html" {
                assert_eq!(response.status(), StatusCode::NOT_FOUND, "only at its own place");
                continue;
            }
            assert_eq!(response.status(), StatusCode::OK, "{name}");
            assert_eq!(header(&response, CONTENT_TYPE), content_type(&name).unwrap());
            assert_eq!(header(&response, CONTENT_SECURITY_POLICY), POLICY);
            assert_eq!(header(&response, X_CONTENT_TYPE_OPTIONS), "nosniff");
            assert_eq!(header(&response, CACHE_CONTROL), "no-cache");
            let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
            assert_eq!(body, Assets::get(&name).unwrap().data.as_ref());
        }
    }

    #[tokio::test]
    async fn what_a_browser_has_is_not_sent_again() {
        let first = get("/", None).await;
        let etag = header(&first, ETAG).to_owned();
        for tags in [&*etag, "*", &format!("\"other\", {etag}"), &format!("W/{etag}")] {
            let again = get("/", Some(tags)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{tags}");
            assert_eq!(header(&again, ETAG), etag);
            assert_eq!(header(&again, CONTENT_SECURITY_POLICY), POLICY);
            assert!(to_bytes(again.into_body(), 1).await.unwrap().is_empty());
        }
        assert_eq!(get("/", Some("\"other\"")).await.status(), StatusCode::OK);
        assert_ne!(header(&get("/page/app.js", None).await, ETAG), etag);
    }

    #[tokio::test]
    async fn there_is_nothing_else() {
        for path in ["/page/", "/page/none.js", "/page/..%2fmod.rs", "/page/index.html", "/mod.rs"]
        {
            assert_eq!(get(path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_nothing_makes_markup_of_text() {
        let sinks = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "srcdoc",
            "DOMParser",
            "createContextualFragment",
            "setHTML",
            " style=",
            "<style",
            " onclick=\"",
            "javascript:",
        ];
        for name in Assets::iter() {
            let file = Assets::get(&name).unwrap();
            let text = str::from_utf8(&file.data).unwrap();
            for sink in sinks {
                assert!(!text.contains(sink), "{name} has {sink}");
            }
            let imported = text.split("from \"./").skip(1).chain(text.split("\"/page/").skip(1));
            for part in imported.map(|rest| rest.split('"').next().unwrap()) {
                assert!(Assets::get(part).is_some(), "{name} wants {part}");
            }
        }
    }
}
