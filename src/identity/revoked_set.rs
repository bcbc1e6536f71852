//! What this node knows to be revoked.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::Pass;
use crate::model::{Revocation, Revoked};

/// Revocations by whom they concern; of two of the same user or token the newest holds.
#[derive(Debug, Default)]
pub struct RevokedSet(RwLock<HashMap<Revoked, Entry>>);

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: u64,
    until: u64,
}

impl RevokedSet {
    /// Adds one, and forgets those that are over at `now` (ms since 1970).
    pub fn add(&self, revocation: &Revocation, now: u64) {
        let Revocation { revoked, at, until } = revocation.clone();
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, entry| entry.until > now);
        let entry = all.entry(revoked).or_insert(Entry { at, until });
        entry.at = entry.at.max(at);
        entry.until = entry.until.max(until);
    }

    /// Whether a pass is no longer good: its token was revoked, or its user after it was issued.
    pub fn forbids(&self, pass: &Pass) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return false;
        }
        let user = all.get(&Revoked::User(pass.user.clone()));
        let token = pass.token_id.clone().and_then(|id| all.get(&Revoked::TokenId(id)));
        token.is_some() || user.is_some_and(|entry| pass.issued <= entry.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{TokenId, UserName};

    fn pass(user: &str, issued: u64, token_id: Option<&str>) -> Pass {
        let token_id = token_id.map(|id| TokenId::new(id).unwrap());
        Pass { user: UserName::new(user).unwrap(), issued, end: None, token_id }
    }

    #[test]
    fn a_user_is_revoked_up_to_then_and_a_token_for_good() {
        let set = RevokedSet::default();
        assert!(!set.forbids(&pass("ann", 0, None)));
        let ann = Revoked::User(UserName::new("ann").unwrap());
        set.add(&Revocation { revoked: ann.clone(), at: 500, until: 9_000 }, 500);
        set.add(&Revocation { revoked: ann, at: 400, until: 8_000 }, 501);
        assert!(set.forbids(&pass("ann", 500, None)), "the newest holds");
        assert!(!set.forbids(&pass("ann", 501, Some("t"))));
        assert!(!set.forbids(&pass("bob", 0, Some("t"))));
        let token = Revoked::TokenId(TokenId::new("t").unwrap());
        set.add(&Revocation { revoked: token, at: 600, until: 700 }, 600);
        assert!(set.forbids(&pass("bob", 999, Some("t"))));
        let other = Revoked::TokenId(TokenId::new("other").unwrap());
        set.add(&Revocation { revoked: other, at: 800, until: 900 }, 800);
        assert!(!set.forbids(&pass("bob", 999, Some("t"))), "every such token has expired");
    }
}
