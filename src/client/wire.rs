//! What carries the frames of a client.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::socketio::StockSocket;
use crate::tls;

/// Frames of protocol v1, both ways.
pub(super) enum Wire {
    /// A WebSocket of our own. Boxed, as the other is small.
    WebSocket(Box<WebSocketStream<tls::Stream>>),
    /// A stock client of Socket.IO in a node process.
    SocketIo(StockSocket),
}

/// The same call on what it is.
macro_rules! on_either {
    ($wire:expr, $call:ident $(, $argument:expr)*) => {
        match $wire.get_mut() {
            Self::WebSocket(socket) => Pin::new(&mut **socket).$call($($argument),*),
            Self::SocketIo(socket) => Pin::new(socket).$call($($argument),*),
        }
    };
}

impl Stream for Wire {
    type Item = Result<Message, SocketError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        on_either!(self, poll_next, context)
    }
}

impl Sink<Message> for Wire {
    type Error = SocketError;

    fn poll_ready(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SocketError>> {
        on_either!(self, poll_ready, context)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), SocketError> {
        on_either!(self, start_send, message)
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SocketError>> {
        on_either!(self, poll_flush, context)
    }

    fn poll_close(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SocketError>> {
        on_either!(self, poll_close, context)
    }
}
