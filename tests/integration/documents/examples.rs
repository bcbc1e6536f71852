//! The examples of AsyncAPI are one conversation: each command is said to a server, and what comes back is what the example shows.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::document;
use super::schema::Validator;
use crate::redis_engine::Redis;
use crate::support::tokens::{SECRET, token};
use crate::support::{LIFTED, Peer, Server};

/// One frame of the document: what it is, its name, and itself.
#[derive(Debug, Clone)]
struct Example {
    message: String,
    name: String,
    frame: Value,
}

fn examples() -> Vec<Example> {
    let document = document("asyncapi.json");
    let mut found = Vec::new();
    for (message, told) in document["components"]["messages"].as_object().unwrap() {
        for example in told["examples"].as_array().unwrap() {
            let name = example["name"].as_str().unwrap().to_owned();
            let (message, frame) = (message.clone(), example["payload"].clone());
            found.push(Example { message, name, frame });
        }
    }
    found
}

/// All frames of some sessions, and what the ids of the example are in this run.
struct Run {
    examples: Vec<Example>,
    validator: Validator,
    /// Of the document → of this run.
    ids: BTreeMap<String, String>,
    pushes: Vec<Value>,
    /// Which messages of the document were seen.
    seen: BTreeSet<String>,
}

/// Strings that are others in each run.
const IDS: [&str; 8] = ["session", "node", "epoch", "group", "conv", "next", "late_next", "cursor"];
/// Times that are others in each run.
const TIMES: [&str; 2] = ["at", "expires"];

impl Run {
    async fn new() -> Option<Self> {
        let (ids, pushes, seen) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        let validator = Validator::new("frames.schema.json").await?;
        Some(Self { examples: examples(), validator, ids, pushes, seen })
    }

    /// What is wrong with a frame of a client.
    async fn violation(&mut self, frame: &Value) -> Option<String> {
        self.validator.violation("/$defs/CommandFrame", frame).await
    }

    fn example(&self, name: &str) -> Value {
        self.examples.iter().find(|it| it.name == name).unwrap().frame.clone()
    }

