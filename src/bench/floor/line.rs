//! One connection and what it sends: always the same frame, but for its digits.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::load::Heard;
use super::wire::{Incoming, Outgoing, connect};

/// Bytes of each content.
pub(super) const CONTENT_BYTES: usize = 200;

/// Numbers of as many digits, so that a frame is always as long.
const FIRST_ID: u64 = 1_000_000_000;
const ID_DIGITS: usize = 10;

/// A time in ns at the start of each content.
const TIME_DIGITS: usize = 15;

/// A connection.
#[derive(Debug)]
pub(super) struct Line {
    incoming: Incoming,
    outgoing: Outgoing,
    frame: SendFrame,
}

/// What is sent.
#[derive(Debug)]
pub(super) struct SendFrame {
    text: Vec<u8>,
    cid_at: usize,
    time_at: usize,
    next_id: u64,
    epoch: Instant,
}

/// Looks at frames.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan {
    epoch: Instant,
    /// Where the content was in the last message: it is there again, mostly.
    content_at: usize,
}

impl Line {
    /// To a bare server; `hello` is sent first, if any, and answered.
    pub async fn bare(
        address: SocketAddr,
        hello: Option<&str>,
        epoch: Instant,
    ) -> io::Result<Self> {
        let (mut incoming, mut outgoing) = connect(address, "/").await?;
        if let Some(hello) = hello {
            outgoing.frame(hello.as_bytes());
            outgoing.flush().await?;
            incoming.text().await?;
        }
        Ok(Self { incoming, outgoing, frame: SendFrame::new("bare", "bare", epoch) })
    }

    /// To a chat server, as `user`, who opens `to`.
    pub async fn chat(
        address: SocketAddr,
        user: &str,
        to: &Value,
        echo: bool,
        epoch: Instant,
    ) -> io::Result<Self> {
        let (incoming, outgoing) = connect(address, "/v1/ws").await?;
        let mut line = Self { incoming, outgoing, frame: SendFrame::new("", user, epoch) };
        line.ask("hello", json!({"user": user})).await?;
        let opened = line.ask("open", json!({"to": to, "limit": 1, "echo": echo})).await?;
        let Some(conv) = opened["conv"].as_str() else {
            return Err(io::Error::other(format!("no conversation was opened: {opened}")));
        };
        line.frame = SendFrame::new(conv, user, epoch);
        Ok(line)
    }

    async fn ask(&mut self, method: &str, body: Value) -> io::Result<Value> {
        self.outgoing.frame(json!({"id": 1, method: body}).to_string().as_bytes());
        self.outgoing.flush().await?;
        loop {
            let text = self.incoming.text().await?;
            let mut answer: Value = serde_json::from_str(&text)?;
            if answer["id"] == 1 {
                return match answer[method].take() {
                    Value::Null => Err(io::Error::other(format!("{method} was refused: {text}"))),
                    answered => Ok(answered),
                };
            }
        }
    }

    /// What comes, what goes, and what is sent.
    pub fn parts(&mut self) -> (&mut Incoming, &mut Outgoing, &mut SendFrame) {
        (&mut self.incoming, &mut self.outgoing, &mut self.frame)
    }
}

