//! Content that proves where it belongs: corruption and misrouting show by themselves.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::model::{Cid, ConvId, Message, UserName};

/// Hex characters of the digest.
const DIGEST_CHARACTERS: usize = 16;

/// Characters of a conversation id.
const CONV_CHARACTERS: usize = ConvId::BYTES / 3 * 4;

/// What a message's content says that is not true of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentFault {
    /// Altered, cut, or under another `cid` or sender.
    Corrupt,
    /// Intact, but of another conversation.
    Misrouted,
}

/// Makes contents of one size: `conversation|sender|cid|digest|padding`. The digest (the first
/// 64 bits of a SHA-256) covers all the rest.
#[derive(Debug)]
pub struct ContentMaker {
    padding: String,
    size_bytes: usize,
}

impl ContentMaker {
    /// Least size that fits the header, for users and cids of at most these lengths.
    pub fn size_bytes_min(user_bytes_max: usize, cid_bytes_max: usize) -> usize {
        CONV_CHARACTERS + user_bytes_max + cid_bytes_max + DIGEST_CHARACTERS + 4
    }

    /// A maker of contents of `size_bytes`, with padding that `seed` decides.
    pub fn new(size_bytes: usize, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        // Twice the size, so that each message shows another part of it.
        let letter = |_| char::from(random.random_range(b'a'..=b'z'));
        Self { padding: (0..2 * size_bytes).map(letter).collect(), size_bytes }
    }

    /// The content of the message `cid` of `from` in `conv`; longer than asked only when the
    /// header alone is.
    pub fn make(&self, conv: ConvId, from: &UserName, cid: &Cid, variation: u64) -> String {
        let header = format!("{conv}|{from}|{cid}|");
        let length = self.size_bytes.saturating_sub(header.len() + DIGEST_CHARACTERS + 1);
        let span = (self.padding.len() - length + 1) as u64;
        let start = (variation.wrapping_mul(31) % span) as usize;
        let padding = &self.padding[start..start + length];
        format!("{header}{}|{padding}", digest(&[&header, padding]))
    }
}

/// Checks that `message`, received in `conv`, is what its content says.
pub fn check_content(conv: ConvId, message: &Message) -> Result<(), ContentFault> {
    let content = message.content.as_str();
    let mut parts = content.splitn(5, '|');
    let (Some(of), Some(from), Some(cid), Some(proof), Some(padding)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ContentFault::Corrupt);
    };
    let header = &content[..of.len() + from.len() + cid.len() + 3];
    if proof != digest(&[header, padding])
        || from != message.from.as_str()
        || cid != message.cid.as_str()
    {
        return Err(ContentFault::Corrupt);
    }
    if ConvId::parse(of) == Some(conv) { Ok(()) } else { Err(ContentFault::Misrouted) }
}

/// The digest of a message as a history records it: of its type and of the whole content. The content
/// names conversation, sender and `cid`, so a message that shows up elsewhere has a digest that
/// was only ever sent there, and no two messages of a run have the same.
pub fn message_digest(kind: &str, content: &str) -> String {
    digest(&[kind, "|", content])
}

/// Whether `text` has a content of [`ContentMaker`] in it, or enough of one: its digest between two bars.
pub fn holds_content(text: &[u8]) -> bool {
    let bars = text.iter().enumerate().filter(|(_, byte)| **byte == b'|');
    bars.map(|(at, _)| &text[at + 1..]).any(|after| {
        after.get(DIGEST_CHARACTERS) == Some(&b'|')
            && after[..DIGEST_CHARACTERS].iter().all(u8::is_ascii_hexdigit)
    })
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let bytes = hash.finalize();
    let number = bytes[..8].iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
    format!("{number:016x}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::{MessageType, Place, Seq};

    pub(crate) fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    pub(crate) fn conv(one: &str, other: &str) -> ConvId {
        Place::direct(user(one), user(other)).conv_id()
    }

    /// Message `seq` of `from` in `conv`, as a correct server would deliver it.
    pub(crate) fn message(conv: ConvId, from: &str, seq: u64) -> Message {
        let (from, cid) = (user(from), Cid::new(&format!("c{seq}")).unwrap());
        let content = ContentMaker::new(120, 7).make(conv, &from, &cid, seq);
        let kind = MessageType::new("text").unwrap();
        let ts = 1_000 + seq;
        Message { seq: Seq(seq), from, cid, kind, content, ts, at: ts, late: false }
    }

    #[test]
    fn any_altered_byte_shows() {
        let conv = conv("ann", "bob");
        let good = message(conv, "ann", 1);
        assert_eq!(good.content.len(), 120);
        assert_eq!(check_content(conv, &good), Ok(()));
        for at in 0..good.content.len() {
            let mut bytes = good.content.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let altered = Message { content: String::from_utf8(bytes).unwrap(), ..good.clone() };
            assert_eq!(check_content(conv, &altered), Err(ContentFault::Corrupt), "byte {at}");
        }
        let cut = Message { content: good.content[..119].to_owned(), ..good.clone() };
        assert_eq!(check_content(conv, &cut), Err(ContentFault::Corrupt));
        let renamed = Message { cid: Cid::new("c2").unwrap(), ..good };
        assert_eq!(check_content(conv, &renamed), Err(ContentFault::Corrupt));
    }

    #[test]
    fn a_content_is_found_in_a_line() {
        let content = message(conv("ann", "bob"), "ann", 1).content;
        let line = format!("WARN refused content={content:?} of ann");
        assert!(holds_content(line.as_bytes()));
        assert!(holds_content(&content.as_bytes()[..90]));
        for clean in ["", "a|b|c", "|0123456789abcdef", "0123456789abcdef|", "|0123456789abcdeg|"] {
            assert!(!holds_content(clean.as_bytes()), "{clean}");
        }
    }

    #[test]
    fn an_intact_message_elsewhere_is_misrouted() {
        let foreign = message(conv("ann", "bob"), "ann", 1);
        let here = conv("ann", "cid");
        assert_eq!(check_content(here, &foreign), Err(ContentFault::Misrouted));
    }
}
