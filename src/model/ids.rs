//! Names and identities. Each is checked once, where it enters, and is then a type of its own.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Why a string is not a name of the asked kind; the text says what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {expected}")]
pub struct InvalidName {
    /// What the kind of name allows, for people.
    pub expected: &'static str,
}

macro_rules! name_type {
    ($(#[doc = $doc:literal])* $name:ident, $least:literal..=$most:literal, $expected:literal, $allowed:expr) => {
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the rules of this kind of name.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                let allowed: fn(u8) -> bool = $allowed;
                if !matches!(text.len(), $least..=$most) || !text.bytes().all(allowed) {
                    return Err(InvalidName { expected: $expected });
                }
                Ok(Self(Arc::from(text)))
            }

            /// The name as it stands in frames and keys.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                text_schema(concat!($($doc),*), ($least, $most), $allowed)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(&text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// The schema of a text of so many characters, each of them allowed.
fn text_schema(
    description: &str,
    (least, most): (usize, usize),
    allowed: fn(u8) -> bool,
) -> Schema {
    json_schema!({
        "type": "string",
        "description": description.trim(),
        "minLength": least,
        "maxLength": most,
        "pattern": format!("^[{}]*$", character_class(allowed)),
    })
}

/// What stands between the brackets of a regular expression for these bytes.
fn character_class(allowed: fn(u8) -> bool) -> String {
    let escaped = |byte: u8| {
        let character = char::from(byte);
        if matches!(character, '-' | '^' | '\\' | '[' | ']') {
            format!("\\{character}")
        } else {
            character.to_string()
        }
    };
    let mut class = String::new();
    let mut byte = 0;
    while byte < 128 {
        let length = (byte..128).take_while(|&byte| allowed(byte)).count() as u8;
        let last = byte + length.saturating_sub(1);
        match length {
            0 => {}
            1 => class += &escaped(byte),
            2 => class += &(escaped(byte) + &escaped(last)),
            _ => class += &format!("{}-{}", escaped(byte), escaped(last)),
        }
        byte += length + 1;
    }
    class
}

fn is_visible(byte: u8) -> bool {
    (0x21..=0x7e).contains(&byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'+' | b'-')
}

name_type!(
    /// Who somebody is: the name that stands in `from`.
    UserName, 1..=64, "1 to 64 characters of A-Z a-z 0-9 . _ @ + -", is_name_byte
);
name_type!(
    /// A public channel.
    ChannelName, 1..=64, "1 to 64 characters of A-Z a-z 0-9 . _ @ + -", is_name_byte
);
name_type!(
    /// A private group: random, 22 characters of URL-safe base64.
    GroupId, 22..=22, "22 characters of A-Z a-z 0-9 _ -",
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
);
name_type!(
    /// The client's name for one message of its own: what makes a send idempotent.
    Cid, 1..=64, "1 to 64 visible ASCII characters", is_visible
);
name_type!(
    /// What kind of content a message has; the server never looks inside.
    MessageType, 1..=32, "1 to 32 characters of a-z 0-9 . _ -",
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
);
name_type!(
    /// Which life of a conversation store numbers belong to; opaque, at most 32 characters.
    Epoch, 1..=32, "1 to 32 visible ASCII characters", is_visible
);
name_type!(
    /// One running server process; opaque.
    NodeId, 1..=64, "1 to 64 visible ASCII characters", is_visible
);
name_type!(
    /// One connected device of a user; opaque.
    SessionId, 1..=64, "1 to 64 visible ASCII characters", is_visible
);

name_type!(
    /// What tells one token from all others (`jti`).
    TokenId, 1..=128, "1 to 128 visible ASCII characters", is_visible
);

macro_rules! generated_id {
    ($name:ident) => {
        impl $name {
            /// A fresh one, unlike every other (UUID version 7).
            pub fn generate() -> Self {
                Self(Arc::from(uuid::Uuid::now_v7().simple().to_string()))
            }
        }
    };
}
impl GroupId {
    /// A fresh one that nobody can guess: 128 random bits.
    pub fn generate() -> Self {
        let bytes: [u8; 16] = rand::random();
        Self(Arc::from(URL_SAFE_NO_PAD.encode(bytes)))
    }
}

generated_id!(NodeId);
generated_id!(SessionId);
generated_id!(Epoch);
generated_id!(TokenId);

/// Bytes of a [`ConvId`]: 144 bits, so that base64 needs no padding and a second place with the
/// same id takes 2¹⁴⁴ tries to construct.
const CONV_ID_BYTES: usize = 18;
/// As base64.
const CONV_ID_CHARACTERS: usize = CONV_ID_BYTES / 3 * 4;

/// The identity of a conversation, derived from its [`Place`]: a truncated SHA-256 over the kind
/// and the length-prefixed, sorted parts. 24 characters in frames, 18 bytes in keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConvId([u8; CONV_ID_BYTES]);

impl ConvId {
    /// How many bytes [`ConvId::as_bytes`] has.
    pub const BYTES: usize = CONV_ID_BYTES;

    /// The most characters that a client must be ready for: the form is opaque to it.
    pub const CHARACTERS_MAX: usize = 32;

    /// Whether clients may take this text for an id of any server.
    pub fn is_opaque_form(text: &str) -> bool {
        (1..=Self::CHARACTERS_MAX).contains(&text.len()) && text.bytes().all(is_visible)
    }

    /// Reads the form that stands in frames; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; CONV_ID_BYTES];
        // 24 characters decode to exactly 18 bytes; the length is checked first because the decoder
        // wants room for its estimate.
        if text.len() != CONV_ID_CHARACTERS {
            return None;
        }
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == CONV_ID_BYTES).then_some(Self(bytes))
    }

    /// Appends the form that stands in frames, without quotes.
    pub fn write_to(&self, text: &mut String) {
        let mut characters = [0; CONV_ID_CHARACTERS];
        // It has exactly the room that it takes, and base64 is ASCII.
        let length = URL_SAFE_NO_PAD.encode_slice(self.0, &mut characters).unwrap_or_default();
        text.push_str(str::from_utf8(&characters[..length]).unwrap_or_default());
    }

    /// The id as key bytes.
    pub fn as_bytes(&self) -> &[u8; CONV_ID_BYTES] {
        &self.0
    }

    /// Takes back what [`ConvId::as_bytes`] gave; `None` when the length is another.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for ConvId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for ConvId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConvId({self})")
    }
}

