//! The stand-in does what a node does, and what is hard about it.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::object::{Clock, Object, Sibling};
use super::{ConditionalPut, RiakServer};

const KEY: &str = "/types/chatctl/buckets/rooms/keys/one";
const TEXT: (&str, &str) = ("Content-Type", "text/plain");
const NEW: (&str, &str) = ("If-None-Match", "*");

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn context(&self) -> &str {
        self.header("x-riak-vclock")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl RiakServer {
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> hyper::Result<Answer> {
        let url = self.url();
        let address = url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("Host", address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[("Accept", "multipart/mixed, */*;q=0.5")], "").await.unwrap()
    }

    async fn put(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: Vec<_> = [TEXT].iter().chain(headers).copied().collect();
        self.ask("PUT", path, &headers, body).await.unwrap()
    }

    /// How many of so many at once could create the object.
    async fn race(&self, racers: usize, path: &str) -> usize {
        let mut race = JoinSet::new();
        for _ in 0..racers {
            let (server, path) = (self.clone(), path.to_owned());
            race.spawn(async move { server.put(&path, "mine", &[NEW]).await.status });
        }
        let statuses = race.join_all().await;
        let expected = [StatusCode::NO_CONTENT, StatusCode::PRECONDITION_FAILED];
        assert!(statuses.iter().all(|status| expected.contains(status)), "{statuses:?}");
        statuses.iter().filter(|status| **status == StatusCode::NO_CONTENT).count()
    }
}

fn key(number: usize) -> String {
    format!("/types/chatctl/buckets/rooms/keys/{number:03}")
}

#[tokio::test]
async fn blind_writes_are_siblings_until_one_with_their_context_settles_them() {
    let server = RiakServer::start(ConditionalPut::Token);
    assert_eq!(server.get(KEY).await.status, StatusCode::NOT_FOUND);
    for body in ["a", "b"] {
        assert_eq!(server.put(KEY, body, &[]).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(server.siblings("rooms", "one"), 2);

    let read = server.get(KEY).await;
    assert_eq!(read.status, StatusCode::MULTIPLE_CHOICES);
    let media_type = read.header("content-type");
    let boundary = media_type.strip_prefix("multipart/mixed; boundary=").unwrap();
    let body = String::from_utf8(read.body.to_vec()).unwrap();
    let parts: Vec<_> = body.split(&format!("\r\n--{boundary}")).collect();
    let [before, first, second, after] = parts[..] else { panic!("{body}") };
    assert_eq!((before, after), ("", "--\r\n"));
    let bodies = [first, second].map(|part| {
        let (head, body) = part.split_once("\r\n\r\n").unwrap();
        let names: Vec<_> =
            head.trim().split("\r\n").map(|line| line.split_once(": ").unwrap().0).collect();
        assert_eq!(names, ["Content-Type", "Etag", "Last-Modified"]);
        body
    });
    assert_eq!(BTreeSet::from(bodies), BTreeSet::from(["a", "b"]));

    let names = server.ask("GET", KEY, &[], "").await.unwrap();
    assert_eq!(names.status, StatusCode::MULTIPLE_CHOICES);
    assert!(names.body.starts_with(b"Siblings:\n"));

    let asked = [("X-Riak-Vclock", read.context())];
    let settled = server.put(&format!("{KEY}?returnbody=true"), "c", &asked).await;
    assert_eq!((settled.status, &settled.body[..]), (StatusCode::OK, &b"c"[..]));
    let read = server.get(KEY).await;
    assert_eq!((read.status, &read.body[..]), (StatusCode::OK, &b"c"[..]));
    assert_eq!(read.header("content-type"), "text/plain");
    assert!(read.header("last-modified").ends_with(" GMT"));
    assert!(read.header("etag").starts_with('"'));
}

#[tokio::test]
async fn a_stale_context_replaces_nothing_newer() {
    let server = RiakServer::start(ConditionalPut::Token);
    server.put(KEY, "a", &[]).await;
    let stale = server.get(KEY).await;
    let context = [("X-Riak-Vclock", stale.context())];
    server.put(KEY, "b", &context).await;
    server.put(KEY, "c", &context).await;
    assert_eq!(server.siblings("rooms", "one"), 2);
}

#[tokio::test]
async fn with_a_token_one_of_a_hundred_racers_wins() {
    let server = RiakServer::start(ConditionalPut::Token);
    assert_eq!(server.race(100, KEY).await, 1);
    assert_eq!(server.siblings("rooms", "one"), 1);
}

#[tokio::test]
async fn without_a_token_racers_win_together() {
    let server = RiakServer::start(ConditionalPut::Racing);
    let mut most = 0;
    for number in 0..20 {
        let winners = server.race(4, &key(number)).await;
        assert_eq!(server.siblings("rooms", &format!("{number:03}")), winners);
        most = most.max(winners);
    }
    assert!(most > 1);
}

#[rstest]
#[tokio::test]
async fn only_the_context_that_is_stored_is_not_modified(
    #[values(ConditionalPut::Racing, ConditionalPut::Token)] conditional: ConditionalPut,
) {
    let server = RiakServer::start(conditional);
    let conflict = [StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED];
    server.put(KEY, "a", &[]).await;
    let read = server.get(KEY).await;
    let headers = [("X-Riak-Vclock", read.context()), ("X-Riak-If-Not-Modified", read.context())];
    let absent = server.put(&key(1), "b", &headers).await;
    assert!(conflict.contains(&absent.status));
    assert_eq!(server.put(KEY, "b", &headers).await.status, StatusCode::NO_CONTENT);
    assert!(conflict.contains(&server.put(KEY, "c", &headers).await.status));
    assert_eq!(&server.get(KEY).await.body[..], b"b");
}

#[tokio::test]
async fn a_tombstone_is_nothing_to_readers_and_to_conditions() {
    let server = RiakServer::start(ConditionalPut::Token);
    server.put(KEY, "a", &[]).await;
    let read = server.get(KEY).await;
    let headers = [("X-Riak-Vclock", read.context())];
    let delete = async || server.ask("DELETE", KEY, &headers, "").await.unwrap().status;
    assert_eq!(delete().await, StatusCode::NO_CONTENT);
    assert_eq!(delete().await, StatusCode::NOT_FOUND);
    assert_eq!(server.get(KEY).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.keys(), []);
    assert_eq!(server.put(KEY, "b", &[NEW]).await.status, StatusCode::NO_CONTENT);
    // Written without the context of the tombstone, the value stands beside it.
    let read = server.get(KEY).await;
    assert_eq!(read.status, StatusCode::MULTIPLE_CHOICES);
    assert!(String::from_utf8_lossy(&read.body).contains("X-Riak-Deleted: true"));
}

#[tokio::test]
async fn what_reached_one_replica_is_overlooked_until_a_read_repairs_it() {
    let server = RiakServer::start(ConditionalPut::Token);
    server.faults().cut_write_every(1, 1);
    let mut overlooked = 0;
    for number in 0..60 {
        let cut = server.put(&key(number), "a", &[]).await;
        assert_eq!(cut.status, StatusCode::SERVICE_UNAVAILABLE);
        if server.get(&key(number)).await.status == StatusCode::NOT_FOUND {
            overlooked += 1;
            while server.get(&key(number)).await.status == StatusCode::NOT_FOUND {}
        }
        for _ in 0..20 {
            assert_eq!(server.get(&key(number)).await.status, StatusCode::OK);
        }
    }
    assert!(overlooked > 0 && overlooked < 60, "{overlooked}");

    server.faults().cut_write_every(1, 0);
    server.put(KEY, "a", &[]).await;
    assert_eq!(server.siblings("rooms", "one"), 0);
}

#[tokio::test]
async fn a_lone_replica_is_found_by_who_does_not_take_nothing_for_an_answer() {
    let server = RiakServer::start(ConditionalPut::Token);
    server.faults().cut_write_every(1, 1);
    for number in 0..20 {
        server.put(&key(number), "a", &[]).await;
        let read = server.get(&format!("{}?r=1&notfound_ok=false", key(number))).await;
        assert_eq!(read.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn keys_come_in_order_page_after_page() {
    let server = RiakServer::start(ConditionalPut::Token);
    for number in 0..30 {
        server.put(&key(number), "a", &[]).await;
    }
    let expected: Vec<_> = (5..=25).map(|number| json!(format!("{number:03}"))).collect();
    let range = "/types/chatctl/buckets/rooms/index/$key/005/025";
    let (mut keys, mut path) = (Vec::new(), format!("{range}?max_results=7"));
    loop {
        let page = server.get(&path).await.json();
        keys.extend(page["keys"].as_array().unwrap().clone());
        let Some(continuation) = page["continuation"].as_str() else { break };
        let continuation = continuation.replace('=', "%3D");
        path = format!("{range}?max_results=7&continuation={continuation}");
    }
    assert_eq!(keys, expected);

    let all = server.get(range).await.json();
    let all = all["keys"].as_array().unwrap();
    assert_ne!(*all, expected);
    let all: BTreeSet<_> = all.iter().map(Value::to_string).collect();
    assert_eq!(all, expected.iter().map(Value::to_string).collect());
}

#[tokio::test]
async fn a_range_misses_what_reached_one_replica() {
    let server = RiakServer::start(ConditionalPut::Token);
    server.faults().cut_write_every(1, 1);
    for number in 0..60 {
        server.put(&key(number), "a", &[]).await;
    }
    let found = server.get("/types/chatctl/buckets/rooms/index/%24key/0/9").await.json();
    let found = found["keys"].as_array().unwrap().len();
    assert!(found > 0 && found < 60, "{found}");
    assert_eq!(server.keys().len(), 60);
}

#[tokio::test]
async fn a_lost_reply_is_that_of_a_write_that_was_done() {
    let server = RiakServer::start(ConditionalPut::Token);
    server.faults().lose_reply_every(2);
    assert_eq!(server.put(&key(1), "a", &[]).await.status, StatusCode::NO_CONTENT);
    assert!(server.ask("PUT", KEY, &[TEXT], "a").await.is_err());
    server.faults().lose_reply_every(0);
    assert_eq!(&server.get(KEY).await.body[..], b"a");
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn a_quorum_goes_on_without_one_replica_and_not_without_two() {
    let server = RiakServer::start(ConditionalPut::Token);
    server.faults().take_replica_down(0, true);
    assert_eq!(server.put(KEY, "a", &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get(KEY).await.status, StatusCode::OK);
    assert_eq!(server.get(&format!("{KEY}?r=all")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let all = server.get(&format!("{KEY}?pr=3")).await;
    assert_eq!(&all.body[..], b"PR-value unsatisfied: 3/2\n");
    server.faults().take_replica_down(1, true);
    assert_eq!(server.get(KEY).await.status, StatusCode::SERVICE_UNAVAILABLE);
    // It is refused, and is there all the same.
    assert_eq!(server.put(&key(1), "b", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    server.faults().take_replica_down(0, false);
    server.faults().take_replica_down(1, false);
    assert_eq!(server.siblings("rooms", "001"), 1);
    assert_eq!(server.get(KEY).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_a_paused_node_was_asked_it_does_when_it_goes_on() {
    let server = RiakServer::start(ConditionalPut::Token);
    server.faults().pause(true);
    let put = server.put(KEY, "a", &[]);
    assert!(tokio::time::timeout(Duration::from_millis(100), put).await.is_err());
    assert_eq!(server.siblings("rooms", "one"), 0);
    server.faults().pause(false);
    while server.siblings("rooms", "one") == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    server.faults().delay_every(1, Duration::from_secs(60));
    let path = key(1);
    let put = server.put(&path, "a", &[]);
    assert!(tokio::time::timeout(Duration::from_millis(100), put).await.is_err());
    assert_eq!(server.siblings("rooms", "001"), 1);
    server.faults().delay_every(0, Duration::ZERO);

    server.faults().refuse(true);
    assert_eq!(server.get("/ping").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn what_is_lost_is_not_covered_by_a_context_from_before() {
    let server = RiakServer::start(ConditionalPut::Token);
    server.put(KEY, "a", &[]).await;
    let read = server.get(KEY).await;
    server.forget("rooms", "one");
    assert_eq!(server.get(KEY).await.status, StatusCode::NOT_FOUND);
    server.put(KEY, "b", &[]).await;
    server.put(KEY, "c", &[("X-Riak-Vclock", read.context())]).await;
    assert_eq!(server.siblings("rooms", "one"), 2);
}

#[tokio::test]
async fn it_tells_of_itself() {
    let server = RiakServer::start(ConditionalPut::Token);
    assert_eq!(&server.get("/ping").await.body[..], b"OK");
    assert_eq!(server.get("/stats").await.json()["riak_kv_version"], "3.4.0");
    server.set_props("sync_on_write", json!("backend"));
    let props = server.get("/types/chatctl/props").await.json();
    assert_eq!(props["props"]["sync_on_write"], "backend");
    assert_eq!(props["props"]["allow_mult"], true);
    server.remove_type("chatctl");
    assert_eq!(server.get("/types/chatctl/props").await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/types/other/props").await.status, StatusCode::OK);
}

#[tokio::test]
async fn names_are_any_text_and_bad_requests_are_told_so() {
    let server = RiakServer::start(ConditionalPut::Token);
    let path = "/types/chatctl/buckets/a%2Fb/keys/%C3%BC%2F%20%25%2B";
    assert_eq!(server.put(path, "a", &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.keys(), [("a/b".to_owned(), "ü/ %+".to_owned())]);
    let head = server.ask("HEAD", path, &[], "").await.unwrap();
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert!(!head.context().is_empty());

    let bad = StatusCode::BAD_REQUEST;
    assert_eq!(server.put(KEY, "a", &[("X-Riak-Vclock", "?")]).await.status, bad);
    assert_eq!(server.put(KEY, "a", &[("X-Riak-If-Not-Modified", "")]).await.status, bad);
    assert_eq!(server.ask("PUT", KEY, &[], "a").await.unwrap().status, bad);
    for option in ["r=most", "r=4", "timeout=soon", "notfound_ok=maybe"] {
        assert_eq!(server.get(&format!("{KEY}?{option}")).await.status, bad, "{option}");
    }
    assert_eq!(server.get("/types/chatctl/buckets/%FF/keys/a").await.status, bad);
}

/// What a replica has, said without clocks: which writes it knows of, and which of them were replaced.
#[derive(Debug, Clone, Default)]
struct Known {
    seen: BTreeSet<usize>,
    replaced: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
enum Step {
    Read { from: usize },
    Put { to: usize, blind: bool },
    Merge { from: usize, to: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_usize).prop_map(|from| Step::Read { from }),
        (0..3_usize, any::<bool>()).prop_map(|(to, blind)| Step::Put { to, blind }),
        (0..3_usize, 0..3_usize).prop_map(|(from, to)| Step::Merge { from, to }),
    ]
}

proptest! {
    #[test]
    fn siblings_are_the_writes_that_no_known_write_replaced(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let (mut objects, mut model) = <([Object; 3], [Known; 3])>::default();
        let (mut context, mut read) = (Clock::default(), BTreeSet::new());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Read { from } => {
                    context = objects[from].clock().clone();
                    read = model[from].seen.clone();
                }
                Step::Put { to, blind } => {
                    let (context, read) =
                        if blind { Default::default() } else { (context.clone(), read.clone()) };
                    let etag = number.to_string();
                    let sibling = Sibling { content: None, etag, modified: Timestamp::UNIX_EPOCH };
                    objects[to].put(to as u64, &context, sibling);
                    model[to].seen.extend(read.iter().copied().chain([number]));
                    model[to].replaced.extend(read);
                }
                Step::Merge { from, to } => {
                    let (object, known) = (objects[from].clone(), model[from].clone());
                    objects[to].merge(&object);
                    model[to].seen.extend(known.seen);
                    model[to].replaced.extend(known.replaced);
                }
            }
            for (object, known) in objects.iter().zip(&model) {
                let found: BTreeSet<usize> =
                    object.siblings().map(|sibling| sibling.etag.parse().unwrap()).collect();
                prop_assert_eq!(found, &known.seen - &known.replaced);
                if !object.is_absent() {
                    let clock = object.clock();
                    prop_assert_eq!(Clock::decode(&clock.encode()), Some(clock.clone()));
                }
            }
        }
    }
}
