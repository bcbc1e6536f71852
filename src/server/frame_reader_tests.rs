//! Bytes in pieces of any size, against what they say.

use proptest::prelude::*;

use super::*;
use crate::model::LIMITS;

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// All that `bytes` say when they come in pieces of `piece`, and how it ends.
fn decode(bytes: &[u8], piece: usize) -> (Vec<Heard>, Option<CloseCode>) {
    let (mut decoder, mut heard) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(one)) => heard.push(one),
                Ok(None) => break,
                Err(code) => return (heard, Some(code)),
            }
        }
    }
    (heard, None)
}

fn text(text: &str) -> Heard {
    Heard::Text(text.to_owned().into())
}

#[test]
fn fragments_at_their_limits() {
    let pieces = |frames: usize, bytes: usize| -> Vec<u8> {
        let first = frame(0x01, &vec![b'x'; bytes]);
        let middle = frame(0x00, b"").repeat(frames - 2);
        [first, middle, frame(0x80, b"")].concat()
    };
    for frames in [2, LIMITS.fragments_max - 1, LIMITS.fragments_max] {
        assert_eq!(decode(&pieces(frames, 1), 100), (vec![text("x")], None), "{frames}");
    }
    let beyond = decode(&pieces(LIMITS.fragments_max + 1, 1), 100);
    assert_eq!(beyond, (vec![], Some(CloseCode::TOO_MANY_FRAGMENTS)));

    let halves = |bytes: usize| {
        let half = vec![b'x'; bytes / 2];
        [frame(0x01, &half), frame(0x80, &vec![b'x'; bytes - half.len()])].concat()
    };
    for bytes in [LIMITS.message_bytes_max - 1, LIMITS.message_bytes_max] {
        assert_eq!(decode(&halves(bytes), 5_000), (vec![text(&"x".repeat(bytes))], None));
    }
    let beyond = decode(&halves(LIMITS.message_bytes_max + 1), 5_000);
    assert_eq!(beyond, (vec![], Some(CloseCode::TOO_LARGE)));
}

#[test]
fn a_silent_connection_holds_no_buffer() {
    let mut decoder = Decoder::default();
    decoder.push(&frame(0x81, &[b'x'; 100_000]));
    assert!(matches!(decoder.next(), Ok(Some(Heard::Text(_)))));
    assert_eq!(decoder.next(), Ok(None));
    assert_eq!(decoder.buffer.capacity(), 0);
    // A head that promises much reserves nothing.
    decoder.push(&frame(0x81, &[b'x'; 100_000])[..20]);
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.buffer.capacity() < 1_000, "{}", decoder.buffer.capacity());
}

#[test]
fn what_is_wrong_shows_in_the_head() {
    // Not a byte of the payload has come.
    for (first, expected) in [
        (0xc1, CloseCode::PROTOCOL),
        (0x83, CloseCode::PROTOCOL),
        (0x82, CloseCode::BINARY),
        (0x80, CloseCode::PROTOCOL),
    ] {
        let bytes = &frame(first, &[0; 100])[..6];
        assert_eq!(decode(bytes, 1), (vec![], Some(expected)), "{first:#x}");
    }
    let unfinished = [frame(0x01, b"one"), frame(0x81, b"two")[..6].to_vec()].concat();
    assert_eq!(decode(&unfinished, 1), (vec![], Some(CloseCode::PROTOCOL)));
}

#[derive(Debug, Clone)]
enum Said {
    /// A text and where it is cut into frames.
    Text(String, Vec<usize>),
    Ping(Vec<u8>),
    Pong,
}

fn said() -> impl Strategy<Value = Said> {
    let cuts = prop::collection::vec(0..400usize, 0..5);
    prop_oneof![
        3 => (".{0,90}", cuts).prop_map(|(text, cuts)| Said::Text(text, cuts)),
        1 => prop::collection::vec(any::<u8>(), 0..=125).prop_map(Said::Ping),
        1 => Just(Said::Pong),
    ]
}

proptest! {
    /// Whatever the sizes of reads, fragments and characters are: the same is heard, and control frames between fragments come
    /// before the message that they interrupt.
    #[test]
    fn all_of_it_is_heard(all in prop::collection::vec(said(), 1..8), piece in 1..50usize) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for said in &all {
            match said {
                Said::Text(whole, cuts) => {
                    let mut cuts: Vec<_> = cuts.iter().map(|&cut| cut.min(whole.len())).collect();
                    cuts.sort_unstable();
                    let ends = cuts.iter().copied().chain([whole.len()]);
                    let starts = [0].into_iter().chain(cuts.iter().copied());
                    for (number, (start, end)) in starts.zip(ends).enumerate() {
                        let opcode = u8::from(number == 0);
                        let last = number == cuts.len();
                        let first = if last { 0x80 | opcode } else { opcode };
                        bytes.extend(frame(first, &whole.as_bytes()[start..end]));
                        if !last {
                            bytes.extend(frame(0x89, b"between"));
                            expected.push(Heard::Ping(Bytes::from_static(b"between")));
                        }
                    }
                    expected.push(text(whole));
                }
                Said::Ping(payload) => {
                    bytes.extend(frame(0x89, payload));
                    expected.push(Heard::Ping(payload.clone().into()));
                }
                Said::Pong => {
                    bytes.extend(frame(0x8a, b"?"));
                    expected.push(Heard::Pong);
                }
            }
        }
        prop_assert_eq!(decode(&bytes, piece), (expected, None));
    }

    /// Nothing makes it panic, and the size of reads makes no difference.
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1..40usize) {
        prop_assert_eq!(decode(&bytes, piece), decode(&bytes, 1_000));
    }

    /// Text or not: as the library sees it, wherever it is cut.
    #[test]
    fn only_text_is_text(bytes in prop::collection::vec(any::<u8>(), 0..12), cut in 0..12usize) {
        let cut = cut.min(bytes.len());
        let whole = std::str::from_utf8(&bytes).ok();
        let expected = match whole {
            Some(whole) => (vec![text(whole)], None),
            None => (vec![], Some(CloseCode::BAD_UTF8)),
        };
        let fragments = [frame(0x01, &bytes[..cut]), frame(0x80, &bytes[cut..])].concat();
        prop_assert_eq!(decode(&fragments, 64), expected);
    }
}
