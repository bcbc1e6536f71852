//! What an operator took back: all tokens of a user so far, or one token.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TokenId, UserName};

/// Whose access was taken away.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// A user: everything that was issued up to then.
    User(UserName),
    /// One token, by its `jti`.
    TokenId(TokenId),
}

/// A revocation. The same one may be heard of several times, and in any order: the newest wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Whose.
    #[serde(flatten)]
    pub revoked: Revoked,
    /// When, ms since 1970 by the clock of the node that was told. Of a user, what was issued at or before it is refused.
    pub at: u64,
    /// When no token that it concerns can be good any more, ms since 1970: it may be forgotten then.
    pub until: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_flat_object() {
        let user = Revoked::User(UserName::new("ann").unwrap());
        let revocation = Revocation { revoked: user, at: 5, until: 9 };
        let text = serde_json::to_string(&revocation).unwrap();
        assert_eq!(text, r#"{"user":"ann","at":5,"until":9}"#);
        assert_eq!(serde_json::from_str::<Revocation>(&text).unwrap(), revocation);
        let token = r#"{"token_id":"j-1","at":5,"until":9}"#;
        assert_eq!(
            serde_json::from_str::<Revocation>(token).unwrap().revoked,
            Revoked::TokenId(TokenId::new("j-1").unwrap())
        );
    }
}
