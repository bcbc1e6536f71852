//! The way to a node of Riak: its HTTP API, object by object.
//!
//! Source: <https://docs.riak.com/riak/kv/latest/developing/api/http/>. All of an engine's objects are in one bucket type
//! (`allow_mult=true`), read and written by quorums of the replicas that are meant for them (`pr`, `pw`).

pub mod bucket_type;
pub mod siblings;

use std::error::Error;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

/// The longest wait for an answer.
pub const CALL_TIME: Duration = Duration::from_millis(1_900);
/// The longest wait for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(1);
/// The first pause before something is asked again; the next is twice as long.
const AGAIN_PAUSE: Duration = Duration::from_millis(5);
/// How often a write is tried that may be done twice.
const WRITE_TRIES: u32 = 10;
/// Requests under way at once; others wait for their turn.
const CALLS_MAX: usize = 256;
/// A longer answer is none of ours: an entry has at most 512 KiB of content, JSON may make six of a byte, and there may be siblings.
const BODY_BYTES_MAX: usize = 40 << 20;
/// Connections that are kept, and how long.
const IDLE_MAX: usize = 64;
const IDLE_TIME: Duration = Duration::from_secs(30);

/// All but what no path gives a meaning.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

const VCLOCK: HeaderName = HeaderName::from_static("x-riak-vclock");
const IF_NOT_MODIFIED: HeaderName = HeaderName::from_static("x-riak-if-not-modified");

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// What a read found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The values: more than one where writers raced.
    pub values: Vec<Bytes>,
    /// What a write must name to replace them.
    pub version: Version,
}

/// The causal context of what was read; opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(HeaderValue);

/// On what a write depends.
#[derive(Debug, Clone, Copy)]
pub enum Condition<'a> {
    /// There is nothing yet.
    Absent,
    /// What is there is still what was read.
    Unchanged(&'a Version),
    /// None: it replaces what was read.
    Replaces(&'a Version),
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// A quorum has it.
    Stored,
    /// The condition did not hold; nothing was written.
    Taken,
}

/// Why a node did not answer as it should.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// Certainly not done: there is no connection.
    #[error("{0}")]
    NotSent(String),
    /// Certainly not done: too much is under way.
    #[error("{0}")]
    Crowded(String),
    /// It may have been done, by all replicas or by some.
    #[error("{0}")]
    Doubt(String),
    /// The answer is not what this version reads.
    #[error("the store answers with {0} that this version cannot read")]
    Unreadable(String),
}

