//! The head of a frame that a client sends (RFC 6455 §5.2), judged before anything of its payload is read.

use crate::model::LIMITS;
use crate::protocol::CloseCode;

/// Most bytes of a control frame's payload (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    /// Goes on with a message.
    Continuation,
    /// Text, or the beginning of one.
    Text,
    Close,
    Ping,
    Pong,
}

/// The head of a frame that may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) opcode: Opcode,
    /// The last of its message.
    pub(super) is_final: bool,
    pub(super) mask: [u8; 4],
    /// Bytes of the head itself.
    pub(super) bytes: usize,
    pub(super) payload_bytes: usize,
}

impl FrameHeader {
    /// Reads a head; `None`: there is not all of it yet. What is wrong is told as soon as it can be seen.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, CloseCode> {
        let &[first, second, ..] = bytes else { return Ok(None) };
        // No extension was agreed on that would give the reserved bits a meaning.
        if first & 0x70 != 0 {
            return Err(CloseCode::PROTOCOL);
        }
        let is_final = first & 0x80 != 0;
        let is_control = first & 0x08 != 0;
        let opcode = match first & 0x0f {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => None,
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xa => Some(Opcode::Pong),
            _ => return Err(CloseCode::PROTOCOL),
        };
        // §5.1: a frame of a client is masked.
        if second & 0x80 == 0 {
            return Err(CloseCode::PROTOCOL);
        }
        // The lengths of a control frame that has more than 125 bytes begin with 126 or 127.
        let short = u64::from(second & 0x7f);
        if is_control && (!is_final || short > CONTROL_BYTES_MAX) {
            return Err(CloseCode::PROTOCOL);
        }
        let Some(opcode) = opcode else { return Err(CloseCode::BINARY) };
        let (length, least, length_bytes) = match short {
            126 => match bytes.get(2..4) {
                Some(&[high, low]) => (u64::from(u16::from_be_bytes([high, low])), 126, 2),
                _ => return Ok(None),
            },
            127 => match bytes.get(2..10).map(<[u8; 8]>::try_from) {
                Some(Ok(length)) => (u64::from_be_bytes(length), 1 << 16, 8),
                _ => return Ok(None),
            },
            short => (short, 0, 0),
        };
        // The shortest form is the only one, and the top bit of the longest is zero.
        if length < least || length >> 63 != 0 {
            return Err(CloseCode::PROTOCOL);
        }
        let payload_bytes = usize::try_from(length).ok();
        let payload_bytes = payload_bytes.filter(|&length| length <= LIMITS.frame_bytes_max);
        let Some(payload_bytes) = payload_bytes else { return Err(CloseCode::TOO_LARGE) };
        let mask_at = 2 + length_bytes;
        let Some(mask) = bytes.get(mask_at..mask_at + 4) else { return Ok(None) };
        let mask = <[u8; 4]>::try_from(mask).unwrap_or_default();
        Ok(Some(Self { opcode, is_final, mask, bytes: mask_at + 4, payload_bytes }))
    }

    /// Takes the mask off (or puts it on).
    pub(super) fn unmask(&self, payload: &mut [u8]) {
        let mask = u32::from_ne_bytes(self.mask);
        let mut words = payload.chunks_exact_mut(4);
        for word in &mut words {
            if let Ok(bytes) = <[u8; 4]>::try_from(&*word) {
                word.copy_from_slice(&(u32::from_ne_bytes(bytes) ^ mask).to_ne_bytes());
            }
        }
        for (byte, mask) in words.into_remainder().iter_mut().zip(self.mask) {
            *byte ^= mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn text(payload_bytes: usize, bytes: usize) -> Result<Option<FrameHeader>, CloseCode> {
        let (opcode, is_final) = (Opcode::Text, true);
        Ok(Some(FrameHeader { opcode, is_final, mask: MASK, bytes, payload_bytes }))
    }

    #[rstest]
    #[case::empty(&[0x80], text(0, 6))]
    #[case::short(&[0x80 | 125], text(125, 6))]
    #[case::medium(&[0x80 | 126, 0, 126], text(126, 8))]
    #[case::medium_most(&[0x80 | 126, 0xff, 0xff], text(65_535, 8))]
    #[case::long(&[0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0], text(65_536, 14))]
    #[case::largest_but_one(&[0x80 | 127, 0, 0, 0, 0, 0, 1, 0xff, 0xff], text(131_071, 14))]
    #[case::largest(&[0x80 | 127, 0, 0, 0, 0, 0, 2, 0, 0], text(131_072, 14))]
    #[case::too_large(&[0x80 | 127, 0, 0, 0, 0, 0, 2, 0, 1], Err(CloseCode::TOO_LARGE))]
    #[case::not_the_shortest(&[0x80 | 126, 0, 125], Err(CloseCode::PROTOCOL))]
    #[case::not_the_shortest_long(&[0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Err(CloseCode::PROTOCOL))]
    #[case::top_bit(&[0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Err(CloseCode::PROTOCOL))]
    #[case::largest_number(&[0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Err(CloseCode::TOO_LARGE))]
    #[case::unmasked(&[0], Err(CloseCode::PROTOCOL))]
    fn lengths(#[case] length: &[u8], #[case] expected: Result<Option<FrameHeader>, CloseCode>) {
        let bytes = [&[0x81], length, &MASK, b"payload"].concat();
        assert_eq!(FrameHeader::parse(&bytes), expected);
        // Cut anywhere it is waited for, or already known to be wrong.
        let whole = 1 + length.len() + MASK.len();
        for cut in 0..whole {
            let early = FrameHeader::parse(&bytes[..cut]);
            assert!(
                early == Ok(None) || early == expected && expected.is_err(),
                "{cut}: {early:?}"
            );
        }
    }

    /// Every first byte, with an empty payload and with one of 126 bytes.
    #[test]
    fn first_bytes() {
        for first in 0..=255u8 {
            let parse = |second: &[u8]| {
                let header = FrameHeader::parse(&[&[first], second, &MASK].concat());
                header.map(|header| header.map(|header| header.payload_bytes))
            };
            let (reserved, opcode) = (first & 0x70 != 0, first & 0x0f);
            let is_final = first & 0x80 != 0;
            let expected = |length: usize| match opcode {
                _ if reserved => Err(CloseCode::PROTOCOL),
                0 | 1 => Ok(Some(length)),
                2 => Err(CloseCode::BINARY),
                8..=10 if is_final && length <= 125 => Ok(Some(length)),
                _ => Err(CloseCode::PROTOCOL),
            };
            assert_eq!(parse(&[0x80]), expected(0), "{first:#x}");
            assert_eq!(parse(&[0x80 | 125]), expected(125), "{first:#x}");
            assert_eq!(parse(&[0x80 | 126, 0, 126]), expected(126), "{first:#x}");
        }
    }

    #[test]
    fn a_mask_is_put_on_and_taken_off() {
        let Ok(Some(header)) = text(0, 6) else { unreachable!() };
        for length in 0..20u8 {
            let plain: Vec<u8> = (0..length).collect();
            let mut masked = plain.clone();
            header.unmask(&mut masked);
            for (at, (masked, plain)) in masked.iter().zip(&plain).enumerate() {
                assert_eq!(*masked, plain ^ MASK[at % 4]);
            }
            header.unmask(&mut masked);
            assert_eq!(masked, plain);
        }
    }
}
