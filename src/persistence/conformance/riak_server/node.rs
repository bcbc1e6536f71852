//! What the node does when it is asked.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use rand::Rng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use thiserror::Error;

use super::ConditionalPut;
use super::answer::{self, Answer};
use super::faults::Faults;
use super::object::{Clock, Content, Sibling};
use super::replicas::{Bucket, Name, ReadQuorum, Replicas, Unsatisfied};
use super::request::{Condition, Malformed, Options, Request, Target};

/// Most bytes of an object.
const BODY_BYTES_MAX: usize = 64 << 20;

/// How many keys are written under a condition at a time, at most.
const TOKENS: usize = 256;

/// Decides who is asked where it is left to chance.
const SEED: u64 = 34;

/// The connection ends without an answer.
#[derive(Debug, Error)]
#[error("the answer is lost, on purpose")]
pub struct LostReply;

/// The node.
pub struct Node {
    conditional: ConditionalPut,
    replicas: Mutex<Replicas>,
    props: Mutex<Value>,
    missing_types: Mutex<HashSet<String>>,
    /// One key's writers under a condition share one.
    tokens: Vec<tokio::sync::Mutex<()>>,
    hasher: std::hash::RandomState,
    requests: AtomicU64,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

impl Node {
    /// One without objects.
    pub fn new(conditional: ConditionalPut) -> Self {
        let props = json!({
            "active": true, "allow_mult": true, "basic_quorum": false, "dvv_enabled": true, "dw": "quorum",
            "last_write_wins": false, "n_val": 3, "notfound_ok": true, "pr": 0, "pw": 0, "r": "quorum",
            "sync_on_write": "all", "w": "quorum",
        });
        Self {
            conditional,
            replicas: Mutex::new(Replicas::new(SEED)),
            props: Mutex::new(props),
            missing_types: Mutex::default(),
            tokens: (0..TOKENS).map(|_| tokio::sync::Mutex::default()).collect(),
            hasher: std::hash::RandomState::new(),
            requests: AtomicU64::new(0),
            faults: Faults::default(),
        }
    }

    /// Its objects.
    pub fn replicas(&self) -> MutexGuard<'_, Replicas> {
        self.replicas.lock().expect("nobody panicked with it")
    }

