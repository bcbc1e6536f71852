//! `POST /revoke` on the admin listener: takes somebody's access away, on all nodes.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Node;
use crate::chat::{RevokeError, RevokeOutcome};
use crate::config::Secret;
use crate::model::{Revocation, Revoked};

/// Who may revoke.
#[derive(Debug, Clone)]
pub(super) enum Permission {
    /// Whoever reaches the listener, which is of this machine.
    Everybody,
    /// Whoever shows the secret.
    Bearer(Secret),
    /// Nobody: others reach the listener, and there is no secret.
    Nobody,
}

impl Permission {
    pub(super) fn new(loopback: bool, admin_token: Option<&Secret>) -> Self {
        match admin_token {
            Some(secret) => Self::Bearer(secret.clone()),
            None if loopback => Self::Everybody,
            None => Self::Nobody,
        }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        match self {
            Self::Everybody => Ok(()),
            Self::Bearer(secret) => {
                let shown = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
                let shown = shown.and_then(|value| value.strip_prefix(b"Bearer "));
                // Digests: how long the comparison takes tells nothing of the secret.
                let digest = |bytes: &[u8]| Sha256::digest(bytes);
                if shown.is_some_and(|shown| digest(shown) == digest(secret.expose().as_bytes())) {
                    Ok(())
                } else {
                    Err((
                        StatusCode::UNAUTHORIZED,
                        "show CHATCTL_ADMIN_TOKEN as Authorization: Bearer ...\n",
                    ))
                }
            }
            Self::Nobody => Err((
                StatusCode::FORBIDDEN,
                "CHATCTL_ADMIN_LISTEN is no loopback address: set CHATCTL_ADMIN_TOKEN, and show it\n",
            )),
        }
    }
}

/// What was revoked.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RevokeAnswer {
    /// Whose access.
    revoked: Revoked,
    /// When, ms since 1970: of a user, what was issued at or before it is refused.
    at: u64,
    /// When no token that it concerns can be good any more, ms since 1970.
    until: u64,
    /// Sessions of this node that were closed; those of others follow.
    sessions_here: usize,
}

/// Answers `{"revoked":{"user":"ann"},"at":…,"until":…,"sessions_here":1}`. A page cannot ask this: what is not JSON is refused, and a
/// browser asks before it sends JSON to another origin.
pub(super) async fn revoke(
    State((node, permission)): State<(Arc<Node>, Permission)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refusal) = permission.check(&headers) {
        return refusal.into_response();
    }
    let is_json =
        headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|kind| {
            kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json")
        });
    if !is_json {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json\n").into_response();
    }
    let revoked = match serde_json::from_slice::<Revoked>(&body) {
        Ok(revoked) => revoked,
        Err(error) => {
            let text = format!("send {{\"user\":\"...\"}} or {{\"token_id\":\"...\"}}: {error}\n");
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
    };
    match node.chat.revoke(revoked).await {
        Ok(RevokeOutcome { revocation, sessions_here }) => {
            tracing::info!(revoked = ?revocation.revoked, sessions_here, "revoked");
            let Revocation { revoked, at, until } = revocation;
            Json(RevokeAnswer { revoked, at, until, sessions_here }).into_response()
        }
        Err(error @ RevokeError::NoTokens) => {
            (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
        }
        Err(error @ RevokeError::NotKept { .. }) => {
            tracing::error!(%error, "a revocation is not kept");
            (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(permission: &Permission, shown: Option<&str>) -> Option<StatusCode> {
        let mut headers = HeaderMap::new();
        if let Some(shown) = shown {
            headers.insert(AUTHORIZATION, shown.parse().unwrap());
        }
        permission.check(&headers).err().map(|(status, _)| status)
    }

    #[test]
    fn others_must_show_the_secret() {
        let secret = Secret::new("0123456789abcdef");
        let everybody = Permission::new(true, None);
        assert_eq!(status(&everybody, None), None);
        let nobody = Permission::new(false, None);
        assert_eq!(status(&nobody, Some("Bearer ")), Some(StatusCode::FORBIDDEN));
        for loopback in [true, false] {
            let bearer = Permission::new(loopback, Some(&secret));
            assert_eq!(status(&bearer, Some("Bearer 0123456789abcdef")), None);
            for wrong in [None, Some("0123456789abcdef"), Some("Bearer x"), Some("Bearer ")] {
                assert_eq!(status(&bearer, wrong), Some(StatusCode::UNAUTHORIZED));
            }
        }
    }
}
