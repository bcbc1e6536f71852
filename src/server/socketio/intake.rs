//! What comes over a WebSocket of Socket.IO, judged before the engine has it: by our own reader of frames, and by where a packet may stand.
//!
//! So a client is told why it is ended, which the engine cannot, and the engine is given only what it takes: the packets of an upgrade, pings, closes, and that the client is alive.

use bytes::{Buf as _, BytesMut};
use engineioxide::Str;
use tokio::io::ReadBuf;

use super::engine_packet::EnginePacket;
use crate::protocol::CloseCode;
use crate::server::ending::Ending;
use crate::server::frame_reader::{Decoder, Heard};

/// First bytes of whole frames.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// How far a WebSocket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Of a client who polls: the probe is next.
    Probe,
    /// The end of the upgrade is next.
    Upgrade,
    Open,
}

/// The reading of one WebSocket.
#[derive(Debug)]
pub(super) struct Intake {
    decoder: Decoder,
    stage: Stage,
    /// Frames that the engine has not taken. It holds no more than one read brings.
    for_engine: BytesMut,
    /// Came before the engine takes one.
    ping: Option<bytes::Bytes>,
    is_over: bool,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A packet of Socket.IO.
    Said(Str),
    /// Something for the engine.
    ForEngine,
    /// Nothing more will be read.
    Over,
    /// More bytes are needed.
    Wanting,
}

impl Intake {
    /// One of a client who polls or, else, of a new one.
    pub(super) fn new(is_upgrade: bool) -> Self {
        Self {
            decoder: Decoder::default(),
            stage: if is_upgrade { Stage::Probe } else { Stage::Open },
            for_engine: BytesMut::new(),
            ping: None,
            is_over: false,
        }
    }

    /// Bytes that came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
    }

    /// The next. The error is what to close with; nothing is read after it.
    pub(super) fn next(&mut self) -> Result<Step, CloseCode> {
        let step = self.try_next();
        self.is_over |= step.is_err();
        step
    }

    fn try_next(&mut self) -> Result<Step, CloseCode> {
        loop {
            if self.is_over {
                return Ok(Step::Over);
            }
            match self.decoder.next()? {
                None => return Ok(Step::Wanting),
                Some(Heard::Pong) => {}
                Some(Heard::Ping(payload)) if self.stage == Stage::Open => {
                    self.give(PING, &payload);
                    return Ok(Step::ForEngine);
                }
                // The engine takes nothing else in an upgrade.
                Some(Heard::Ping(payload)) => self.ping = Some(payload),
                Some(Heard::End(ending)) => {
                    self.is_over = true;
                    match ending {
                        Ending::Peer(Some(code)) => self.give(CLOSE, &code.to_be_bytes()),
                        _ => self.give(CLOSE, b""),
                    }
                    return Ok(Step::ForEngine);
                }
                Some(Heard::Text(text)) => match (self.stage, EnginePacket::read(&text)?) {
                    (Stage::Open, EnginePacket::Message(packet)) => return Ok(Step::Said(packet)),
                    // Told when anything comes.
                    (Stage::Open, EnginePacket::Alive) => {}
                    (_, EnginePacket::Close) => {
                        self.is_over = true;
                        self.give(TEXT, b"1");
                        return Ok(Step::ForEngine);
                    }
                    (Stage::Probe, EnginePacket::Probe) => {
                        self.stage = Stage::Upgrade;
                        self.give(TEXT, b"2probe");
                        return Ok(Step::ForEngine);
                    }
                    (Stage::Upgrade, EnginePacket::Upgrade) => {
                        self.stage = Stage::Open;
                        self.give(TEXT, b"5");
                        if let Some(payload) = self.ping.take() {
                            self.give(PING, &payload);
                        }
                        return Ok(Step::ForEngine);
                    }
                    _ => return Err(CloseCode::PROTOCOL),
                },
            }
        }
    }

    /// Tells the engine that its client is alive; when that is over is not for the engine to say.
    pub(super) fn is_alive(&mut self) {
        if self.stage == Stage::Open && !self.is_over {
            self.give(TEXT, b"3");
        }
    }

    /// A frame of a control frame's size, with a mask of zeros.
    fn give(&mut self, first: u8, payload: &[u8]) {
        self.for_engine.extend_from_slice(&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
        self.for_engine.extend_from_slice(payload);
    }

    /// Hands the engine what is there for it; `false`: nothing.
    pub(super) fn take(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let count = self.for_engine.len().min(buffer.remaining());
        if count == 0 {
            return false;
        }
        buffer.put_slice(&self.for_engine[..count]);
        self.for_engine.advance(count);
        if self.for_engine.is_empty() {
            // An idle connection keeps no room.
            self.for_engine = BytesMut::new();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&[TEXT, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
    }

    fn ping(payload: &[u8]) -> Vec<u8> {
        [&[PING, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
    }

    fn given(intake: &mut Intake) -> Vec<u8> {
        let mut bytes = [0; 1_000];
        let mut buffer = ReadBuf::new(&mut bytes);
        while intake.take(&mut buffer) {}
        buffer.filled().to_vec()
    }

    #[test]
    fn an_upgrade_comes_before_packets_and_pings() {
        let mut intake = Intake::new(true);
        intake.is_alive();
        let all = [ping(b"a"), text("2probe"), ping(b"b"), text("5"), text("42[]"), ping(b"c")];
        intake.push(&all.concat());
        assert_eq!(intake.next(), Ok(Step::ForEngine));
        assert_eq!(given(&mut intake), text("2probe"));
        assert_eq!(intake.next(), Ok(Step::ForEngine));
        assert_eq!(given(&mut intake), [text("5"), ping(b"b")].concat(), "the newest only");
        assert_eq!(intake.next(), Ok(Step::Said("2[]".into())));
        assert_eq!(intake.next(), Ok(Step::ForEngine));
        assert_eq!(given(&mut intake), ping(b"c"));
        assert_eq!(intake.next(), Ok(Step::Wanting));
        intake.is_alive();
        assert_eq!(given(&mut intake), text("3"));
    }

    #[test]
    fn what_may_not_stand_there_is_the_end() {
        for (is_upgrade, packet) in [
            (true, "5"),
            (true, "42[]"),
            (true, "2"),
            (false, "2probe"),
            (false, "5"),
            (false, "6"),
        ] {
            let mut intake = Intake::new(is_upgrade);
            intake.push(&[text(packet), text("42[]")].concat());
            assert_eq!(intake.next(), Err(CloseCode::PROTOCOL), "{packet}");
            assert_eq!(intake.next(), Ok(Step::Over));
            intake.is_alive();
            assert_eq!(given(&mut intake), b"");
        }
    }

    #[test]
    fn a_close_is_for_the_engine_and_the_last() {
        for close in [text("1"), [&[CLOSE, 0x82, 0, 0, 0, 0], &4_999u16.to_be_bytes()[..]].concat()]
        {
            let mut intake = Intake::new(false);
            intake.push(&[close.clone(), text("42[]")].concat());
            assert_eq!(intake.next(), Ok(Step::ForEngine));
            assert_eq!(given(&mut intake), close);
            assert_eq!(intake.next(), Ok(Step::Over));
        }
    }
}
