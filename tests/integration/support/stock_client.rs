//! The stock `socket.io-client` of npm, driven by lines: a node process of its own for each client.

use std::collections::VecDeque;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::npm::Modules;
use super::{PATIENCE, Server};

/// Where `package.json` is.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/socketio");
/// The lines that it speaks.
const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/socketio/driver.js");

/// The modules of the stock client, which npm installs on first use.
pub static MODULES: Modules = Modules::of(FOLDER);

/// One stock client.
pub struct StockClient {
    node: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    next_id: u64,
    seen: VecDeque<(String, Value)>,
}

impl StockClient {
    /// A client that has not connected; `None`: it cannot be had.
    pub async fn new(url: &str, options: Value) -> Option<Self> {
        let modules = MODULES.get().await?;
        let mut node = Command::new("node")
            .arg(DRIVER)
            .arg(modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = node.stdin.take().unwrap();
        let lines = BufReader::new(node.stdout.take().unwrap()).lines();
        let mut client = Self { node, input, lines, next_id: 0, seen: VecDeque::new() };
        client.say("open", json!({"url": url, "options": options})).await;
        Some(client)
    }

    /// One of a server, over these transports of the client's own names; empty: as it comes.
    pub async fn of(server: &Server, transports: &[&str]) -> Option<Self> {
        let options = match transports {
            [] => json!({}),
            transports => json!({ "transports": transports }),
        };
        Self::new(&format!("http://{}", server.address()), options).await
    }

    /// A session.
    pub async fn connect(server: &Server, transports: &[&str], user: &str) -> Option<Self> {
        let mut client = Self::of(server, transports).await?;
        client.ok("hello", json!({"user": user})).await;
        Some(client)
    }

    /// One line to the driver.
    pub async fn say(&mut self, kind: &str, value: Value) {
        let line = format!("1 {kind} {value}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    /// Any signal to its process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.node.id().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    async fn line(&mut self) -> (String, Value) {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("a line in time");
        let line = line.unwrap().expect("the driver goes on");
        let mut parts = line.splitn(3, ' ').skip(1);
        let kind = parts.next().unwrap().to_owned();
        (kind, serde_json::from_str(parts.next().unwrap()).unwrap())
    }

    /// The first line that is one; others are kept.
    async fn first(&mut self, mut is_it: impl FnMut(&str, &Value) -> bool) -> Value {
        if let Some(at) = self.seen.iter().position(|(kind, value)| is_it(kind, value)) {
            return self.seen.remove(at).unwrap().1;
        }
        loop {
            let (kind, value) = self.line().await;
            if is_it(&kind, &value) {
                return value;
            }
            assert!(kind != "closed", "waited for something else: {value}");
            self.seen.push_back((kind, value));
        }
    }

    /// Writes a command without waiting; its id.
    pub async fn begin(&mut self, method: &str, body: Value) -> u64 {
        self.next_id += 1;
        self.say("frame", json!({"id": self.next_id, method: body})).await;
        self.next_id
    }

    /// The answer to a command.
    pub async fn answer(&mut self, id: u64) -> Value {
        self.first(|kind, value| kind == "frame" && value["id"] == id).await
    }

    /// A command that must succeed: the body of its answer.
    pub async fn ok(&mut self, method: &str, body: Value) -> Value {
        let id = self.begin(method, body).await;
        let mut reply = self.answer(id).await;
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply[method].take()
    }

    /// A command that must fail: the code of its error.
    pub async fn error_code(&mut self, method: &str, body: Value) -> String {
        let id = self.begin(method, body).await;
        let reply = self.answer(id).await;
        reply["error"]["code"].as_str().unwrap_or_else(|| panic!("{method}: {reply}")).to_owned()
    }

    /// Any event, with a callback: what that is given.
    pub async fn emit(&mut self, arguments: &[Value]) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        let all: Vec<Value> = std::iter::once(json!(id)).chain(arguments.iter().cloned()).collect();
        self.say("emit", json!(all)).await;
        self.answer(id).await["reply"].take()
    }

    /// Any event, without a callback.
    pub async fn tell(&mut self, arguments: &[Value]) {
        let all: Vec<Value> = std::iter::once(json!(0)).chain(arguments.iter().cloned()).collect();
        self.say("emit", json!(all)).await;
    }

    /// The next push of a kind.
    pub async fn push(&mut self, kind: &str) -> Value {
        let is_it = |line: &str, value: &Value| line == "frame" && value.get(kind).is_some();
        self.first(is_it).await[kind].take()
    }

    /// How it is connected, when that changes.
    pub async fn transport(&mut self) -> String {
        self.first(|kind, _| kind == "transport").await.as_str().unwrap().to_owned()
    }

    /// How it ended: the code of the `closing` event, if there was one, and the reason.
    pub async fn closed(&mut self) -> (Option<u64>, String) {
        let closed = self.first(|kind, _| kind == "closed").await;
        (closed["code"].as_u64(), closed["reason"].as_str().unwrap().to_owned())
    }
}
