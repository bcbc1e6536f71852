//! The reading half of a WebSocket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::ReadHalf;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::ending::Ending;
use super::pulse::Pulse;
use crate::model::LIMITS;
use crate::protocol::CloseCode;

/// Bytes of the buffer that every connection keeps, and of one read: several usual commands. A larger
/// frame gets a larger buffer.
const READ_BUFFER_BYTES: usize = 2_048;

/// Reads frames by tungstenite. What tungstenite would answer by itself (pongs, closes) goes nowhere:
/// the other half writes, so that the two never wait for each other.
pub(super) struct FrameReader<'a> {
    stream: WebSocketStream<Incoming<'a>>,
}

/// Something that the client said.
pub(super) enum Heard {
    /// A command.
    Text(Utf8Bytes),
    /// A ping: answer with the same bytes.
    Ping(Bytes),
    /// Nothing more comes.
    End(Ending),
}

impl<'a> FrameReader<'a> {
    /// Reads from `half`, after the bytes that came with the handshake.
    pub(super) async fn new(half: ReadHalf<'a>, read_ahead: Bytes, pulse: &'a Pulse) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(1_024)
            .max_frame_size(Some(LIMITS.frame_bytes_max))
            .max_message_size(Some(LIMITS.frame_bytes_max));
        let stream = WebSocketStream::from_partially_read(
            Incoming { half, pulse },
            // A copy, usually of nothing: `into` would keep the 8 KiB buffer of the HTTP connection alive
            // for as long as the client stays.
            read_ahead.to_vec(),
            Role::Server,
            Some(config),
        )
        .await;
        Self { stream }
    }

    /// The next that matters. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            return match self.stream.next().await {
                Some(Ok(Message::Text(text))) => Heard::Text(text),
                Some(Ok(Message::Binary(_))) => Heard::End(Ending::Code(CloseCode::BINARY)),
                Some(Ok(Message::Ping(payload))) => Heard::Ping(payload),
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(frame))) => {
                    Heard::End(Ending::Peer(frame.map(|frame| frame.code.into())))
                }
                Some(Err(error)) => Heard::End(ending(&error)),
                None => Heard::End(Ending::Lost),
            };
        }
    }

    /// Reads and throws away until the client has closed its side. Closing a socket that holds unread bytes
    /// would reset it, and the client might never see our close frame.
    pub(super) async fn drain(&mut self) {
        let half = &self.stream.get_ref().half;
        loop {
            if half.readable().await.is_err() {
                return;
            }
            let mut scratch = [0; 1_024];
            match half.try_read(&mut scratch) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

fn ending(error: &Error) -> Ending {
    match error {
        Error::Capacity(_) => Ending::Code(CloseCode::TOO_LARGE),
        Error::Utf8(_) => Ending::Code(CloseCode::BAD_UTF8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ending::Lost,
        Error::Protocol(_) => Ending::Code(CloseCode::PROTOCOL),
        _ => Ending::Lost,
    }
}

/// The socket's reading half, as something that tungstenite can also write to.
struct Incoming<'a> {
    half: ReadHalf<'a>,
    pulse: &'a Pulse,
}

impl AsyncRead for Incoming<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.half).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pulse.heard(Instant::now());
        }
        read
    }
}

impl AsyncWrite for Incoming<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