/// A node, or what is in front of several. Its calls are boxed: those of engines hold several of them.
pub struct Node {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    bucket_type: String,
    calls: Semaphore,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Node {
    /// At an address like `http://127.0.0.1:8098`.
    pub fn new(base: &str, bucket_type: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIME));
        connector.set_keepalive(Some(IDLE_TIME));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIME)
            // A write that may have been sent is asked after, never sent again by itself.
            .retry_canceled_requests(false)
            .build(connector);
        Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
            bucket_type: bucket_type.to_owned(),
            calls: Semaphore::new(CALLS_MAX),
        }
    }

    /// Reads an object as a quorum of its replicas has it.
    pub async fn get(&self, place: &Place) -> Result<Option<Found>, CallError> {
        let path = format!("{}?r=quorum&pr=quorum", self.path(place));
        let asked = self.again(Method::GET, &path, HeaderMap::new(), Bytes::new());
        let answer = Box::pin(asked).await?;
        let values = match answer.status {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK => vec![answer.body],
            StatusCode::MULTIPLE_CHOICES => {
                let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                let values = siblings::split(kind.unwrap_or_default(), &answer.body);
                let mut values = values.ok_or_else(|| unreadable("siblings"))?;
                // Of what somebody deleted beside a value a tombstone is left; nothing that is written here is empty.
                values.retain(|value| !value.is_empty());
                if values.is_empty() {
                    return Ok(None);
                }
                values
            }
            _ => return Err(refused(&answer)),
        };
        let version = answer.headers.get(VCLOCK).cloned().map(Version);
        let version = version.ok_or_else(|| unreadable("an object without a version"))?;
        Ok(Some(Found { values, version }))
    }

    /// Writes an object to a quorum of its replicas. An error says of each kind whether it is definite.
    pub async fn put(
        &self,
        place: &Place,
        value: Bytes,
        condition: Condition<'_>,
    ) -> Result<Put, CallError> {
        let path = format!("{}?w=quorum&pw=quorum&dw=quorum", self.path(place));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match condition {
            Condition::Absent => {
                headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
            }
            Condition::Unchanged(version) => {
                headers.insert(VCLOCK, version.0.clone());
                headers.insert(IF_NOT_MODIFIED, version.0.clone());
            }
            Condition::Replaces(version) => {
                headers.insert(VCLOCK, version.0.clone());
            }
        }
        let answer = match condition {
            // Of the same value twice nothing is seen by readers.
            Condition::Replaces(_) => {
                Box::pin(self.again(Method::PUT, &path, headers, value)).await?
            }
            _ => Box::pin(self.call(Method::PUT, &path, headers, value)).await?,
        };
        match answer.status {
            StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::CREATED => Ok(Put::Stored),
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => Ok(Put::Taken),
            // Some of the replicas may have it.
            _ => Err(refused(&answer)),
        }
    }

    /// Keys of a bucket in their order, as one replica of each has them, and where to go on.
    pub async fn keys(
        &self,
        bucket: &str,
        continuation: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), CallError> {
        const KEYS_MAX: usize = 1_000;
        let bucket = utf8_percent_encode(bucket, SEGMENT);
        let kind = utf8_percent_encode(&self.bucket_type, SEGMENT);
        // Every key of ours begins with a visible ASCII character.
        let mut path =
            format!("/types/{kind}/buckets/{bucket}/index/$key/!/%7F?max_results={KEYS_MAX}");
        if let Some(continuation) = continuation {
            path += &format!("&continuation={}", utf8_percent_encode(continuation, SEGMENT));
        }
        #[derive(serde::Deserialize)]
        struct Keys {
            keys: Vec<String>,
            continuation: Option<String>,
        }
        let asked = self.again(Method::GET, &path, HeaderMap::new(), Bytes::new());
        let answer = Box::pin(asked).await?;
        if answer.status != StatusCode::OK {
            return Err(refused(&answer));
        }
        let keys: Keys =
            serde_json::from_slice(&answer.body).map_err(|_| unreadable("a list of keys"))?;
        Ok((keys.keys, keys.continuation))
    }

    /// Properties of the bucket type; `None` where there is no such type.
    pub async fn properties(&self) -> Result<Option<Value>, CallError> {
        let kind = utf8_percent_encode(&self.bucket_type, SEGMENT);
        let answer = self.json(&format!("/types/{kind}/props")).await?;
        Ok(answer.map(|(mut document, _)| {
            document.get_mut("props").map(Value::take).unwrap_or_default()
        }))
    }

    /// What the node says of itself, and its clock, ms since 1970, to the second.
    pub async fn stats(&self) -> Result<(Value, Option<u64>), CallError> {
        self.json("/stats").await?.ok_or_else(|| unreadable("no statistics"))
    }

    async fn json(&self, path: &str) -> Result<Option<(Value, Option<u64>)>, CallError> {
        let asked = self.call(Method::GET, path, HeaderMap::new(), Bytes::new());
        let answer = Box::pin(asked).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(refused(&answer)),
        }
        let document = serde_json::from_slice(&answer.body)
            .map_err(|_| unreadable("what is no JSON where it should be"))?;
        let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let since = date.and_then(|date| date.duration_since(SystemTime::UNIX_EPOCH).ok());
        Ok(Some((document, since.map(|since| since.as_millis() as u64))))
    }

    fn path(&self, place: &Place) -> String {
        let segment = |text| utf8_percent_encode(text, SEGMENT);
        let Place { bucket, key } = place;
        let kind = &self.bucket_type;
        format!("/types/{}/buckets/{}/keys/{}", segment(kind), segment(bucket), segment(key))
    }

    /// The same until there is an answer, for a while; of what may be done twice.
    async fn again(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, CallError> {
        let deadline = Instant::now() + CALL_TIME;
        // Each attempt of a write may be a sibling of the one before.
        let mut tries = if method == Method::PUT { WRITE_TRIES } else { u32::MAX };
        let mut pause = AGAIN_PAUSE;
        loop {
            tries -= 1;
            let answer = self.call(method.clone(), path, headers.clone(), body.clone()).await;
            let is_in_time = tries > 0 && Instant::now() + pause < deadline;
            match &answer {
                Ok(answer) if answer.status.is_server_error() && is_in_time => {}
                Err(CallError::Doubt(_)) if is_in_time => {}
                _ => return answer,
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, CallError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(ACCEPT, "multipart/mixed, application/json, */*;q=0.5");
        let mut request = request
            .body(Full::new(body))
            .map_err(|error| CallError::NotSent(format!("{}: {error}", self.base)))?;
        request.headers_mut().extend(headers);
        let Ok(Ok(_turn)) = timeout(CALL_TIME, self.calls.acquire()).await else {
            return Err(CallError::Crowded("too many requests are under way".to_owned()));
        };
        let asked = async {
            let response = self.client.request(request).await.map_err(|error| {
                let reason = chain(&error);
                if error.is_connect() {
                    CallError::NotSent(format!("{} cannot be reached: {reason}", self.base))
                } else {
                    CallError::Doubt(format!("the answer broke off: {reason}"))
                }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let broken = |error| CallError::Doubt(format!("the answer broke off: {error}"));
            let body = body.map_err(broken)?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        match timeout(CALL_TIME, asked).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Doubt(format!("{} does not answer in time", self.base))),
        }
    }
}

/// What the node says when it cannot: some replicas may have done it.
fn refused(answer: &Answer) -> CallError {
    const TEXT_CHARS_MAX: usize = 200;
    let text = String::from_utf8_lossy(&answer.body);
    let text: String = text.trim().chars().take(TEXT_CHARS_MAX).collect();
    CallError::Doubt(format!("a node answers {}: {text}", answer.status.as_u16()))
}

fn unreadable(what: &str) -> CallError {
    CallError::Unreadable(what.to_owned())
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
