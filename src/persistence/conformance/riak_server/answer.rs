//! Answers, as a node words them.

use axum::body::Body;
use hyper::header::{CONTENT_TYPE, ETAG, LAST_MODIFIED};
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::object::{Object, Sibling};
use super::request::Malformed;

/// An answer.
pub type Answer = Response<Body>;

const CONTEXT: &str = "x-riak-vclock";
const DELETED: &str = "x-riak-deleted";

/// A status and plain text.
pub fn text(status: StatusCode, text: impl Into<Body>) -> Answer {
    response(status, "text/plain", text)
}

/// A status alone.
pub fn bare(status: StatusCode) -> Answer {
    let mut answer = Answer::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// A value.
pub fn json(value: &Value) -> Answer {
    response(StatusCode::OK, "application/json", value.to_string())
}

/// Too few replicas answered; `what` is the option, in capitals.
pub fn unsatisfied(what: &str, needed: usize, found: usize) -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, format!("{what}-value unsatisfied: {needed}/{found}\n"))
}

impl From<Malformed> for Answer {
    fn from(Malformed(reason): Malformed) -> Self {
        text(StatusCode::BAD_REQUEST, reason)
    }
}

/// An object that was read: its value; its siblings, each with what it is if the asker takes that, else their names; or that there is
/// nothing, with the context of the tombstone if one is there.
pub fn object(object: &Object, accepts_multipart: bool) -> Answer {
    if !object.is_live() {
        let mut answer = text(StatusCode::NOT_FOUND, "not found\n");
        if !object.is_absent() {
            add(&mut answer, CONTEXT, &object.clock().encode());
            add(&mut answer, DELETED, "true");
        }
        return answer;
    }
    let siblings: Vec<_> = object.siblings().collect();
    let mut answer = match siblings[..] {
        [only] => single(only),
        _ if accepts_multipart => multipart(&siblings),
        _ => {
            let names = siblings.iter().map(|sibling| format!("{}\n", sibling.etag));
            text(StatusCode::MULTIPLE_CHOICES, format!("Siblings:\n{}", names.collect::<String>()))
        }
    };
    add(&mut answer, CONTEXT, &object.clock().encode());
    answer
}

fn single(sibling: &Sibling) -> Answer {
    let content = sibling.content.as_ref().expect("a lone tombstone cannot be read");
    let mut answer = response(StatusCode::OK, &content.media_type, content.body.clone());
    add(&mut answer, ETAG.as_str(), &format!("\"{}\"", sibling.etag));
    add(&mut answer, LAST_MODIFIED.as_str(), &http_date(sibling.modified));
    answer
}

/// A tombstone is a part too, empty and marked.
fn multipart(siblings: &[&Sibling]) -> Answer {
    let boundary = format!("{:022x}", rand::random::<u64>());
    let mut body = Vec::new();
    for sibling in siblings {
        let (media_type, value) = match &sibling.content {
            Some(content) => (content.media_type.as_str(), &content.body[..]),
            None => ("application/octet-stream", &[][..]),
        };
        let deleted = if sibling.content.is_none() { "X-Riak-Deleted: true\r\n" } else { "" };
        let (etag, modified) = (&sibling.etag, http_date(sibling.modified));
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nEtag: {etag}\r\n\
             Last-Modified: {modified}\r\n{deleted}\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value);
    }
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let media_type = format!("multipart/mixed; boundary={boundary}");
    response(StatusCode::MULTIPLE_CHOICES, &media_type, body)
}

fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn response(status: StatusCode, media_type: &str, body: impl Into<Body>) -> Answer {
    let mut answer = Answer::new(body.into());
    *answer.status_mut() = status;
    add(&mut answer, CONTENT_TYPE.as_str(), media_type);
    answer
}

fn add(answer: &mut Answer, name: &str, value: &str) {
    let name = hyper::header::HeaderName::try_from(name).expect("it is a name");
    answer.headers_mut().insert(name, value.parse().expect("it was one, or is ASCII"));
}