    /// What bucket types say.
    pub fn props(&self) -> MutexGuard<'_, Value> {
        self.props.lock().expect("nobody panicked with it")
    }

    /// The names of bucket types that there are not.
    pub fn missing_types(&self) -> MutexGuard<'_, HashSet<String>> {
        self.missing_types.lock().expect("nobody panicked with it")
    }

    /// How many requests came.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Does what is asked, and answers.
    pub async fn serve(&self, request: hyper::Request<Incoming>) -> Result<Answer, LostReply> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let (head, body) = request.into_parts();
        let body = to_bytes(Body::new(body), BODY_BYTES_MAX).await.map_err(|_| LostReply)?;
        self.faults.resumed().await;
        if self.faults.refuses() {
            return Ok(answer::text(StatusCode::SERVICE_UNAVAILABLE, "{error,overload}\n"));
        }
        let is_put = matches!(head.method, Method::PUT | Method::POST);
        let parsed = Target::parse(&head.uri).and_then(|target| {
            let (method, headers) = (head.method, head.headers);
            Ok(Request { method, target, options: Options::parse(&head.uri)?, headers, body })
        });
        let answered = match parsed {
            Ok(request) => self.answer(&request).await,
            Err(malformed) => Err(malformed),
        };
        if let Some(delay) = self.faults.delays() {
            tokio::time::sleep(delay).await;
        }
        if is_put && self.faults.loses_reply() {
            return Err(LostReply);
        }
        Ok(answered.unwrap_or_else(Answer::from))
    }

    async fn answer(&self, request: &Request) -> Result<Answer, Malformed> {
        request.options.number("timeout")?;
        let of_type = request.target.bucket_type();
        if let Some(missing) = of_type.filter(|name| self.missing_types().contains(*name)) {
            let reason = format!("Unknown bucket type: {missing}\n");
            return Ok(answer::text(StatusCode::NOT_FOUND, reason));
        }
        match (&request.target, request.method.as_str()) {
            (Target::Unknown, _) => Ok(answer::text(StatusCode::NOT_FOUND, "not found\n")),
            (Target::Ping, "GET" | "HEAD") => Ok(answer::text(StatusCode::OK, "OK")),
            (Target::Stats, "GET" | "HEAD") => Ok(answer::json(&stats())),
            (Target::Props(_), "GET" | "HEAD") => {
                Ok(answer::json(&json!({ "props": *self.props() })))
            }
            (Target::Keys { bucket, first, last }, "GET") => {
                self.keys(request, bucket, first, last)
            }
            (Target::Object(name), "GET" | "HEAD") => self.get(request, name),
            (Target::Object(name), "PUT" | "POST") => self.put(request, name).await,
            (Target::Object(name), "DELETE") => self.delete(request, name),
            _ => Ok(answer::bare(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    fn get(&self, request: &Request, name: &Name) -> Result<Answer, Malformed> {
        let (options, props) = (&request.options, self.props().clone());
        let [r, pr] = [options.replicas("r", &props)?, options.replicas("pr", &props)?];
        let quorum = ReadQuorum {
            answers: r.max(pr).max(1),
            notfound_ok: options.flag("notfound_ok", &props)?,
            basic_quorum: options.flag("basic_quorum", &props)?,
        };
        let up = self.faults.up();
        if up.len() < pr {
            return Ok(answer::unsatisfied("PR", pr, up.len()));
        }
        Ok(match self.replicas().read(name, quorum, &up) {
            Ok(object) => answer::object(&object, request.accepts_multipart()),
            Err(Unsatisfied(found)) => answer::unsatisfied("R", quorum.answers, found),
        })
    }

    async fn put(&self, request: &Request, name: &Name) -> Result<Answer, Malformed> {
        let context = request.context()?.unwrap_or_default();
        let condition = request.condition()?;
        let content = Content { media_type: request.media_type()?, body: request.body.clone() };
        let needs = self.write_quorum(&request.options)?;
        let returns_body = request.options.flag("returnbody", &Value::Null)?;
        let cut = self.faults.cuts_to();
        let mut token = None;
        if let Some(condition) = condition {
            if self.conditional == ConditionalPut::Token {
                let number = self.hasher.hash_one(name) as usize % TOKENS;
                token = Some(self.tokens[number].lock().await);
            }
            if let Some(refused) = self.refused(name, &condition) {
                return Ok(refused);
            }
            self.between_check_and_write().await;
        }
        let mut reached = self.faults.up();
        if let Some(count) = cut {
            reached.shuffle(self.replicas().random());
            reached.truncate(count);
        }
        let object = self.write(name, &context, Some(content), &reached);
        drop(token);
        if cut.is_some() {
            return Ok(answer::text(StatusCode::SERVICE_UNAVAILABLE, "{error,timeout}\n"));
        }
        if let Some(unsatisfied) = needs.unsatisfied(reached.len()) {
            return Ok(unsatisfied);
        }
        Ok(if returns_body {
            answer::object(&object, request.accepts_multipart())
        } else {
            answer::bare(StatusCode::NO_CONTENT)
        })
    }

    fn delete(&self, request: &Request, name: &Name) -> Result<Answer, Malformed> {
        let context = request.context()?;
        let needs = self.write_quorum(&request.options)?;
        let up = self.faults.up();
        let object = match self.replicas().read(name, ReadQuorum::MAJORITY, &up) {
            Ok(object) => object,
            Err(Unsatisfied(found)) => {
                return Ok(answer::unsatisfied("R", ReadQuorum::MAJORITY.answers, found));
            }
        };
        if !object.is_live() {
            return Ok(answer::object(&object, false));
        }
        let context = context.unwrap_or_else(|| object.clock().clone());
        self.write(name, &context, None, &up);
        let done = || answer::bare(StatusCode::NO_CONTENT);
        Ok(needs.unsatisfied(up.len()).unwrap_or_else(done))
    }

    fn keys(
        &self,
        request: &Request,
        bucket: &Bucket,
        first: &str,
        last: &str,
    ) -> Result<Answer, Malformed> {
        let up = self.faults.up();
        if up.is_empty() {
            let reason = "{error,insufficient_vnodes_available}\n";
            return Ok(answer::text(StatusCode::SERVICE_UNAVAILABLE, reason));
        }
        let count = request.options.number("max_results")?;
        let after = request.options.get("continuation").map(after).transpose()?;
        let first = after.as_deref().map_or(Bound::Included(first), Bound::Excluded);
        let mut replicas = self.replicas();
        let most = count.unwrap_or(usize::MAX);
        let mut keys = replicas.keys_between(bucket, first, last, most, &up);
        if count.is_none() {
            keys.shuffle(replicas.random());
            return Ok(answer::json(&json!({ "keys": keys })));
        }
        // A full page always has one, even where nothing follows.
        let next = keys.last().filter(|_| keys.len() == most);
        Ok(answer::json(&match next {
            Some(last) => json!({ "keys": keys, "continuation": BASE64_STANDARD.encode(last) }),
            None => json!({ "keys": keys }),
        }))
    }

    /// The answer to a PUT whose condition does not hold, as a majority sees it: what reached fewer replicas may be overlooked, as on a
    /// real node.
    fn refused(&self, name: &Name, condition: &Condition) -> Option<Answer> {
        let up = self.faults.up();
        let mut replicas = self.replicas();
        let object = match replicas.read(name, ReadQuorum::MAJORITY, &up) {
            Ok(object) => object,
            Err(Unsatisfied(found)) => {
                return Some(answer::unsatisfied("R", ReadQuorum::MAJORITY.answers, found));
            }
        };
        let (holds, status) = match condition {
            Condition::Absent => (!object.is_live(), StatusCode::PRECONDITION_FAILED),
            // Which of the two it is depends on the version, and on the mode.
            Condition::Unchanged(clock) => {
                let statuses = [StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED];
                (object.clock() == clock, statuses[replicas.random().random_range(0..2)])
            }
        };
        (!holds).then(|| answer::bare(status))
    }

    /// Long enough that racing writers have all checked before the first of them writes, where nothing keeps them apart; with a token only
    /// unconditional writers come between.
    async fn between_check_and_write(&self) {
        match self.conditional {
            ConditionalPut::Racing => {
                let wait_ms = self.replicas().random().random_range(1..=3);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
            ConditionalPut::Token => tokio::task::yield_now().await,
        }
    }

    fn write(
        &self,
        name: &Name,
        context: &Clock,
        content: Option<Content>,
        reached: &[usize],
    ) -> super::object::Object {
        let mut replicas = self.replicas();
        let etag = format!("{:016x}", replicas.random().random::<u64>());
        let sibling = Sibling { content, etag, modified: Timestamp::now() };
        replicas.write(name, context, sibling, reached)
    }

    fn write_quorum(&self, options: &Options) -> Result<WriteQuorum, Malformed> {
        let props = self.props();
        let [w, pw, dw] = ["w", "pw", "dw"].map(|name| options.replicas(name, &props));
        Ok(WriteQuorum { w: w?, pw: pw?, dw: dw? })
    }
}

/// How many replicas a write needs: that answer, that are their keys' own, that have it on disk.
struct WriteQuorum {
    w: usize,
    pw: usize,
    dw: usize,
}

impl WriteQuorum {
    /// What is answered where it reached too few: those it reached have it all the same.
    fn unsatisfied(&self, reached: usize) -> Option<Answer> {
        let needs = [("PW", self.pw), ("W", self.w), ("DW", self.dw)];
        let unmet = needs.into_iter().find(|(_, needed)| *needed > reached);
        unmet.map(|(what, needed)| answer::unsatisfied(what, needed, reached))
    }
}

/// The key that a page ended with.
fn after(continuation: &str) -> Result<String, Malformed> {
    let decoded = BASE64_STANDARD.decode(continuation).ok();
    let key = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| Malformed("Bad continuation\n".to_owned()))
}

fn stats() -> Value {
    json!({
        "connected_nodes": [], "nodename": "riak@127.0.0.1", "ring_members": ["riak@127.0.0.1"],
        "ring_num_partitions": 64, "riak_kv_version": "3.4.0",
        "storage_backend": "riak_kv_leveled_backend",
    })
}
