//! What users have acknowledged, and whose a conversation is.

use serde::{Deserialize, Serialize};

use super::conversation::Conversation;
use super::shared::Mergeable;
use crate::model::{AckSet, ConvId, INTEGER_MAX, Seq, UserName};
use crate::riak_link::Place;

/// What is stored of one user in one conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acks {
    /// Where the first open or message began, and in which life.
    pub joined: Option<(Seq, u64)>,
    /// The conversation is theirs; by the call of this tag.
    pub mine: Option<u64>,
    /// What was acknowledged in each life.
    pub said: Vec<Said>,
}

/// What was acknowledged in one life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The life.
    pub generation: u64,
    /// All at or below.
    pub up_to: Seq,
    /// Half-open ranges above.
    pub ranges: Vec<(Seq, Seq)>,
}

impl Mergeable for Acks {
    const WHAT: &'static str = "an acknowledgement";

    fn is_sound(&self) -> bool {
        let set = |said: &Said| AckSet { up_to: said.up_to, ranges: said.ranges.clone() };
        let joined = self.joined.map_or(Seq::ZERO, |(seq, _)| seq);
        joined.0 < INTEGER_MAX
            && self.said.iter().all(|said| said.up_to.0 < INTEGER_MAX && set(said).is_normal())
    }

    fn merge(&mut self, other: Self) {
        self.mine = match (self.mine, other.mine) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        // Who joined twice at once began where less was read.
        self.joined = match (self.joined, other.joined) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        for said in other.said {
            self.say(said.generation, &AckSet { up_to: said.up_to, ranges: said.ranges });
        }
    }
}

impl Acks {
    /// The conversation becomes theirs, unless it is; whether it was by the call of this tag.
    pub fn become_mine(&mut self, tag: u64) -> bool {
        *self.mine.get_or_insert(tag) == tag
    }

    /// Adds what was acknowledged in a life.
    pub fn say(&mut self, generation: u64, acked: &AckSet) {
        let at = self.said.iter().position(|said| said.generation == generation);
        let at = at.unwrap_or_else(|| {
            self.said.push(Said { generation, ..Said::default() });
            self.said.sort_by_key(|said| said.generation);
            self.said.iter().position(|said| said.generation == generation).unwrap_or_default()
        });
        if let Some(said) = self.said.get_mut(at) {
            let before = AckSet { up_to: said.up_to, ranges: said.ranges.clone() };
            let AckSet { up_to, ranges } = union(&before, acked);
            (said.up_to, said.ranges) = (up_to, ranges);
        }
    }

    /// The union, of what is left after the store's lives; `None` before the first open.
    pub fn set(&self, conversation: &Conversation) -> Option<AckSet> {
        if self.joined.is_none() && self.said.is_empty() {
            return None;
        }
        let joined = self.joined.map(|(seq, generation)| (AckSet::up_to(seq), generation));
        let said = self.said.iter().map(|said| {
            (AckSet { up_to: said.up_to, ranges: said.ranges.clone() }, said.generation)
        });
        let left = joined.into_iter().chain(said);
        let left = left.map(|(acked, generation)| conversation.left_of(&acked, generation));
        Some(left.fold(AckSet::default(), |all, left| union(&all, &left)))
    }

    /// The highest number that was acknowledged in a life, before any cut.
    pub fn top(&self, generation: u64) -> Seq {
        let joined = self.joined.filter(|(_, life)| *life == generation);
        let said = self.said.iter().filter(|said| said.generation == generation);
        let ends = said.map(|said| {
            let last = said.ranges.last().map_or(0, |(_, hi)| hi.0.saturating_sub(1));
            said.up_to.max(Seq(last))
        });
        ends.fold(joined.map_or(Seq::ZERO, |(seq, _)| seq), Seq::max)
    }
}

fn union(one: &AckSet, other: &AckSet) -> AckSet {
    // Above no head, and as many ranges as there are: a union fails in no other way.
    let merged = one.merged(other.up_to, &other.ranges, Seq(u64::MAX), usize::MAX);
    merged.unwrap_or_else(|_| one.clone())
}

/// Where it is.
pub fn place(conv: ConvId, user: &UserName) -> Place {
    Place { bucket: format!("acks-{conv}"), key: user.to_string() }
}
