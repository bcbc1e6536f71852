//! A token taken apart (RFC 7515 §7.1), nothing of it believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::TokenError;

/// Bytes of a token. Ours are a few hundred; one of many claims stays below what proxies allow for a header.
pub const TOKEN_BYTES_MAX: usize = 8_192;

/// The parts of a token.
#[derive(Debug)]
pub struct TokenParts<'a> {
    /// What the header says.
    pub header: Header,
    /// What is signed.
    pub signed: &'a str,
    /// The claims, as they are under the signature.
    pub claims: Vec<u8>,
    /// The signature, in base64.
    pub signature: &'a str,
}

/// What we read of a header. A key that it brings or points to (`jwk`, `jku`, `x5c`, `x5u`) is not even looked at.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Header {
    /// How it is signed, as it says.
    pub alg: String,
    /// The name of the key.
    #[serde(default)]
    pub kid: Option<String>,
    /// What a reader must understand.
    #[serde(default)]
    crit: Option<Value>,
}

impl<'a> TokenParts<'a> {
    /// Takes a token apart.
    pub fn of(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong(TOKEN_BYTES_MAX));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::NoJwt);
        };
        let header_bytes = decode(header)?;
        let claims_bytes = decode(claims)?;
        // What it says is for whoever has the key; that it is base64 is for everybody.
        decode(signature)?;
        let header_read: Header = object(&header_bytes).ok_or(TokenError::Header)?;
        if header_read.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let signed = &token[..header.len() + 1 + claims.len()];
        Ok(Self { header: header_read, signed, claims: claims_bytes, signature })
    }
}

/// A JSON object as a type of ours, and nothing else: types read arrays, too.
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::NoJwt)
}
