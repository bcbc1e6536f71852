//! One key that tokens are checked with, bound to one algorithm: what a token's header says cannot make another use of it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;

use super::token_parts::TokenParts;
use crate::config::{SECRET_BYTES_MIN, TokenAlgorithm};

/// The shortest modulus of RSA (RFC 7518 §3.3), bytes.
const RSA_BYTES_MIN: usize = 256;
/// The DER form of a public key with such a modulus, and its header; one of half the length has 162.
const RSA_DER_BYTES_MIN: usize = 256 + 14;
/// A public key of Ed25519, bytes.
const ED25519_BYTES: usize = 32;
/// Bytes of a key's name: it is compared with whatever a token says.
const KID_BYTES_MAX: usize = 256;

/// A key with its algorithm, and its name if it has one.
pub struct Key {
    algorithm: TokenAlgorithm,
    kid: Option<String>,
    key: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {:?})", self.algorithm, self.kid)
    }
}

impl Key {
    /// The secret of HS256. The error says what would be one.
    pub fn of_secret(secret: &[u8]) -> Result<Self, String> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!("it has {} bytes; use {SECRET_BYTES_MIN} or more", secret.len()));
        }
        let key = DecodingKey::from_secret(secret);
        Ok(Self { algorithm: TokenAlgorithm::Hs256, kid: None, key })
    }

    /// All public keys in a text in PEM form (RFC 7468); at least one. The error says what is wrong.
    pub fn of_pem(text: &str) -> Result<Vec<Self>, String> {
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some(begin) = rest.find("-----BEGIN ") {
            let block = &rest[begin..];
            let (_, label) = block.split_at("-----BEGIN ".len());
            let label = label.split("-----").next().unwrap_or_default();
            let end = format!("-----END {label}-----");
            let length = block.find(&end).ok_or_else(|| format!("{label} has no end"))?;
            let (block, after) = block.split_at(length + end.len());
            keys.push(Self::of_pem_block(label, block)?);
            rest = after;
        }
        if keys.is_empty() {
            return Err("it holds no key in PEM form (-----BEGIN PUBLIC KEY-----)".to_owned());
        }
        Ok(keys)
    }

    fn of_pem_block(label: &str, block: &str) -> Result<Self, String> {
        let of = |algorithm, key| Ok(Self { algorithm, kid: None, key });
        match label {
            "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
            _ if label.contains("PRIVATE") => {
                return Err("it holds a private key; give the public one here".to_owned());
            }
            _ => return Err(format!("it holds a {label}; give a PUBLIC KEY")),
        }
        if let Ok(key) = DecodingKey::from_ed_pem(block.as_bytes()) {
            return of(TokenAlgorithm::EdDsa, key);
        }
        let key = DecodingKey::from_rsa_pem(block.as_bytes())
            .map_err(|_| "it holds a key that is neither Ed25519 nor RSA".to_owned())?;
        let body: String =
            block.lines().filter(|line| !line.starts_with('-')).map(str::trim).collect();
        if STANDARD.decode(body).is_ok_and(|der| der.len() < RSA_DER_BYTES_MIN) {
            return Err("it holds an RSA key of less than 2048 bits".to_owned());
        }
        of(TokenAlgorithm::Rs256, key)
    }

    /// A key of a JSON Web Key Set; `None`: not one that signs by an algorithm of ours. The error says what is wrong with one that is.
    pub fn of_jwk(jwk: Jwk, takes_secrets: bool) -> Result<Option<Self>, String> {
        let verifies = |operations: &Vec<String>| operations.iter().any(|name| name == "verify");
        let is_for_signatures = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && jwk.key_ops.as_ref().is_none_or(verifies);
        let decode = |field: &Option<String>| {
            let text = field.as_deref().unwrap_or_default().trim_end_matches('=');
            URL_SAFE_NO_PAD.decode(text).map_err(|_| "a key is not in URL-safe base64".to_owned())
        };
        if !is_for_signatures {
            return Ok(None);
        }
        let (algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("oct", _) if takes_secrets => {
                let secret = decode(&jwk.k)?;
                if secret.len() < SECRET_BYTES_MIN {
                    return Err(format!("a secret has less than {SECRET_BYTES_MIN} bytes"));
                }
                (TokenAlgorithm::Hs256, DecodingKey::from_secret(&secret))
            }
            ("OKP", Some("Ed25519")) => {
                let point = decode(&jwk.x)?;
                if point.len() != ED25519_BYTES {
                    return Err(format!("a key of Ed25519 has not {ED25519_BYTES} bytes"));
                }
                (TokenAlgorithm::EdDsa, DecodingKey::from_ed_der(&point))
            }
            ("RSA", _) => {
                let (modulus, exponent) = (decode(&jwk.n)?, decode(&jwk.e)?);
                let zeros = modulus.iter().take_while(|&&byte| byte == 0).count();
                if modulus.len() - zeros < RSA_BYTES_MIN || exponent.is_empty() {
                    return Err("a key of RSA has less than 2048 bits".to_owned());
                }
                let key = DecodingKey::from_rsa_raw_components(&modulus[zeros..], &exponent);
                (TokenAlgorithm::Rs256, key)
            }
            _ => return Ok(None),
        };
        let says_other = jwk.alg.as_deref().is_some_and(|alg| alg != algorithm.name());
        let is_named_well = jwk.kid.as_ref().is_none_or(|kid| kid.len() <= KID_BYTES_MAX);
        Ok((!says_other && is_named_well).then_some(Self { algorithm, kid: jwk.kid, key }))
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> TokenAlgorithm {
        self.algorithm
    }

    /// Whether it may be the one that a token names: a key without a name may be any.
    pub fn may_be(&self, algorithm: TokenAlgorithm, kid: Option<&str>) -> bool {
        let may_be_named = match (kid, self.kid.as_deref()) {
            (Some(asked), Some(own)) => asked == own,
            (None, _) | (_, None) => true,
        };
        self.algorithm == algorithm && may_be_named
    }

    /// Whether it signed the token.
    pub fn signed(&self, parts: &TokenParts<'_>) -> bool {
        let algorithm = match self.algorithm {
            TokenAlgorithm::Hs256 => Algorithm::HS256,
            TokenAlgorithm::EdDsa => Algorithm::EdDSA,
            TokenAlgorithm::Rs256 => Algorithm::RS256,
        };
        let signed = parts.signed.as_bytes();
        crypto::verify(parts.signature, signed, &self.key, algorithm).unwrap_or(false)
    }
}

/// A JSON Web Key (RFC 7517 §4), as far as we look at it.
#[derive(Deserialize)]
pub struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    k: Option<String>,
}
