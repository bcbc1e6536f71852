//! A WebSocket client as thin as can be: what it costs must not hide what a server costs.
//!
//! Its frames are masked with zero, as RFC 6455 allows, so that nothing has to be copied or changed but digits; a server
//! unmasks them as any others. It understands what a chat server says to it: whole text frames.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Any 16 bytes will do (RFC 6455, 1.3): nothing is kept from anybody here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Room that is there from the start.
const BUFFER_BYTES: usize = 16 << 10;

/// More than any answer of a chat server.
const BUFFER_BYTES_MAX: usize = 4 << 20;

const TEXT: u8 = 1;

/// What comes.
#[derive(Debug)]
pub(super) struct Incoming {
    stream: OwnedReadHalf,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// What goes.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: OwnedWriteHalf,
    waiting: Vec<u8>,
}

/// Connects and upgrades.
pub(super) async fn connect(address: SocketAddr, path: &str) -> io::Result<(Incoming, Outgoing)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (reader, writer) = stream.into_split();
    let mut incoming = Incoming { stream: reader, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 };
    incoming.take_head().await?;
    Ok((incoming, Outgoing { stream: writer, waiting: Vec::with_capacity(BUFFER_BYTES) }))
}

impl Incoming {
    async fn take_head(&mut self) -> io::Result<()> {
        loop {
            self.fill().await?;
            let head = &self.buffer[self.start..self.end];
            if let Some(ends) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                if !head.starts_with(b"HTTP/1.1 101") {
                    let head = String::from_utf8_lossy(&head[..ends]);
                    return Err(io::Error::other(format!("no WebSocket: {head}")));
                }
                self.start += ends + 4;
                return Ok(());
            }
        }
    }

    /// Waits until there is more, and reads once.
    pub async fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            if self.end >= BUFFER_BYTES_MAX {
                return Err(io::Error::other("a frame larger than any answer"));
            }
            self.buffer.resize(self.end * 2, 0);
        }
        match self.stream.read(&mut self.buffer[self.end..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }

    /// The next whole text frame of what was read.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let Some((kind, payload)) = self.frame() else { return Ok(None) };
            match kind {
                TEXT => return Ok(Some(&self.buffer[payload])),
                // It is here for seconds; pings are answered by clients that stay.
                9 | 10 => {}
                _ => {
                    let text = String::from_utf8_lossy(&self.buffer[payload]).into_owned();
                    return Err(io::Error::other(format!("frame of kind {kind}: {text:?}")));
                }
            }
        }
    }

    /// Its kind and where its payload is.
    fn frame(&mut self) -> Option<(u8, std::ops::Range<usize>)> {
        let bytes = &self.buffer[self.start..self.end];
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (head, length) = match second & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => {
                (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?)
            }
            length => (2, usize::from(length)),
        };
        bytes.get(head..head + length)?;
        let payload = self.start + head..self.start + head + length;
        self.start = payload.end;
        Some((first & 0x0f, payload))
    }

    /// Waits for the next whole text frame.
    pub async fn text(&mut self) -> io::Result<String> {
        loop {
            if let Some(frame) = self.next()? {
                return Ok(String::from_utf8_lossy(frame).into_owned());
            }
            self.fill().await?;
        }
    }
}

impl Outgoing {
    /// Puts a text frame behind what waits, and gives its payload, to be written by the caller.
    pub fn frame(&mut self, payload: &[u8]) -> &mut [u8] {
        const FINAL: u8 = 0x80;
        const MASKED: u8 = 0x80;
        let length = payload.len();
        self.waiting.push(FINAL | TEXT);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if short < 126 => self.waiting.push(MASKED | short),
            (_, Ok(middle)) => {
                self.waiting.push(MASKED | 126);
                self.waiting.extend_from_slice(&middle.to_be_bytes());
            }
            _ => {
                self.waiting.push(MASKED | 127);
                self.waiting.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        self.waiting.extend_from_slice(&[0; 4]);
        let begins = self.waiting.len();
        self.waiting.extend_from_slice(payload);
        &mut self.waiting[begins..]
    }

    /// Writes all that waits.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.stream.write_all(&self.waiting).await?;
        self.waiting.clear();
        Ok(())
    }
}