    /// A frame of the document with the ids of this run.
    fn of_this_run(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => json!(self.ids.get(text).unwrap_or(text)),
            Value::Array(values) => values.iter().map(|value| self.of_this_run(value)).collect(),
            Value::Object(map) => {
                map.iter().map(|(key, value)| (key.clone(), self.of_this_run(value))).collect()
            }
            other => other.clone(),
        }
    }

    /// Whether a frame of this run is what the document shows; learns ids that it had not met.
    fn compare(&mut self, shown: &Value, got: &Value, path: &str) -> Result<(), String> {
        let key = path.rsplit('/').next().unwrap_or_default();
        match (shown, got) {
            (Value::String(one), Value::String(other)) if IDS.contains(&key) => {
                let known = self.ids.entry(one.clone()).or_insert_with(|| other.clone());
                if known == other { Ok(()) } else { Err(format!("{path}: {other}, not {known}")) }
            }
            (Value::Number(_), Value::Number(_)) if TIMES.contains(&key) => Ok(()),
            (Value::Object(one), Value::Object(other)) => {
                if let Some(key) = one
                    .keys()
                    .chain(other.keys())
                    .find(|&key| one.contains_key(key) != other.contains_key(key))
                {
                    return Err(format!("{path}/{key} is on one side only"));
                }
                one.iter().try_for_each(|(key, value)| {
                    self.compare(value, &other[key], &format!("{path}/{key}"))
                })
            }
            (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
                let mut pairs = one.iter().zip(other);
                pairs.try_for_each(|(one, other)| self.compare(one, other, &format!("{path}/")))
            }
            _ if shown == got => Ok(()),
            (Value::String(one), _) if self.ids.get(one).is_some_and(|id| *got == json!(id)) => {
                Ok(())
            }
            _ => Err(format!("{path}: {got}, not {shown}")),
        }
    }

    /// The next frame of a session, which must be as its schema says.
    async fn frame(&mut self, peer: &mut Peer) -> Value {
        let frame = peer.frame().await.unwrap();
        self.take(frame).await
    }

    async fn take(&mut self, frame: Value) -> Value {
        assert_eq!(self.validator.violation("/$defs/ServerFrame", &frame).await, None);
        let key = frame.as_object().unwrap().keys().find(|key| *key != "id").unwrap();
        // An error without an id is a reply, too.
        let is_reply = frame.get("id").is_some() || key == "error";
        self.seen.insert(format!("{key}{}", if is_reply { "Reply" } else { "Push" }));
        if !is_reply {
            self.pushes.push(frame.clone());
        }
        frame
    }

    /// Says a frame; its reply.
    async fn say(&mut self, peer: &mut Peer, frame: &Value) -> Value {
        let key = frame.as_object().unwrap().keys().find(|key| *key != "id").unwrap();
        self.seen.insert(format!("{key}Command"));
        peer.write_text(&frame.to_string()).await;
        loop {
            let got = self.frame(peer).await;
            if got.get("id") == frame.get("id")
                && (got.get("id").is_some() || got.get("error").is_some())
            {
                return got;
            }
        }
    }

    /// A command beside the example, which must succeed.
    async fn aside(&mut self, peer: &mut Peer, method: &str, body: Value) -> Value {
        let frame = json!({"id": 1_000, method: body});
        assert_eq!(self.violation(&frame).await, None);
        let mut reply = self.say(peer, &frame).await;
        assert!(reply.get("error").is_none(), "{frame}: {reply}");
        reply[method].take()
    }

    /// Says a command of the document; the reply must be what the document has under the same id.
    async fn example_is_true(&mut self, peer: &mut Peer, name: &str) {
        let shown = self.example(name);
        let frame = self.of_this_run(&shown);
        assert_eq!(self.violation(&frame).await, None);
        let got = self.say(peer, &frame).await;
        let replies = self.examples.iter().filter(|it| it.message.ends_with("Reply"));
        let reply = replies.clone().find(|it| it.frame["id"] == shown["id"]);
        // Both ways to say `hello` have the same reply.
        let reply = reply.or_else(|| {
            replies.clone().find(|it| shown.get("hello").is_some() && it.message == "helloReply")
        });
        let reply = reply.unwrap_or_else(|| panic!("no reply to {name}")).frame.clone();
        if reply["id"] == shown["id"] {
            self.compare(&reply, &got, "").unwrap_or_else(|error| panic!("{name}: {error}\n{got}"));
        } else {
            assert!(got.get("hello").is_some(), "{got}");
        }
    }

    /// A push of the document must have come, or come now.
    async fn push_comes(&mut self, peer: &mut Peer, name: &str) {
        let shown = self.example(name);
        let mut looked_at = 0;
        loop {
            while let Some(got) = self.pushes.get(looked_at).cloned() {
                let known = self.ids.clone();
                if self.compare(&shown, &got, "").is_ok() {
                    return;
                }
                self.ids = known;
                looked_at += 1;
            }
            self.frame(peer).await;
        }
    }
}

/// Limits of operators as the document shows them: servers of tests have none.
fn limits_shown(run: &Run) -> Vec<(String, String)> {
    let limits = &run.example("welcome")["hello"]["limits"];
    let value = |key: &str| {
        let name = key.trim_start_matches("CHATCTL_").to_lowercase();
        limits[&name].to_string()
    };
    LIFTED.map(|key| (key.to_owned(), value(key))).to_vec()
}

