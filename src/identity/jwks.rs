//! A JSON Web Key Set (RFC 7517 §5) as keys.

use serde::Deserialize;
use serde_json::Value;

use super::key::{Jwk, Key};
use super::token_parts::object;

/// Keys of a set. Providers have a handful; a token without `kid` is tried with each.
const KEYS_MAX: usize = 100;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// The keys of a set that we can use: at least one. Those for other uses and of other kinds are left out, as the RFC has it; the error
/// says why there is none.
pub fn parse(text: &str, takes_secrets: bool) -> Result<Vec<Key>, String> {
    let set: Set = object(text.as_bytes())
        .ok_or_else(|| "it is no JSON Web Key Set: {\"keys\": [...]}".to_owned())?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("it holds more than {KEYS_MAX} keys"));
    }
    let (mut keys, mut problem) = (Vec::new(), None);
    for jwk in set.keys {
        let key = serde_json::from_value::<Jwk>(jwk)
            .map_err(|_| "a key is not as RFC 7517 has it".to_owned())
            .and_then(|jwk| Key::of_jwk(jwk, takes_secrets));
        match key {
            Ok(Some(key)) => keys.push(key),
            Ok(None) => {}
            Err(reason) => problem = Some(reason),
        }
    }
    if keys.is_empty() {
        let reason =
            problem.unwrap_or_else(|| "all are of other kinds or for other uses".to_owned());
        return Err(format!("it holds no key that tokens can be checked with: {reason}"));
    }
    if let Some(reason) = problem {
        tracing::warn!(%reason, "a JSON Web Key Set holds a key that is left out");
    }
    Ok(keys)
}
