//! Parts of all conversations: what a bus divides them into, so that a loss concerns some and not all.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::ConvId;

/// Some of the parts that all conversations are divided into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    of: u32,
    numbers: BTreeSet<u32>,
}

impl Parts {
    /// These of `of` parts.
    pub fn new(of: u32, numbers: BTreeSet<u32>) -> Self {
        Self { of, numbers }
    }

    /// Whether a conversation is in one of them.
    pub fn contain(&self, conv: ConvId) -> bool {
        self.numbers.contains(&part_of(conv, self.of))
    }
}

/// The part, of `of` ones, that a conversation is in: the same on every node. 0 where there are none.
pub fn part_of(conv: ConvId, of: u32) -> u32 {
    // An id is a hash: its first bytes are as even as any.
    let mut first = [0; 4];
    first.copy_from_slice(&conv.as_bytes()[..4]);
    u32::from_be_bytes(first).checked_rem(of).unwrap_or(0)
}

/// Which conversations may have missed hints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concerned {
    /// Every one.
    All,
    /// Those of some parts.
    Parts(Arc<Parts>),
}

impl Concerned {
    /// Whether a conversation is among them.
    pub fn contain(&self, conv: ConvId) -> bool {
        match self {
            Self::All => true,
            Self::Parts(parts) => parts.contain(conv),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelName, Place};

    #[test]
    fn conversations_are_spread_evenly_and_each_is_in_one_part() {
        let conv = |number: u32| {
            Place::Channel(ChannelName::new(&format!("c{number}")).unwrap()).conv_id()
        };
        let mut counts = [0; 16];
        for number in 0..1_600 {
            counts[part_of(conv(number), 16) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
        let of = |numbers: &[u32]| Parts::new(16, numbers.iter().copied().collect());
        let part = part_of(conv(1), 16);
        assert!(of(&[part]).contain(conv(1)) && !of(&[part ^ 1]).contain(conv(1)));
        assert!(Concerned::All.contain(conv(1)));
        assert_eq!(part_of(conv(1), 0), 0);
    }
}