#[tokio::test]
async fn every_example_is_true() {
    let Some(mut run) = Run::new().await else { return };
    let limits = limits_shown(&run);
    let limits: Vec<_> = limits.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let server = Server::start_with(&limits).await;
    let (mut ann, mut bob) = (Peer::silent(&server.url).await, Peer::silent(&server.url).await);
    let to_ann = json!({"to": {"user": "ann"}});
    run.aside(&mut bob, "hello", json!({"user": "bob"})).await;
    let opened = run.aside(&mut bob, "open", to_ann).await;
    let conv = opened["conv"].clone();
    let page = run.example("page")["open"].clone();
    let mut said =
        [page["items"].as_array().unwrap().clone(), page["late"].as_array().unwrap().clone()]
            .concat();
    said.sort_by_key(|item| item["seq"].as_u64());
    said.push(run.example("message")["msg"].clone());
    let sends = |item: &Value| {
        json!({
            "conv": conv, "cid": item["cid"], "type": item["type"], "content": item["content"], "ts": item["ts"],
        })
    };
    for item in &said[..said.len() - 1] {
        run.aside(&mut bob, "send", sends(item)).await;
    }

    let mut commands: Vec<_> =
        run.examples.iter().filter(|it| it.message.ends_with("Command")).cloned().collect();
    commands.sort_by_key(|it| it.frame["id"].as_u64());
    // Those with tokens are for another server.
    let mut commands: Vec<_> = commands
        .into_iter()
        .filter(|it| it.frame["id"].as_u64() < Some(100))
        .map(|it| it.name)
        .collect();
    commands.reverse();
    while let Some(name) = commands.pop() {
        match &*name {
            "create" => {
                run.aside(&mut bob, "send", sends(said.last().unwrap())).await;
                run.push_comes(&mut ann, "message").await;
                run.aside(&mut bob, "ack", json!({"conv": conv, "up_to": 4})).await;
                run.push_comes(&mut ann, "peer_acked").await;
                let mut other = Peer::silent(&server.url).await;
                run.aside(&mut other, "hello", json!({"user": "ann"})).await;
                run.aside(&mut other, "open", json!({"to": {"user": "bob"}})).await;
                run.aside(&mut other, "ack", json!({"conv": conv, "up_to": 5})).await;
                run.push_comes(&mut ann, "own_acked").await;
            }
            "roster" => {
                run.push_comes(&mut ann, "joined").await;
                run.push_comes(&mut bob, "listed").await;
                let group = run.of_this_run(&run.example("created"))["create"]["group"].clone();
                run.aside(&mut bob, "open", json!({"to": {"group": group}})).await;
            }
            "quit" => run.push_comes(&mut bob, "removed").await,
            _ => {}
        }
        run.example_is_true(&mut ann, &name).await;
    }

    for (name, said) in [
        ("invalid_field", json!({"id": 24, "read": {"conv": conv, "limit": 201}})),
        ("bad_frame", json!({"id": "24", "ping": {}})),
    ] {
        assert!(run.violation(&said).await.is_some(), "{said}");
        ann.write_text(&said.to_string()).await;
        let got = loop {
            let got = run.frame(&mut ann).await;
            if got.get("error").is_some() {
                break got;
            }
        };
        let shown = run.example(name);
        run.compare(&shown, &got, "").unwrap_or_else(|error| panic!("{name}: {error}\n{got}"));
    }
    bob.cut().await;
    run.push_comes(&mut ann, "offline").await;
    server.signal(Signal::TERM);
    run.push_comes(&mut ann, "draining").await;
    let code = loop {
        match ann.frame().await {
            Ok(frame) => drop(run.take(frame).await),
            Err(code) => break code,
        }
    };
    assert_eq!(code, 4001);
    tokens_are_true(&mut run).await;
    let reset = reset_is_true(&mut run).await;
    // Nothing in the document was left out: every message came or was said.
    let all = document("asyncapi.json");
    let all: BTreeSet<_> =
        all["components"]["messages"].as_object().unwrap().keys().cloned().collect();
    let mut missing: Vec<_> = all.difference(&run.seen).cloned().collect();
    missing.retain(|name| reset || name != "resetPush");
    assert!(missing.is_empty(), "{missing:?}");
    assert!(run.seen.is_subset(&all), "{:?}", run.seen);
}

async fn tokens_are_true(run: &mut Run) {
    let server = Server::start_with(&[("CHATCTL_AUTH_SECRET", SECRET)]).await;
    let mut ann = Peer::silent(&server.url).await;
    for (name, path, lifetime) in [("hello_token", "hello", "5s"), ("refresh", "refresh", "1h")] {
        let shown = run.example(name)[path]["token"].as_str().unwrap().to_owned();
        run.ids.insert(shown, token(&["--user", "ann", "--ttl", lifetime]).await);
    }
    // The session and its node are others than before.
    run.example_is_true(&mut ann, "hello_token").await;
    run.push_comes(&mut ann, "token_expiring").await;
    run.example_is_true(&mut ann, "refresh").await;
}

/// `false`: there is no Redis here, and nothing else can be emptied.
async fn reset_is_true(run: &mut Run) -> bool {
    let Some(redis) = Redis::start().await else { return false };
    let variables = redis.variables();
    let variables = variables.each_ref().map(|(key, value)| (*key, value.as_str()));
    let server = Server::start_with(&variables).await;
    let mut ann = Peer::silent(&server.url).await;
    run.aside(&mut ann, "hello", json!({"user": "ann"})).await;
    let opened = run.aside(&mut ann, "open", json!({"to": {"user": "bob"}})).await;
    run.aside(
        &mut ann,
        "send",
        json!({"conv": opened["conv"], "cid": "a1", "type": "text", "content": "x"}),
    )
    .await;
    redis.command(&["FLUSHALL"]);
    run.push_comes(&mut ann, "reset").await;
    let late = json!({"id": 7, "read": {"conv": opened["conv"]}});
    let refused = run.say(&mut ann, &late).await;
    assert_eq!(refused["error"]["code"], "not_found", "it is closed until it is opened again");
    true
}
