//! What a good token grants.

use crate::model::{TokenId, UserName};

/// Who somebody is, and for how long that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Who.
    pub user: UserName,
    /// When that was said: the token's `iat`, or the `hello` where there is no token; ms since 1970.
    pub issued: u64,
    /// Until when it holds; `None`: without end, because there is no token.
    pub end: Option<PassEnd>,
    /// The token's own name, if it has one.
    pub token_id: Option<TokenId>,
}

/// The end of a pass, ms since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassEnd {
    /// The token's `exp`, as clients are told.
    pub expires: u64,
    /// When it counts no more: `exp` and the leeway.
    pub closes: u64,
}

impl Pass {
    /// Of somebody who need not prove it, from `now` on.
    pub fn unproven(user: UserName, now: u64) -> Self {
        Self { user, issued: now, end: None, token_id: None }
    }
}
