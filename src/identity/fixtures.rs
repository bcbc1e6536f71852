//! Keys and tokens of the tests.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::Value;

pub use super::fuzzing::config;
use crate::clock::unix_ms;
use crate::config::{KeySource, Secret, TokenAlgorithm, TokenConfig};
use crate::model::Token;

/// The secret of HS256.
pub const SECRET: &str = "a secret of the tests, 32 bytes or more";
pub const ED_PRIVATE: &str = include_str!("../../tests/keys/ed25519-one.pem");
pub const ED_PUBLIC: &str = include_str!("../../tests/keys/ed25519-one.pub.pem");
pub const ED_OTHER_PRIVATE: &str = include_str!("../../tests/keys/ed25519-two.pem");
pub const ED_JWK: &str = include_str!("../../tests/keys/ed25519-one.jwk");
pub const RSA_PRIVATE: &str = include_str!("../../tests/keys/rsa-one.pem");
pub const RSA_PUBLIC: &str = include_str!("../../tests/keys/rsa-one.pub.pem");
pub const RSA_SHORT_PUBLIC: &str = include_str!("../../tests/keys/rsa-short.pub.pem");
pub const RSA_JWK: &str = include_str!("../../tests/keys/rsa-one.jwk");
pub const EC_PUBLIC: &str = include_str!("../../tests/keys/p256.pub.pem");

/// What signs a token.
#[derive(Clone, Copy)]
pub enum By {
    Secret(&'static [u8]),
    Ed(&'static str),
    Rsa(&'static str),
    Nobody,
}

/// A token with this header and these claims.
pub fn token(header: &Value, claims: &Value, by: By) -> Token {
    raw_token(&header.to_string(), &claims.to_string(), by)
}

/// The same of any text.
pub fn raw_token(header: &str, claims: &str, by: By) -> Token {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let sign =
        |key: EncodingKey, algorithm| crypto::sign(signed.as_bytes(), &key, algorithm).unwrap();
    let signature = match by {
        By::Secret(secret) => sign(EncodingKey::from_secret(secret), Algorithm::HS256),
        By::Ed(pem) => sign(EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(), Algorithm::EdDSA),
        By::Rsa(pem) => sign(EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), Algorithm::RS256),
        By::Nobody => String::new(),
    };
    Token::new(format!("{signed}.{signature}"))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    unix_ms() / 1_000
}

/// The same with the secret.
pub fn by_secret() -> TokenConfig {
    config(KeySource::Secret(Secret::new(SECRET)), &[TokenAlgorithm::Hs256])
}
