//! Where things stand in the tables: keys sort in the order in which they are read.

use crate::model::{Cid, ConvId, Seq, UserName};

/// The tables of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `conv seq` → the message. History by number, and the truth.
    Messages,
    /// `conv ts seq` → nothing. History by time.
    ByTime,
    /// `conv seq` → the sender. The late messages.
    Late,
    /// `conv sender cid` → `seq`. What makes a send idempotent; kept as long as its message.
    Dedupe,
    /// `conv user` → the acknowledgement. Its presence says that the conversation was opened.
    Acks,
    /// `user order conv` → the place. A user's conversations in the order they became theirs.
    Mine,
    /// `user conv` → nothing. Whether a conversation is in [`Table::Mine`].
    IsMine,
    /// `conv` → the roster of a group.
    Rosters,
}

impl Table {
    /// All tables, each at the index of its discriminant.
    pub const ALL: [Self; 8] = [
        Self::Messages,
        Self::ByTime,
        Self::Late,
        Self::Dedupe,
        Self::Acks,
        Self::Mine,
        Self::IsMine,
        Self::Rosters,
    ];

    /// The name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::ByTime => "by_time",
            Self::Late => "late",
            Self::Dedupe => "dedupe",
            Self::Acks => "acks",
            Self::Mine => "mine",
            Self::IsMine => "is_mine",
            Self::Rosters => "rosters",
        }
    }
}

/// Key of [`Table::Messages`] and [`Table::Late`].
pub fn by_seq(conv: ConvId, seq: Seq) -> [u8; ConvId::BYTES + 8] {
    let mut key = [0; ConvId::BYTES + 8];
    let (place, number) = key.split_at_mut(ConvId::BYTES);
    place.copy_from_slice(conv.as_bytes());
    number.copy_from_slice(&seq.0.to_be_bytes());
    key
}

/// Key of [`Table::ByTime`].
pub fn by_time(conv: ConvId, (ts, seq): (u64, Seq)) -> [u8; ConvId::BYTES + 16] {
    let mut key = [0; ConvId::BYTES + 16];
    let (place, position) = key.split_at_mut(ConvId::BYTES);
    place.copy_from_slice(conv.as_bytes());
    position.copy_from_slice(&((u128::from(ts) << 64) | u128::from(seq.0)).to_be_bytes());
    key
}

/// Key of [`Table::Dedupe`]. The sender is length-prefixed, so that no two pairs share a key.
pub fn dedupe(conv: ConvId, sender: &UserName, cid: &Cid) -> Vec<u8> {
    let sender = sender.as_str().as_bytes();
    [conv.as_bytes().as_slice(), &[sender.len() as u8], sender, cid.as_str().as_bytes()].concat()
}

/// Key of [`Table::Acks`].
pub fn acks(conv: ConvId, user: &UserName) -> Vec<u8> {
    [conv.as_bytes().as_slice(), user.as_str().as_bytes()].concat()
}

/// Key of [`Table::Rosters`].
pub fn roster(conv: ConvId) -> Vec<u8> {
    conv.as_bytes().to_vec()
}

/// Key of [`Table::Mine`]; `order` grows with time.
pub fn mine(user: &UserName, order: u64, conv: ConvId) -> Vec<u8> {
    [user_prefix(user).as_slice(), &order.to_be_bytes(), conv.as_bytes()].concat()
}

/// Key of [`Table::IsMine`].
pub fn is_mine(user: &UserName, conv: ConvId) -> Vec<u8> {
    [user_prefix(user).as_slice(), conv.as_bytes()].concat()
}

/// What all keys of a user in [`Table::Mine`] begin with: length-prefixed, so that no name is
/// the prefix of another.
pub fn user_prefix(user: &UserName) -> Vec<u8> {
    let name = user.as_str().as_bytes();
    [&[name.len() as u8], name].concat()
}

/// The last eight bytes as a number: `seq` in the keys of messages.
pub fn trailing_seq(key: &[u8]) -> Option<Seq> {
    let bytes = key.get(key.len().checked_sub(8)?..)?;
    Some(Seq(u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// The last bytes as a conversation: in the keys of [`Table::Mine`].
pub fn trailing_conv(key: &[u8]) -> Option<ConvId> {
    ConvId::from_bytes(key.get(key.len().checked_sub(ConvId::BYTES)?..)?)
}

/// The user, the order and the conversation of a key of [`Table::Mine`].
pub fn split_mine(key: &[u8]) -> Option<(UserName, u64, ConvId)> {
    let (length, rest) = key.split_first()?;
    let (user, rest) = rest.split_at_checked(usize::from(*length))?;
    let (order, conv) = rest.split_at_checked(8)?;
    let user = UserName::new(std::str::from_utf8(user).ok()?).ok()?;
    Some((user, u64::from_be_bytes(order.try_into().ok()?), ConvId::from_bytes(conv)?))
}

/// The conversation and user of a key of [`Table::Acks`].
pub fn split_acks(key: &[u8]) -> Option<(ConvId, UserName)> {
    let (conv, user) = key.split_at_checked(ConvId::BYTES)?;
    Some((ConvId::from_bytes(conv)?, UserName::new(std::str::from_utf8(user).ok()?).ok()?))
}
