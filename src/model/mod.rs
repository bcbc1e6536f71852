//! Plain types of the chat's domain: no I/O, no engine, no wire format.
//!
//! Everything above (engines, rules, frames, harness) speaks in these words.

mod ack_set;
mod cursor;
mod durability;
mod ids;
mod limits;
mod lives;
mod message;
mod revocation;
mod roster;
mod token;
mod unread;

pub use ack_set::{AckError, AckSet};
pub use cursor::{CURSOR_CHARACTERS_MAX, Cursor, CursorScope, Position};
pub use durability::{Durability, DurabilityParseError, Level};
pub use ids::{
    ChannelName, Cid, ConvId, Epoch, GroupId, InvalidName, MessageType, NodeId, Place, Seq,
    SeqRange, SessionId, TokenId, UserName,
};
pub use limits::{AllLimits, LIMITS, Limits, OperatorLimits, PONG_GRACE_MS};
pub use lives::Lives;
pub use message::{Message, Order, is_escaped};
pub use revocation::{Revocation, Revoked};
pub use roster::{GroupAct, GroupRefusal, Membership, Roster, life_number};
pub use token::Token;
pub use unread::{Count, UnreadCounts, UnreadScan};

/// Largest integer that every JSON reader holds exactly (2⁵³ − 1); the bound of all numbers in frames.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;
