//! What it costs to take a frame from a client, and to give one to a client, the socket left out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::io::AsyncWrite;

use super::frame_reader::{Decoder, Heard};
use super::frame_writer::FrameWriter;
use super::fuzzing::framed;
use crate::instructions::{CONTENT, Operation, mark};

/// One frame in, one out, and 32 that go out together.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("frame.read", 1_000, |times| {
            let frame = framed(CONTENT.as_bytes(), false);
            let mut decoder = Decoder::default();
            let mut read = 0;
            mark();
            for _ in 0..times {
                decoder.push(&frame);
                while let Ok(Some(Heard::Text(_))) = decoder.next() {
                    read += 1;
                }
            }
            mark();
            assert_eq!(read, times);
        }),
        Operation::new("frame.write", 1_000, |times| write(times, 1)),
        Operation::new("frame.write_32", 100, |times| write(times, 32)),
    ]
}

fn write(times: usize, together: usize) {
    let payload = Bytes::from_static(CONTENT.as_bytes());
    let mut socket = Taken(0);
    let mut writer = FrameWriter::new(&mut socket);
    mark();
    for _ in 0..times {
        for _ in 0..together {
            writer.queue_text(payload.clone());
        }
        assert!(matches!(writer.flush().now_or_never(), Some(Ok(()))));
    }
    mark();
    assert_eq!(socket.0, times * together * (2 + CONTENT.len()));
}

/// A socket that takes everything at once: how many bytes it took.
struct Taken(usize);

impl AsyncWrite for Taken {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0 += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        self.0 += bytes;
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
