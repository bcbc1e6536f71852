//! Tokens for the tests: made by `chatctl token`, shown at `hello`, refused.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Peer, Server, chatctl, log};

/// The secret of HS256.
pub const SECRET: &str = "cAnArY-5k: a secret of the tests, 32 bytes or more";

/// A file of keys of the tests.
pub fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

/// What `chatctl token` prints.
pub async fn token(arguments: &[&str]) -> String {
    let mut command = chatctl(&[&["token"], arguments].concat());
    assert!(SECRET.contains(log::CANARY));
    let output = command.env("CHATCTL_AUTH_SECRET", SECRET).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A session by token.
pub async fn connect(server: &Server, token: &str) -> Peer {
    let mut peer = Peer::silent(&server.url).await;
    peer.ok("hello", json!({"token": token})).await;
    peer
}

/// The error of a token that is refused, after which the connection must end with 4501.
pub async fn refused(server: &Server, token: &str) -> Value {
    let mut peer = Peer::silent(&server.url).await;
    let error = peer.error("hello", json!({"token": token})).await;
    assert_eq!(peer.close_code().await, 4501, "{error}");
    assert!(token.is_empty() || !error.to_string().contains(token));
    error
}

/// A server that is told the secret.
pub async fn with_secret() -> Server {
    Server::start_with(&[("CHATCTL_AUTH_SECRET", SECRET)]).await
}
