//! A client that speaks raw frames, so that tests can also send what no client would.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::PATIENCE;
use super::log::CANARY;

/// One connection.
pub struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    pushes: VecDeque<Value>,
    replies: VecDeque<Value>,
}

impl Peer {
    /// A connection that has said nothing.
    pub async fn silent(url: &str) -> Self {
        let (socket, _) = timeout(PATIENCE, connect_async(url)).await.unwrap().unwrap();
        let (pushes, replies) = (VecDeque::new(), VecDeque::new());
        Self { socket, next_id: 0, pushes, replies }
    }

    /// A session.
    pub async fn connect(url: &str, user: &str) -> Self {
        let mut peer = Self::silent(url).await;
        peer.ok("hello", json!({"user": user})).await;
        peer
    }

    /// Any frame at all.
    pub async fn write(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// A text frame, unless the connection is gone.
    pub async fn try_write(&mut self, text: &str) -> Result<(), ()> {
        self.socket.send(Message::text(text)).await.map_err(drop)
    }

    /// The next frame; `None` when the connection is gone.
    pub async fn try_frame(&mut self) -> Option<Value> {
        self.frame().await.ok()
    }

    /// A text frame.
    pub async fn write_text(&mut self, text: &str) {
        self.write(Message::text(text)).await;
    }

    /// Writes a command without waiting; its id.
    pub async fn begin(&mut self, method: &str, body: Value) -> u64 {
        self.next_id += 1;
        let frame = json!({"id": self.next_id, method: body});
        self.write_text(&frame.to_string()).await;
        self.next_id
    }

    /// The next frame; `Err` is the close code (0: none).
    pub async fn frame(&mut self) -> Result<Value, u16> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(close)))) => return Err(close.code.into()),
                Some(Ok(Message::Close(None)) | Err(_)) | None => return Err(0),
                Some(Ok(_)) => {}
            }
        }
    }

    /// The close code that ends the connection, whatever comes before it.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            if let Err(code) = self.frame().await {
                return code;
            }
        }
    }

    /// The answer to a command; other frames are kept.
    pub async fn answer(&mut self, id: u64) -> Value {
        if let Some(at) = self.replies.iter().position(|reply| reply["id"] == id) {
            return self.replies.remove(at).unwrap();
        }
        loop {
            let frame = self.frame().await.expect("an answer before the connection ends");
            match frame.get("id") {
                Some(answered) if *answered == id => return frame,
                Some(_) => self.replies.push_back(frame),
                None => self.pushes.push_back(frame),
            }
        }
    }

    /// A command and its whole answer.
    pub async fn call(&mut self, method: &str, body: Value) -> Value {
        let id = self.begin(method, body).await;
        self.answer(id).await
    }

    /// A command and its answer; `None`: the connection is gone.
    pub async fn try_call(&mut self, method: &str, body: Value) -> Option<Value> {
        self.next_id += 1;
        let id = self.next_id;
        self.try_write(&json!({"id": id, method: body}).to_string()).await.ok()?;
        loop {
            let frame = self.try_frame().await?;
            if frame["id"] == id {
                return Some(frame);
            }
        }
    }

    /// A command that must succeed: the body of its answer.
    pub async fn ok(&mut self, method: &str, body: Value) -> Value {
        let mut reply = self.call(method, body).await;
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply[method].take()
    }

    /// A command that must fail: its error.
    pub async fn error(&mut self, method: &str, body: Value) -> Value {
        let mut reply = self.call(method, body).await;
        assert!(reply.get("error").is_some(), "{method} should have failed: {reply}");
        reply["error"].take()
    }

    /// The code of an error, and its field (empty when it names none).
    pub async fn error_code(&mut self, method: &str, body: Value) -> (String, String) {
        let error = self.error(method, body).await;
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        (text("code"), text("field"))
    }

    /// The next push of a kind, other kinds being skipped.
    pub async fn push(&mut self, kind: &str) -> Value {
        loop {
            let mut frame = match self.pushes.pop_front() {
                Some(frame) => frame,
                None => self.frame().await.expect("a push before the connection ends"),
            };
            if frame.get("id").is_some() {
                self.replies.push_back(frame);
            } else if frame.get(kind).is_some() {
                return frame[kind].take();
            }
        }
    }

    /// Pushes of a kind that have come by the time a ping is answered.
    pub async fn pushes_so_far(&mut self, kind: &str) -> Vec<Value> {
        self.ok("ping", json!({})).await;
        let pushes = std::mem::take(&mut self.pushes);
        pushes.into_iter().filter_map(|mut frame| frame.get_mut(kind).map(Value::take)).collect()
    }

    /// Opens a direct chat; the whole answer.
    pub async fn open_user(&mut self, user: &str) -> Value {
        self.ok("open", json!({"to": {"user": user}})).await
    }

    /// Opens a channel; the whole answer.
    pub async fn open_channel(&mut self, channel: &str) -> Value {
        self.ok("open", json!({"to": {"channel": channel}})).await
    }

    /// Sends text under a `cid`, with a time; the answer.
    pub async fn send(&mut self, conv: &Value, cid: &str, ts: Option<u64>) -> Value {
        self.ok("send", message(conv, cid, ts)).await
    }

    /// Ends without a goodbye.
    pub async fn cut(self) {
        drop(self);
    }
}

/// The body of a `send`.
pub fn message(conv: &Value, cid: &str, ts: Option<u64>) -> Value {
    let content = format!("{CANARY} says {cid}");
    let mut body = json!({"conv": conv, "cid": cid, "type": "text", "content": content});
    if let Some(ts) = ts {
        body["ts"] = json!(ts);
    }
    body
}
