//! What users have acknowledged, and whose a conversation is.

use std::collections::BTreeMap;

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
    pub said: BTreeMap<u64, AckSet>,
}

impl Mergeable for Acks {
    const WHAT: &'static str = "an acknowledgement";

    fn is_sound(&self) -> bool {
        let joined = self.joined.map_or(Seq::ZERO, |(seq, _)| seq);
        joined.0 < INTEGER_MAX
            && self.said.values().all(|said| said.up_to.0 < INTEGER_MAX && said.is_normal())
    }

    fn merge(&mut self, other: Self) {
        self.mine = [self.mine, other.mine].into_iter().flatten().min();
        // Who joined twice at once began where less was read.
        self.joined = [self.joined, other.joined].into_iter().flatten().min();
        for (generation, said) in &other.said {
            self.say(*generation, said);
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
        let said = self.said.entry(generation).or_default();
        *said = union(said, acked);
    }

    /// The union, of what is left after the store's lives; `None` before the first open.
    pub fn set(&self, conversation: &Conversation) -> Option<AckSet> {
        if self.joined.is_none() && self.said.is_empty() {
            return None;
        }
        let joined = self.joined.map(|(seq, generation)| (generation, AckSet::up_to(seq)));
        let said =
            self.said.iter().map(|(generation, said)| conversation.left_of(said, *generation));
        let left =
            joined.iter().map(|(generation, joined)| conversation.left_of(joined, *generation));
        Some(left.chain(said).fold(AckSet::default(), |all, left| union(&all, &left)))
    }

    /// The highest number that was acknowledged in a life, before any cut.
    pub fn top(&self, generation: u64) -> Seq {
        let joined = self.joined.filter(|(_, life)| *life == generation);
        let ends = self.said.get(&generation).into_iter().map(|said| {
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
