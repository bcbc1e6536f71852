//! Asking a node to take somebody's access away.

use std::io;

use axum::body::Body;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};

use super::http::ask;
use crate::model::Revoked;

/// Why nothing, or perhaps not all, was revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeRequestError {
    /// The admin listener is not there or stops in the middle.
    #[error(
        "cannot ask http://{admin}/revoke: {source}; is {admin} the CHATCTL_ADMIN_LISTEN of a running node?"
    )]
    Io {
        /// `host:port`.
        admin: String,
        /// What the system said.
        source: io::Error,
    },
    /// The node refuses, or did not do all of it.
    #[error("http://{admin}/revoke answered {status}: {text}")]
    Refused {
        /// `host:port`.
        admin: String,
        /// What it answered.
        status: StatusCode,
        /// Its reason.
        text: String,
    },
}

/// Asks the admin listener at `host:port`, showing `token` if there is one; its answer, JSON.
pub async fn revoke(
    admin: &str,
    revoked: &Revoked,
    token: Option<&str>,
) -> Result<String, RevokeRequestError> {
    let failed = |source| RevokeRequestError::Io { admin: admin.to_owned(), source };
    let body = serde_json::to_vec(revoked).map_err(|error| failed(error.into()))?;
    let mut request =
        Request::post("/revoke").header(HOST, admin).header(CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::from(body));
    let request = request.map_err(|error| failed(io::Error::other(error)))?;
    let (status, text) = ask(admin, request).await.map_err(failed)?;
    if status == StatusCode::OK {
        return Ok(text);
    }
    let (admin, text) = (admin.to_owned(), text.trim().to_owned());
    Err(RevokeRequestError::Refused { admin, status, text })
}
