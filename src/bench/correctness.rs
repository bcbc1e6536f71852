//! What was wrong, counted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts of broken promises. All zero is the only good state; `delivered` and `pages_checked`
/// tell how much was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Correctness {
    /// Deliveries that were as promised.
    pub delivered: u64,
    /// Pages that were looked at.
    pub pages_checked: u64,
    /// Acknowledged, and not delivered within the bound.
    pub lost: u64,
    /// Delivered again, or stored twice.
    pub duplicated: u64,
    /// Delivered after a message with a higher number.
    pub out_of_order: u64,
    /// A number in the stream that no message has.
    pub gaps: u64,
    /// The content is not what was sent.
    pub corrupt: u64,
    /// A message of another conversation.
    pub misrouted: u64,
    /// The reply to the sender and the delivery disagree about `seq`, `ts` or `late`; or a message
    /// that was definitely refused exists.
    pub contradicted: u64,
    /// A page lacks an acknowledged message that belongs on it.
    pub page_missing: u64,
    /// A page is not in `(ts, seq)` order, or repeats a message.
    pub page_unsorted: u64,
}

impl Correctness {
    /// The names and counts of what must be zero.
    pub fn violations(&self) -> [(&'static str, u64); 9] {
        [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("out_of_order", self.out_of_order),
            ("gaps", self.gaps),
            ("corrupt", self.corrupt),
            ("misrouted", self.misrouted),
            ("contradicted", self.contradicted),
            ("page_missing", self.page_missing),
            ("page_unsorted", self.page_unsorted),
        ]
    }

    /// What was wrong, for people: the names with a count above zero.
    pub fn shown_violations(&self) -> String {
        let violations = self.violations().into_iter().filter(|&(_, count)| count > 0);
        violations.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }

    /// Whether nothing was wrong.
    pub fn is_clean(&self) -> bool {
        self.violations().iter().all(|&(_, count)| count == 0)
    }

    /// Adds the counts of another part of the run.
    pub fn add(&mut self, other: &Self) {
        let Self {
            delivered,
            pages_checked,
            lost,
            duplicated,
            out_of_order,
            gaps,
            corrupt,
            misrouted,
            contradicted,
            page_missing,
            page_unsorted,
        } = other;
        self.delivered += delivered;
        self.pages_checked += pages_checked;
        self.lost += lost;
        self.duplicated += duplicated;
        self.out_of_order += out_of_order;
        self.gaps += gaps;
        self.corrupt += corrupt;
        self.misrouted += misrouted;
        self.contradicted += contradicted;
        self.page_missing += page_missing;
        self.page_unsorted += page_unsorted;
    }
}
