//! From a token to who shows it.

use std::convert::Infallible;

use super::keys::Keys;
use super::token_parts::TokenParts;
use super::{Pass, TokenError, claims};
use crate::clock;
use crate::config::{TokenAlgorithm, TokenConfig};
use crate::model::Token;

/// Judges tokens. Whose access was revoked it does not know.
pub struct Verifier {
    config: TokenConfig,
    keys: Keys,
}

/// Why no token could be judged. The text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[error("there are no keys to check tokens with: {0}")]
pub struct StartError(String);

impl Verifier {
    /// Reads the keys. An error: there are none, and the node must not start.
    pub async fn start(config: TokenConfig) -> Result<Self, StartError> {
        let keys = Keys::start(&config).await.map_err(StartError)?;
        Ok(Self { config, keys })
    }

    /// Reads the keys once and says what there is, for people. The error is the one that a start would end with.
    pub async fn examine(config: &TokenConfig) -> Result<String, StartError> {
        Keys::examine(config).await.map_err(StartError)
    }

    /// The rules.
    pub fn config(&self) -> &TokenConfig {
        &self.config
    }

    /// What the keys come from, for people.
    pub fn keys_from(&self) -> String {
        self.keys.source_name()
    }

    /// Keeps the keys as they are at their source; goes on for ever.
    pub async fn follow_keys(&self) -> Infallible {
        self.keys.follow().await
    }

    /// Who shows this token, and until when that holds. The signature is judged before anything that it signs is believed. Waits, up to
    /// some seconds, only for a key that is not known.
    pub async fn verify(&self, token: &Token) -> Result<Pass, TokenError> {
        let parts = TokenParts::of(token.expose())?;
        let algorithm = self.algorithm(&parts.header.alg)?;
        if !self.keys.signed(&parts, algorithm).await? {
            return Err(TokenError::Signature);
        }
        claims::judge(&parts.claims, &self.config, clock::unix_ms())
    }

    /// The algorithm that a header names, if it is allowed: `none` has no name here.
    fn algorithm(&self, name: &str) -> Result<TokenAlgorithm, TokenError> {
        let allowed = &self.config.algorithms;
        let found = name.parse().ok().filter(|algorithm| allowed.contains(algorithm));
        found.ok_or_else(|| {
            let names: Vec<_> = allowed.iter().map(|algorithm| algorithm.name()).collect();
            TokenError::Algorithm(names.join(", "))
        })
    }
}
