//! Tokens of our own making, for tests and for the harness.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use super::source::read_secret;
use crate::clock;
use crate::config::{KeySource, SECRET_BYTES_MIN};
use crate::model::{Token, TokenId, UserName};

/// Signs tokens with one key.
pub struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
}

/// What a token is to say.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Whose it is.
    pub user: UserName,
    /// From now until it expires.
    pub life: Duration,
    /// What stands in `iss`.
    pub issuer: Option<String>,
    /// What stands in `aud`.
    pub audience: Option<String>,
    /// What stands in `kid` of its header.
    pub kid: Option<String>,
    /// What stands in `jti`.
    pub token_id: TokenId,
}

/// Why no token can be made. The text says what and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SignerError(String);

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({:?})", self.algorithm)
    }
}

impl Signer {
    /// Signs with the secret of HS256.
    pub fn of_secret(secret: &[u8]) -> Result<Self, SignerError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(SignerError(format!(
                "the secret has {} bytes; use {SECRET_BYTES_MIN} or more",
                secret.len()
            )));
        }
        Ok(Self { key: EncodingKey::from_secret(secret), algorithm: Algorithm::HS256 })
    }

    /// Signs with the secret that a server is told.
    pub async fn of_source(source: &KeySource) -> Result<Self, SignerError> {
        match source {
            KeySource::Secret(secret) => Self::of_secret(secret.expose().as_bytes()),
            KeySource::SecretFile(path) => {
                let secret = read_secret(path).await;
                let named = |reason| {
                    SignerError(format!("CHATCTL_AUTH_SECRET_FILE={}: {reason}", path.display()))
                };
                Self::of_secret(&secret.map_err(named)?).map_err(|error| named(error.0))
            }
            KeySource::PublicKeyFile(_) | KeySource::JwksFile(_) | KeySource::JwksUrl(_) => {
                Err(SignerError("public keys sign nothing; give a private key".to_owned()))
            }
        }
    }

    /// Signs with what a file holds: a private key in PEM form (Ed25519 or RSA), or the secret of HS256.
    pub async fn of_file(path: &Path) -> Result<Self, SignerError> {
        let named = |reason: String| SignerError(format!("{}: {reason}", path.display()));
        let bytes = read_secret(path).await.map_err(named)?;
        if !bytes.starts_with(b"-----BEGIN ") {
            return Self::of_secret(&bytes).map_err(|error| named(error.0));
        }
        if let Ok(key) = EncodingKey::from_ed_pem(&bytes) {
            return Ok(Self { key, algorithm: Algorithm::EdDSA });
        }
        match EncodingKey::from_rsa_pem(&bytes) {
            Ok(key) => Ok(Self { key, algorithm: Algorithm::RS256 }),
            Err(_) => Err(named(
                "it holds no private key of Ed25519 or RSA in PEM form (PKCS#8)".to_owned(),
            )),
        }
    }

    /// A token, good from now on.
    pub fn sign(&self, grant: &Grant) -> Result<Token, SignerError> {
        let now = clock::unix_ms();
        let life = u64::try_from(grant.life.as_millis()).unwrap_or(u64::MAX);
        let claims = Claims {
            sub: grant.user.as_str(),
            iat: now / 1_000,
            // Not shorter than asked for.
            exp: now.saturating_add(life).div_ceil(1_000),
            jti: grant.token_id.as_str(),
            iss: grant.issuer.as_deref(),
            aud: grant.audience.as_deref(),
        };
        let header = Header { kid: grant.kid.clone(), ..Header::new(self.algorithm) };
        let signed = encode(&header, &claims, &self.key);
        // Its error may hold what was signed.
        let signed = signed.map_err(|_| SignerError("the key cannot sign".to_owned()))?;
        Ok(Token::new(signed))
    }
}
