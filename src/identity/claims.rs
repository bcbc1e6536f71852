//! What a token says, once its signature is known to be good: judged by the rules and a clock.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::pass::PassEnd;
use super::token_parts::object;
use super::{Pass, TokenError};
use crate::config::TokenConfig;
use crate::model::{TokenId, UserName};

/// The claims that are looked at; one that stands there twice makes all unreadable. Values are kept as they are, so that each error can
/// name its claim.
#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(default)]
    exp: Option<Value>,
    #[serde(default)]
    nbf: Option<Value>,
    #[serde(default)]
    iat: Option<Value>,
    #[serde(default)]
    iss: Option<Value>,
    #[serde(default)]
    aud: Option<Value>,
    #[serde(default)]
    sub: Option<Value>,
    #[serde(default)]
    jti: Option<Value>,
}

/// What is granted by claims that were signed, at `now` (ms since 1970).
pub fn judge(claims: &[u8], rules: &TokenConfig, now: u64) -> Result<Pass, TokenError> {
    let claims: Claims = object(claims).ok_or(TokenError::Claims)?;
    let leeway = millis(rules.leeway);
    let expires = time("exp", claims.exp)?.ok_or(TokenError::Missing("exp"))?;
    let issued = time("iat", claims.iat)?.ok_or(TokenError::Missing("iat"))?;
    let closes = expires.saturating_add(leeway);
    if now >= closes {
        return Err(TokenError::Expired);
    }
    let soon = now.saturating_add(leeway);
    if time("nbf", claims.nbf)?.is_some_and(|from| from > soon) {
        return Err(TokenError::NotYet);
    }
    if issued > soon {
        return Err(TokenError::IssuedLater);
    }
    // Beyond it a revocation would be forgotten before the token ends.
    if expires.saturating_sub(issued) > millis(rules.life_max) {
        return Err(TokenError::TooLongLived(rules.life_max));
    }
    if let Some(issuer) = &rules.issuer
        && claims.iss.as_ref().ok_or(TokenError::Missing("iss"))?.as_str() != Some(issuer)
    {
        return Err(TokenError::Issuer);
    }
    judge_audience(claims.aud.as_ref(), &rules.audiences)?;
    let user = match claims.sub.ok_or(TokenError::Missing("sub"))? {
        Value::String(name) => UserName::new(&name).map_err(|error| error.expected),
        _ => Err("a string"),
    };
    let token_id = match claims.jti {
        None => Ok(None),
        Some(Value::String(id)) => TokenId::new(&id).map(Some).map_err(|error| error.expected),
        Some(_) => Err("a string"),
    };
    Ok(Pass {
        user: user.map_err(TokenError::Subject)?,
        issued,
        end: Some(PassEnd { expires, closes }),
        token_id: token_id.map_err(TokenError::TokenId)?,
    })
}

/// A token that names whom it is for is for nobody else (RFC 7519 §4.1.3), also where nobody said who we are.
fn judge_audience(aud: Option<&Value>, ours: &[String]) -> Result<(), TokenError> {
    let is_ours =
        |name: &Value| name.as_str().is_some_and(|name| ours.iter().any(|our| our == name));
    match aud {
        None if ours.is_empty() => Ok(()),
        None => Err(TokenError::Missing("aud")),
        Some(Value::Array(names)) if names.iter().any(is_ours) => Ok(()),
        Some(name) if is_ours(name) => Ok(()),
        Some(_) => Err(TokenError::Audience),
    }
}

/// A time (RFC 7519 §2: seconds, perhaps with a fraction), ms.
fn time(name: &'static str, claim: Option<Value>) -> Result<Option<u64>, TokenError> {
    let Some(claim) = claim else { return Ok(None) };
    if let Some(seconds) = claim.as_u64() {
        return Ok(Some(seconds.saturating_mul(1_000)));
    }
    match claim.as_f64() {
        // A float becomes an integer without wrapping; what is too large becomes the largest.
        Some(seconds) if seconds >= 0.0 => Ok(Some((seconds * 1_000.0) as u64)),
        _ => Err(TokenError::NoTime(name)),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
