//! What clients of this process show at `hello`.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::ClientError;
use crate::identity::{Grant, Signer};
use crate::model::{Token, TokenId, UserName};

/// What a client shows: its user's name, or a token that is made for it.
#[derive(Clone, Default)]
pub struct Credentials(Option<Arc<TokenMaker>>);

/// Makes a token for each client, all alike but for the user and the token's own name.
#[derive(Debug)]
pub struct TokenMaker {
    /// Signs them.
    pub signer: Signer,
    /// What they say; the user and the token's name are each client's own.
    pub grant: Grant,
}

static OF_PROCESS: OnceLock<Credentials> = OnceLock::new();

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Credentials(token)" } else { "Credentials(name)" })
    }
}

impl Credentials {
    /// From now on every client of this process shows a token: all servers of a run know the same key. The first call counts.
    pub fn make_tokens(maker: TokenMaker) {
        let _ = OF_PROCESS.set(Self(Some(Arc::new(maker))));
    }

    /// What clients of this process show.
    pub fn of_process() -> Self {
        OF_PROCESS.get().cloned().unwrap_or_default()
    }

    /// The token of a user; `None`: the name is enough.
    pub(super) fn token(&self, user: &UserName) -> Result<Option<Token>, ClientError> {
        let Some(maker) = &self.0 else { return Ok(None) };
        let (user, token_id) = (user.clone(), TokenId::generate());
        let grant = Grant { user, token_id, ..maker.grant.clone() };
        let failed =
            |error: crate::identity::SignerError| ClientError::Token { reason: error.to_string() };
        maker.signer.sign(&grant).map(Some).map_err(failed)
    }
}
