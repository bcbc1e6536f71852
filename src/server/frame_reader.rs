//! The reading half of a WebSocket (RFC 6455 §5): bytes to messages.
//!
//! What a client may not send is told by the close code as soon as it shows, mostly from the head of a frame: its payload is not
//! waited for. A connection that is silent holds no buffer, and what is unfinished holds only what has come of it.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::ending::Ending;
use super::fragments::Fragments;
use super::frame_header::{FrameHeader, Opcode};
use super::pulse::Pulse;
use crate::protocol::CloseCode;
use crate::tls::ReadHalf;

/// Bytes of one read: many usual commands. They stand on the stack until it is known how many there are.
const READ_BYTES_MAX: usize = 16 << 10;

/// Reads frames. It answers nothing: the other half writes, so that the two never wait for each other.
pub(super) struct FrameReader<'a> {
    half: ReadHalf<'a>,
    pulse: &'a Pulse,
    decoder: Decoder,
}

/// Something that the client said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A command.
    Text(Utf8Bytes),
    /// A ping: answer with the same bytes.
    Ping(Bytes),
    /// A pong, asked for or not.
    Pong,
    /// Nothing more comes.
    End(Ending),
}

impl<'a> FrameReader<'a> {
    /// Reads from `half`, after the bytes that came with the handshake.
    pub(super) fn new(half: ReadHalf<'a>, read_ahead: &[u8], pulse: &'a Pulse) -> Self {
        let mut decoder = Decoder::default();
        // A copy, usually of nothing: the bytes themselves would keep the 8 KiB buffer of the HTTP connection
        // alive for as long as the client stays.
        decoder.push(read_ahead);
        Self { half, pulse, decoder }
    }

    /// The next that matters. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            match self.decoder.next() {
                Ok(Some(heard)) => return heard,
                Ok(None) => {}
                Err(code) => return Heard::End(Ending::Code(code)),
            }
            match poll_fn(|context| self.poll_fill(context)).await {
                Ok(0) | Err(_) => return Heard::End(Ending::Lost),
                Ok(_) => self.pulse.heard(Instant::now()),
            }
        }
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = [const { MaybeUninit::uninit() }; READ_BYTES_MAX];
        let mut read = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.half).poll_read(context, &mut read))?;
        self.decoder.push(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Reads and throws away until the client has closed its side. Closing a socket that holds unread bytes
    /// would reset it, and the client might never see our close frame.
    pub(super) async fn drain(&mut self) {
        while matches!(poll_fn(|context| self.poll_discard(context)).await, Ok(1..)) {}
    }

    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = [const { MaybeUninit::uninit() }; 1_024];
        let mut read = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.half).poll_read(context, &mut read))?;
        Poll::Ready(Ok(read.filled().len()))
    }
}

/// From bytes to what they say.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: BytesMut,
    /// Of the frame whose payload is not all there.
    header: Option<FrameHeader>,
    /// Of the message whose last frame is not there. Boxed: few messages come in pieces.
    fragments: Option<Box<Fragments>>,
}

impl Decoder {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next that matters; `None`: more bytes are needed. After an error nothing may be asked any more.
    pub(super) fn next(&mut self) -> Result<Option<Heard>, CloseCode> {
        loop {
            let header = match self.header.take() {
                Some(header) => header,
                None => match FrameHeader::parse(&self.buffer)? {
                    Some(header) => {
                        self.judge(&header)?;
                        self.buffer.advance(header.bytes);
                        header
                    }
                    None => break,
                },
            };
            if self.buffer.len() < header.payload_bytes {
                self.header = Some(header);
                break;
            }
            let mut payload = self.buffer.split_to(header.payload_bytes);
            header.unmask(&mut payload);
            if let Some(heard) = self.take(&header, payload.freeze())? {
                return Ok(Some(heard));
            }
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(None)
    }

    /// Whether a frame may stand here (§5.4).
    fn judge(&self, header: &FrameHeader) -> Result<(), CloseCode> {
        match (header.opcode, &self.fragments) {
            (Opcode::Text, Some(_)) | (Opcode::Continuation, None) => Err(CloseCode::PROTOCOL),
            (Opcode::Continuation, Some(fragments)) => fragments.judge(header.payload_bytes),
            _ => Ok(()),
        }
    }

    fn take(&mut self, header: &FrameHeader, payload: Bytes) -> Result<Option<Heard>, CloseCode> {
        match header.opcode {
            Opcode::Ping => return Ok(Some(Heard::Ping(payload))),
            Opcode::Pong => return Ok(Some(Heard::Pong)),
            Opcode::Close => return close(&payload).map(|end| Some(Heard::End(end))),
            Opcode::Text if header.is_final => {
                let text = Utf8Bytes::try_from(payload).map_err(|_| CloseCode::BAD_UTF8)?;
                return Ok(Some(Heard::Text(text)));
            }
            Opcode::Text | Opcode::Continuation => {}
        }
        let fragments = self.fragments.get_or_insert_default();
        fragments.push(&payload)?;
        if !header.is_final {
            return Ok(None);
        }
        let message = self.fragments.take().unwrap_or_default().finish()?;
        Ok(Some(Heard::Text(message.into())))
    }
}

/// What a close frame says (§5.5.1): nothing, or a code that may be sent and a reason in UTF-8.
fn close(payload: &[u8]) -> Result<Ending, CloseCode> {
    match payload {
        [] => Ok(Ending::Peer(None)),
        [_] => Err(CloseCode::PROTOCOL),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::may_be_sent(code) {
                return Err(CloseCode::PROTOCOL);
            }
            match std::str::from_utf8(reason) {
                Ok(_) => Ok(Ending::Peer(Some(code))),
                Err(_) => Err(CloseCode::BAD_UTF8),
            }
        }
    }
}

#[cfg(test)]
#[path = "frame_reader_tests.rs"]
mod tests;