impl JsonSchema for ConvId {
    fn schema_name() -> Cow<'static, str> {
        "ConvId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let description = "The identity of a conversation, opaque; `open` answers it.";
        text_schema(description, (1, Self::CHARACTERS_MAX), is_visible)
    }
}

impl Serialize for ConvId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConvId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a conversation id"))
    }
}

/// What a conversation *is*, before it has an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Two users, in sorted order; the same name twice is notes to oneself. Build with [`Place::direct`].
    Direct(UserName, UserName),
    /// Named and public.
    Channel(ChannelName),
    /// Private and invited.
    Group(GroupId),
}

impl Place {
    /// The direct chat of two users, whoever asks.
    pub fn direct(one: UserName, other: UserName) -> Self {
        if one <= other { Self::Direct(one, other) } else { Self::Direct(other, one) }
    }

    /// The identity of this place; the same on every node and after every restart.
    pub fn conv_id(&self) -> ConvId {
        let (kind, parts): (u8, [&str; 2]) = match self {
            Self::Direct(one, other) => (1, [one.as_str(), other.as_str()]),
            Self::Channel(name) => (2, [name.as_str(), ""]),
            Self::Group(id) => (3, [id.as_str(), ""]),
        };
        let mut hash = Sha256::new();
        hash.update([kind]);
        for part in parts {
            hash.update((part.len() as u32).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut bytes = [0; CONV_ID_BYTES];
        bytes.copy_from_slice(&digest[..CONV_ID_BYTES]);
        ConvId(bytes)
    }

    /// The two users of a direct chat (once, when they are the same); nobody for other kinds.
    pub fn participants(&self) -> impl Iterator<Item = &UserName> {
        let (one, other) = match self {
            Self::Direct(one, other) => (Some(one), (one != other).then_some(other)),
            Self::Channel(_) | Self::Group(_) => (None, None),
        };
        one.into_iter().chain(other)
    }

    /// The other user of a direct chat as `user` sees it (oneself in notes); `None` for other kinds.
    pub fn peer_of(&self, user: &UserName) -> Option<&UserName> {
        match self {
            Self::Direct(one, other) => Some(if one == user { other } else { one }),
            Self::Channel(_) | Self::Group(_) => None,
        }
    }
}

/// A message's number in its conversation: 1, 2, 3 … without gaps. 0 stands for "before the first".
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// The schema of a half-open range `[lo, hi)` of numbers, which is a pair in our own types; `lo < hi`.
#[derive(Debug)]
pub struct SeqRange;

impl JsonSchema for SeqRange {
    fn schema_name() -> Cow<'static, str> {
        "SeqRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "description": "A half-open range `[lo, hi)` of numbers with `lo < hi`.",
            "items": {"type": "integer", "minimum": 1, "maximum": super::INTEGER_MAX},
            "minItems": 2,
            "maxItems": 2,
        })
    }
}

impl Seq {
    /// Before the first message.
    pub const ZERO: Self = Self(0);

    /// The number that follows.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_chat_is_the_same_from_both_sides() {
        let (ann, bob) = (UserName::new("ann").unwrap(), UserName::new("bob").unwrap());
        let one = Place::direct(ann.clone(), bob.clone());
        assert_eq!(one, Place::direct(bob, ann));
        assert_eq!(ConvId::parse(&one.conv_id().to_string()), Some(one.conv_id()));
    }

    #[test]
    fn parts_are_length_prefixed_so_that_shifted_names_differ() {
        let direct = |one: &str, other: &str| {
            Place::direct(UserName::new(one).unwrap(), UserName::new(other).unwrap()).conv_id()
        };
        assert_ne!(direct("a", "bc"), direct("ab", "c"));
        let channel = Place::Channel(ChannelName::new("a").unwrap()).conv_id();
        assert_ne!(direct("a", "a"), channel);
    }

    #[test]
    fn the_characters_of_a_name_are_a_pattern() {
        assert_eq!(character_class(is_name_byte), r"+\-.0-9@-Z_a-z");
        assert_eq!(character_class(is_visible), "!-~");
        assert_eq!(character_class(|byte| matches!(byte, b'[' | b']' | b'^')), r"\[\]\^");
        assert_eq!(character_class(|byte| byte > 125), "~\u{7f}");
    }

    #[test]
    fn names_are_checked() {
        assert!(UserName::new("").is_err());
        assert!(UserName::new("a\0b").is_err());
        assert!(UserName::new(&"x".repeat(64)).is_ok());
        assert!(UserName::new(&"x".repeat(65)).is_err());
        assert!(Cid::new("with space").is_err());
        assert!(Cid::new("!~").is_ok());
        assert!(MessageType::new("Text").is_err());
        assert_eq!(GroupId::new(GroupId::generate().as_str()).unwrap().as_str().len(), 22);
        assert!(GroupId::new(&"x".repeat(21)).is_err() && GroupId::new(&"x".repeat(23)).is_err());
        assert_eq!(ConvId::parse("short"), None);
        assert_eq!(ConvId::parse(&"é".repeat(12)), None);
    }
}
