//! The writing half of a WebSocket.
//!
//! Frames of a server carry no mask, so that a frame is a header of 2 to 10 bytes and the payload
//! as it is: one encoding of a message serves everybody who gets it, and is never copied. Many
//! small frames go out in one system call.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Frames in one system call, two slices each.
const FRAMES_PER_WRITE: usize = 32;
const HEADER_BYTES_MAX: usize = 10;

/// What a frame is (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Opcode {
    Text = 1,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// A whole frame.
struct Frame {
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    payload: Bytes,
}

impl Frame {
    fn new(opcode: Opcode, payload: Bytes) -> Self {
        let mut header = [0; HEADER_BYTES_MAX];
        // The top bit: this is all of the message.
        header[0] = 0x80 | opcode as u8;
        let length = payload.len();
        let header_bytes = if let Ok(short) = u8::try_from(length)
            && short < 126
        {
            header[1] = short;
            2
        } else if let Ok(medium) = u16::try_from(length) {
            header[1] = 126;
            header[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        } else {
            header[1] = 127;
            header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        };
        Self { header, header_bytes, payload }
    }

    fn bytes(&self) -> usize {
        self.header_bytes + self.payload.len()
    }
}

/// Queues frames and writes them; bounded by whoever queues.
pub(super) struct FrameWriter<W> {
    socket: W,
    queue: VecDeque<Frame>,
    /// Bytes of the first frame that are out already.
    written: usize,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(socket: W) -> Self {
        Self { socket, queue: VecDeque::new(), written: 0 }
    }

    pub(super) fn queue_text(&mut self, text: Bytes) {
        self.queue.push_back(Frame::new(Opcode::Text, text));
    }

    pub(super) fn queue_ping(&mut self) {
        self.queue.push_back(Frame::new(Opcode::Ping, Bytes::new()));
    }

    /// `payload` is at most 125 bytes: it came in a ping.
    pub(super) fn queue_pong(&mut self, payload: Bytes) {
        self.queue.push_back(Frame::new(Opcode::Pong, payload));
    }

    /// `reason` is at most 123 bytes: ours are a few words.
    pub(super) fn queue_close(&mut self, code: Option<u16>, reason: &str) {
        let mut payload = Vec::new();
        if let Some(code) = code {
            payload.extend_from_slice(&code.to_be_bytes());
            payload.extend_from_slice(reason.as_bytes());
        }
        self.queue.push_back(Frame::new(Opcode::Close, payload.into()));
    }

    /// Says that nothing more comes; the client's side stays open.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.socket.shutdown().await
    }

    /// Takes back everything but the frame that is out in part.
    pub(super) fn discard_unbegun(&mut self) {
        self.queue.truncate(usize::from(self.written > 0));
    }

    /// Writes all that is queued. Cancelling loses nothing: the next call goes on.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            while !self.queue.is_empty() {
                let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE * 2];
                for (pair, frame) in slices.chunks_exact_mut(2).zip(&self.queue) {
                    pair[0] = IoSlice::new(&frame.header[..frame.header_bytes]);
                    pair[1] = IoSlice::new(&frame.payload);
                }
                let used = self.queue.len().min(FRAMES_PER_WRITE) * 2;
                let mut slices = &mut slices[..used];
                IoSlice::advance_slices(&mut slices, self.written);
                let socket = Pin::new(&mut self.socket);
                let count = ready!(socket.poll_write_vectored(context, slices))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.advance(count);
            }
            // An idle connection keeps no room for a burst that has passed.
            self.queue.shrink_to(16);
            // TLS may hold back what it has taken.
            Pin::new(&mut self.socket).poll_flush(context)
        })
        .await
    }

    fn advance(&mut self, count: usize) {
        self.written += count;
        while let Some(first) = self.queue.front()
            && first.bytes() <= self.written
        {
            self.written -= first.bytes();
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn frames_arrive_whole_through_a_narrow_pipe() {
        // Lengths around every border of the header.
        let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000];
        let (near, mut far) = tokio::io::duplex(7);
        let mut writer = FrameWriter::new(near);
        let mut expected = Vec::new();
        for length in lengths.into_iter().chain(std::iter::repeat_n(3, 100)) {
            let payload = vec![b'x'; length];
            let header: Vec<u8> = match length {
                0..126 => vec![0x81, length as u8],
                126..65_536 => vec![0x81, 126, (length >> 8) as u8, length as u8],
                _ => [&[0x81, 127][..], &(length as u64).to_be_bytes()].concat(),
            };
            expected.extend(header.into_iter().chain(payload.iter().copied()));
            writer.queue_text(payload.into());
        }
        let read = async {
            let mut bytes = vec![0; expected.len()];
            far.read_exact(&mut bytes).await.unwrap();
            bytes
        };
        let (flushed, bytes) = tokio::join!(writer.flush(), read);
        flushed.unwrap();
        assert!(bytes == expected);
    }

    #[tokio::test]
    async fn a_frame_begun_is_never_taken_back() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut writer = FrameWriter::new(near);
        writer.queue_text("begun".into());
        writer.queue_text("unbegun".into());
        let mut flush = Box::pin(writer.flush());
        assert!(futures_util::poll!(&mut flush).is_pending());
        drop(flush);
        writer.discard_unbegun();
        writer.queue_close(Some(4_408), "slow");
        let mut bytes = vec![0; 15];
        let (flushed, read) = tokio::join!(writer.flush(), far.read_exact(&mut bytes));
        flushed.unwrap();
        read.unwrap();
        assert_eq!(bytes, b"\x81\x05begun\x88\x06\x11\x38slow");
    }
}