impl SendFrame {
    fn new(conv: &str, user: &str, epoch: Instant) -> Self {
        let before = format!(r#"{{"id":{FIRST_ID},"send":{{"conv":"{conv}","cid":"{user}-"#);
        let between = format!(r#"{FIRST_ID}","type":"text","content":""#);
        let content = "0".repeat(CONTENT_BYTES);
        let (cid_at, time_at) = (before.len(), before.len() + between.len());
        let text = format!(r#"{before}{between}{content}"}}}}"#).into_bytes();
        Self { text, cid_at, time_at, next_id: FIRST_ID, epoch }
    }

    /// The number of the next.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// A look at what comes back.
    pub fn scan(&self) -> Scan {
        Scan { epoch: self.epoch, content_at: 0 }
    }

    /// Puts one more behind what waits; its number. `at` goes with it.
    pub fn put(&mut self, outgoing: &mut Outgoing, at: Instant) -> u64 {
        const ID_AT: usize = 6;
        let id = self.next_id;
        self.next_id += 1;
        let payload = outgoing.frame(&self.text);
        write_digits(&mut payload[ID_AT..ID_AT + ID_DIGITS], id);
        write_digits(&mut payload[self.cid_at..self.cid_at + ID_DIGITS], id);
        let ns = at.saturating_duration_since(self.epoch).as_nanos() as u64;
        write_digits(&mut payload[self.time_at..self.time_at + TIME_DIGITS], ns);
        id
    }
}

impl Scan {
    /// What this frame is. An error answer is an error.
    pub fn read(&mut self, text: &[u8]) -> io::Result<Heard> {
        const CONTENT: &[u8] = br#""content":""#;
        if let Some(rest) = text.strip_prefix(br#"{"id":"#) {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if rest[digits..].starts_with(br#","error""#) {
                return Err(io::Error::other(String::from_utf8_lossy(text)));
            }
            return Ok(Heard::Answer(read_digits(&rest[..digits])));
        }
        if !text.starts_with(br#"{"msg":"#) {
            return Ok(Heard::Other);
        }
        let is_there = |at: &usize| text.get(*at..).is_some_and(|rest| rest.starts_with(CONTENT));
        if !is_there(&self.content_at) {
            match text.windows(CONTENT.len()).position(|bytes| bytes == CONTENT) {
                Some(at) => self.content_at = at,
                None => return Ok(Heard::Message(None)),
            }
        }
        let time_at = self.content_at + CONTENT.len();
        let sent = text.get(time_at..time_at + TIME_DIGITS).map(read_digits);
        Ok(Heard::Message(sent.map(|ns| self.epoch + Duration::from_nanos(ns))))
    }
}

fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn read_digits(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit.wrapping_sub(b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_told_apart() {
        let epoch = Instant::now();
        let mut scan = SendFrame::new("conv", "ann", epoch).scan();
        let answer = scan.read(br#"{"id":1000000007,"send":{"seq":1}}"#).unwrap();
        assert_eq!(answer, Heard::Answer(1_000_000_007));
        assert_eq!(scan.read(br#"{"id":12}"#).unwrap(), Heard::Answer(12));
        let refused = scan.read(br#"{"id":12,"error":{"code":"overloaded"}}"#).unwrap_err();
        assert!(refused.to_string().contains("overloaded"));
        assert_eq!(scan.read(br#"{"acked":{}}"#).unwrap(), Heard::Other);
        let message = br#"{"msg":{"conv":"c","seq":9,"content":"000000000001500xyz"}}"#;
        let sent = Some(epoch + Duration::from_nanos(1_500));
        assert_eq!(scan.read(message).unwrap(), Heard::Message(sent));
        assert_eq!(scan.read(message).unwrap(), Heard::Message(sent), "where it was");
        assert_eq!(scan.read(br#"{"msg":{}}"#).unwrap(), Heard::Message(None));
    }

    #[test]
    fn a_frame_is_what_the_protocol_asks_for() {
        let frame = SendFrame::new("conv", "ann", Instant::now());
        let text: Value = serde_json::from_slice(&frame.text).unwrap();
        let send = &text["send"];
        assert_eq!((&text["id"], &send["conv"]), (&json!(FIRST_ID), &json!("conv")));
        assert_eq!(send["cid"], format!("ann-{FIRST_ID}"));
        assert_eq!(send["content"].as_str().unwrap().len(), CONTENT_BYTES);
        let mut digits = *b"....";
        write_digits(&mut digits, 56_789);
        assert_eq!((&digits, read_digits(&digits)), (b"6789", 6_789));
    }
}
