//! A cursor that a client shows.

use super::{split_first, split_number};
use crate::model::{
    ChannelName, ConvId, Cursor, CursorScope, Order, Place, Position, Seq, UserName,
};

/// A byte for the request, two numbers of it, then the text. What is taken for a cursor is one that we make, and of this request only.
pub fn cursor(input: &[u8]) {
    let (kind, rest) = split_first(input);
    let (one, rest) = split_number(rest);
    let (two, rest) = split_number(rest);
    let text = String::from_utf8_lossy(rest);
    let (Ok(user), Ok(channel)) = (UserName::new("ann"), ChannelName::new("c")) else { return };
    let conv = Place::Channel(channel).conv_id();
    let asked = scope(kind, conv, &user, (one, two));
    if let Some(position) = Cursor::decode(&asked, &text) {
        assert_eq!(Cursor::encode(&asked, position), text, "a cursor has one form");
    }
    let position = Position { time: one, seq: Seq(two) };
    let made = Cursor::encode(&asked, position);
    assert_eq!(Cursor::decode(&asked, &made), Some(position));
    let other = scope(kind % 5 + 1, conv, &user, (one, two));
    assert_eq!(Cursor::decode(&other, &made), None, "of another request");
    // One that is altered somewhere.
    let mut altered = made.clone().into_bytes();
    for (byte, change) in altered.iter_mut().zip(rest) {
        *byte ^= change;
    }
    let altered = String::from_utf8_lossy(&altered);
    if altered != made {
        assert_eq!(Cursor::decode(&asked, &altered), None, "{altered} is not {made}");
    }
}

fn scope(kind: u8, conv: ConvId, user: &UserName, (one, two): (u64, u64)) -> CursorScope<'_> {
    match kind % 5 {
        0 => CursorScope::Range { conv, from: one, to: two, order: Order::Asc },
        1 => CursorScope::Range { conv, from: one, to: two, order: Order::Desc },
        2 => CursorScope::After { conv, after_seq: Seq(one) },
        3 => CursorScope::Late { conv, user },
        _ => CursorScope::List { user },
    }
}
