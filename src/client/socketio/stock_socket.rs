//! One stock client as a sink and a stream of frames.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_util::sync::PollSender;

use super::relay::{Heard, Relay};
use crate::client::Address;

/// How the client is told to connect, by turns.
const TRANSPORTS: [&[&str]; 3] = [&["websocket"], &["polling"], &["polling", "websocket"]];

/// A client in a node process; dropped, its connection is cut.
pub(in crate::client) struct StockSocket {
    relay: Arc<Relay>,
    number: u64,
    lines: PollSender<String>,
    heard: mpsc::Receiver<Heard>,
}

/// How it ended, in the driver's words.
#[derive(Deserialize)]
struct Closed {
    code: Option<u16>,
    reason: String,
}

impl StockSocket {
    /// One that will connect with its `hello`.
    pub(super) fn open(relay: &Arc<Relay>, address: &Address) -> Self {
        let (number, heard) = relay.enter();
        let scheme = if address.tls_name().is_some() { "https" } else { "http" };
        let transports = TRANSPORTS[number as usize % TRANSPORTS.len()];
        let open = json!({
            "url": format!("{scheme}://{}", address.authority()),
            "options": { "transports": transports },
        });
        let socket =
            Self { relay: Arc::clone(relay), number, lines: PollSender::new(relay.lines()), heard };
        socket.say_at_last(format!("{number} open {open}\n"));
        socket
    }

    /// Says it although nobody can wait for the room.
    fn say_at_last(&self, line: String) {
        let lines = self.relay.lines();
        if let Err(TrySendError::Full(line)) = lines.try_send(line) {
            tokio::spawn(async move { lines.send(line).await });
        }
    }
}

fn gone() -> SocketError {
    SocketError::ConnectionClosed
}

impl Stream for StockSocket {
    type Item = Result<Message, SocketError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(Heard { kind, value }) = ready!(self.heard.poll_recv(context)) else {
                return Poll::Ready(None);
            };
            match kind.as_str() {
                "frame" => return Poll::Ready(Some(Ok(Message::text(value)))),
                "closed" => {
                    let closed = serde_json::from_str::<Closed>(&value).ok();
                    let frame = closed.and_then(|Closed { code, reason }| {
                        Some(CloseFrame { code: code?.into(), reason: reason.into() })
                    });
                    // Without a code it was cut.
                    return Poll::Ready(frame.map(|frame| Ok(Message::Close(Some(frame)))));
                }
                _ => {}
            }
        }
    }
}

impl Sink<Message> for StockSocket {
    type Error = SocketError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SocketError>> {
        self.lines.poll_reserve(context).map_err(|_| gone())
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SocketError> {
        let number = self.number;
        let line = match message {
            Message::Text(text) => format!("{number} frame {text}\n"),
            Message::Close(_) => format!("{number} close \n"),
            // Its own business.
            _ => return Ok(()),
        };
        self.lines.send_item(line).map_err(|_| gone())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for StockSocket {
    fn drop(&mut self) {
        self.relay.leave(self.number);
        // Of one that has ended the driver knows nothing any more.
        self.say_at_last(format!("{} cut \n", self.number));
    }
}
