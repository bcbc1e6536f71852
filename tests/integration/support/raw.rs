//! A WebSocket byte by byte: what a client library would not send, and exactly what comes back.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// The handshake of RFC 6455 §1.3.
pub const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A frame of the server, or the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// A text frame.
    Text(String),
    /// A pong with this payload.
    Pong(Vec<u8>),
    /// A close frame with this code.
    Close(Option<u16>),
    /// The server has closed its side.
    End,
}

/// One connection.
pub struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    /// A TCP connection and nothing more.
    pub async fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// The same over a connection that is already there.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// A WebSocket that has said nothing.
    pub async fn upgraded(address: &str) -> Self {
        Self::upgraded_at(address, "/v1/ws").await
    }

    async fn upgraded_at(address: &str, path: &str) -> Self {
        let mut raw = Self::connect(address).await;
        let head =
            raw.request(&format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{HANDSHAKE}")).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// Asks for a WebSocket over this connection; `false`: it is not given, or the connection is over.
    pub async fn try_upgrade(&mut self, host: &str) -> bool {
        let lines = format!("GET /v1/ws HTTP/1.1\r\nHost: {host}\r\n{HANDSHAKE}");
        self.request(&lines).await.starts_with("HTTP/1.1 101 ")
    }

    /// A session; everything that follows is answered.
    pub async fn greeted(address: &str, user: &str) -> Self {
        let mut raw = Self::upgraded(address).await;
        raw.write(&text(&format!(r#"{{"id":1,"hello":{{"user":"{user}"}}}}"#))).await;
        let Got::Text(hello) = raw.read().await else { panic!("no hello") };
        assert!(hello.contains("\"protocol\":1"), "{hello}");
        raw
    }

    /// The same over Socket.IO.
    pub async fn greeted_by_socketio(address: &str, user: &str) -> Self {
        let mut raw = Self::upgraded_at(address, "/socket.io/?EIO=4&transport=websocket").await;
        raw.write(&text(&format!(r#"40{{"user":"{user}"}}"#))).await;
        for expected in ["0{\"sid\"", "40{\"sid\"", "42[\"hello\""] {
            let got = raw.read().await;
            let is_it = matches!(&got, Got::Text(text) if text.starts_with(expected));
            assert!(is_it, "{got:?} instead of {expected}");
        }
        raw
    }

    /// Writes the lines of a request and reads the head of the answer, in lower case names as they come.
    pub async fn request(&mut self, lines: &str) -> String {
        self.write(format!("{lines}\r\n").as_bytes()).await;
        loop {
            let end = self.unread.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            if !self.fill().await {
                return String::new();
            }
        }
    }

    /// Bytes as they are. A server that has closed takes none, which is for the reading to notice.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("written in time");
    }

    async fn fill(&mut self) -> bool {
        let mut bytes = [0; 16_384];
        let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("read in time");
        let count = read.unwrap_or(0);
        self.unread.extend_from_slice(&bytes[..count]);
        count > 0
    }

    /// The next frame but pings of the server's own.
    pub async fn read(&mut self) -> Got {
        loop {
            while !self.is_whole() {
                if !self.fill().await {
                    return Got::End;
                }
            }
            let (header, length) = self.lengths();
            let first = self.unread[0];
            assert_eq!(self.unread[1] & 0x80, 0, "a server does not mask (§5.1)");
            self.unread.drain(..header);
            let payload: Vec<u8> = self.unread.drain(..length).collect();
            match first {
                // Also those of Engine.IO.
                0x81 if payload == b"2" => {}
                0x81 => return Got::Text(String::from_utf8(payload).unwrap()),
                0x8a => return Got::Pong(payload),
                0x89 => {}
                0x88 if payload.is_empty() => return Got::Close(None),
                0x88 => {
                    std::str::from_utf8(&payload[2..]).unwrap();
                    return Got::Close(Some(u16::from_be_bytes([payload[0], payload[1]])));
                }
                other => panic!("the server sent a frame of {other:#x}"),
            }
        }
    }

    /// The next frame, if one comes in this time.
    pub async fn read_within(&mut self, time: Duration) -> Option<Got> {
        // Cancelling loses nothing: what was read is kept.
        timeout(time, self.read()).await.ok()
    }

    /// Reads and throws away until the server ends it.
    pub async fn drain(&mut self) {
        let mut bytes = vec![0; 16_384];
        while matches!(self.stream.read(&mut bytes).await, Ok(1..)) {}
    }

    /// The end of what we say.
    pub async fn shut(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    fn lengths(&self) -> (usize, usize) {
        let bytes = &self.unread;
        match bytes[1] & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (10, u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize),
            short => (2, usize::from(short)),
        }
    }

    fn is_whole(&self) -> bool {
        let header = match self.unread.get(1) {
            None => return false,
            Some(second) => match second & 0x7f {
                126 => 4,
                127 => 10,
                _ => 2,
            },
        };
        self.unread.len() >= header && {
            let (header, length) = self.lengths();
            self.unread.len() >= header + length
        }
    }
}

/// A masked frame; `first` is its first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        length @ 0..126 => vec![0x80 | length as u8],
        length @ 126..65_536 => [&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
        length => [&[0x80 | 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    with_length(first, &length, payload)
}

/// A masked frame that says its length in these bytes.
pub fn with_length(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [&[first], length, &mask].concat().into_iter().chain(masked).collect()
}

/// A text in one frame.
pub fn text(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}

/// A close frame.
pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}
