//! Packets of Engine.IO, as clients send them.

use engineioxide::Str;

use crate::protocol::CloseCode;

/// What a client's packet is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EnginePacket {
    /// Holds a packet of Socket.IO.
    Message(Str),
    /// A ping or a pong: it is there.
    Alive,
    /// Leaves.
    Close,
    /// Tries a WebSocket in the place of polling.
    Probe,
    /// From now on goes by that WebSocket.
    Upgrade,
}

impl EnginePacket {
    /// Reads one. Total; the error is what to close with.
    pub(super) fn read(text: &str) -> Result<Self, CloseCode> {
        if let Some(message) = text.strip_prefix('4') {
            return Ok(Self::Message(Str::copy_from_slice(message)));
        }
        match text.as_bytes() {
            b"2probe" => Ok(Self::Probe),
            b"5" => Ok(Self::Upgrade),
            [b'2' | b'3', ..] => Ok(Self::Alive),
            [b'1', ..] => Ok(Self::Close),
            // Bytes in base64.
            [b'b', ..] => Err(CloseCode::BINARY),
            _ => Err(CloseCode::PROTOCOL),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("42[]", Ok(EnginePacket::Message("2[]".into())))]
    #[case("4", Ok(EnginePacket::Message("".into())))]
    #[case("4é", Ok(EnginePacket::Message("é".into())))]
    #[case("2", Ok(EnginePacket::Alive))]
    #[case("3", Ok(EnginePacket::Alive))]
    #[case("3probe", Ok(EnginePacket::Alive))]
    #[case("1", Ok(EnginePacket::Close))]
    #[case("2probe", Ok(EnginePacket::Probe))]
    #[case("5", Ok(EnginePacket::Upgrade))]
    #[case("bAAAA", Err(CloseCode::BINARY))]
    #[case("b", Err(CloseCode::BINARY))]
    #[case("", Err(CloseCode::PROTOCOL))]
    #[case("0{}", Err(CloseCode::PROTOCOL))]
    #[case("6", Err(CloseCode::PROTOCOL))]
    #[case("9", Err(CloseCode::PROTOCOL))]
    #[case("é", Err(CloseCode::PROTOCOL))]
    fn packets(#[case] text: &str, #[case] expected: Result<EnginePacket, CloseCode>) {
        assert_eq!(EnginePacket::read(text), expected);
    }
}
