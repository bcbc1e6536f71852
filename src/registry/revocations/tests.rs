//! What both keepers promise, and what each does by itself.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use super::local::LocalRevocations;
use super::redis::{RedisRevocations, RedisSettings};
use super::*;
use crate::clock;
use crate::model::{Revoked, TokenId, UserName};
use crate::persistence::conformance::redis::{Server, program};
use crate::services::ServiceKind;

fn user(name: &str, until: u64) -> Revocation {
    let revoked = Revoked::User(UserName::new(name).unwrap());
    Revocation { revoked, at: clock::unix_ms(), until }
}

fn token(id: &str) -> Revocation {
    let revoked = Revoked::TokenId(TokenId::new(id).unwrap());
    Revocation { revoked, at: 1, until: u64::MAX }
}

#[tokio::test]
async fn a_file_keeps_them_from_one_start_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data").join("revocations.jsonl");
    let first = LocalRevocations::file(path.clone());
    assert_eq!(first.start().await.unwrap(), []);
    let (ann, over) = (user("ann", u64::MAX), user("bob", 1));
    for revocation in [&ann, &over, &token("t")] {
        first.keep(revocation).await.unwrap();
    }
    assert_eq!(first.look().await.unwrap(), [], "there is nobody else");
    drop(first);
    // A kill in the middle of a line.
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"user\":\"ca").unwrap();
    let second = LocalRevocations::file(path.clone());
    assert_eq!(second.start().await.unwrap(), [ann.clone(), token("t")], "without what is over");
    second.keep(&token("u")).await.unwrap();
    let third = LocalRevocations::file(path.clone());
    assert_eq!(third.start().await.unwrap(), [ann, token("t"), token("u")]);
    fs::write(&path, "{}\n{\"user\":\"ann\",\"at\":1,\"until\":2}\n").unwrap();
    let error = LocalRevocations::file(path).start().await.unwrap_err().to_string();
    assert!(error.contains("line 1 is no revocation"), "{error}");
}

#[tokio::test]
async fn where_nothing_is_to_be_refused_later_nothing_is_kept() {
    let none = LocalRevocations::none();
    none.start().await.unwrap();
    none.keep(&token("t")).await.unwrap();
    assert!(!none.is_shared());
}

fn keeper(server: &Server) -> RedisRevocations {
    let kept = Duration::from_secs(60);
    RedisRevocations::new(RedisSettings {
        server: server.url().into(),
        prefix: "test:".to_owned(),
        kept,
    })
    .unwrap()
}

async fn nodes_find_what_others_kept(server: Server) {
    let (one, other) = (keeper(&server), keeper(&server));
    assert_eq!(one.start().await.unwrap(), []);
    assert_eq!(other.start().await.unwrap(), []);
    let ann = user("ann", u64::MAX);
    one.keep(&ann).await.unwrap();
    assert_eq!(other.look().await.unwrap(), std::slice::from_ref(&ann));
    assert_eq!(other.look().await.unwrap(), [], "once");
    other.keep(&token("t")).await.unwrap();
    assert_eq!(one.look().await.unwrap(), [ann.clone(), token("t")], "its own, perhaps, too");
    let late = keeper(&server);
    assert_eq!(late.start().await.unwrap(), [ann.clone(), token("t")]);
    // The server comes back with nothing: any node that knows keeps it again.
    let mut connection = ::redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    ::redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
    other.keep(&token("u")).await.unwrap();
    let fresh = keeper(&server);
    let mut found = fresh.start().await.unwrap();
    found.sort_by_key(|revocation| format!("{:?}", revocation.revoked));
    assert_eq!(found, [token("t"), token("u"), ann]);
    assert!(one.look().await.is_ok());
}

#[tokio::test]
async fn on_redis() {
    let Some(program) = program(ServiceKind::Redis) else { return };
    nodes_find_what_others_kept(Server::start(&program, &[])).await;
}

#[tokio::test]
async fn on_valkey() {
    let Some(program) = program(ServiceKind::Valkey) else { return };
    nodes_find_what_others_kept(Server::start(&program, &[])).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_told_and_comes_back() {
    let Some(program) = program(ServiceKind::Redis) else { return };
    let keeper = keeper(&Server::start(&program, &[]));
    let error = keeper.keep(&token("t")).await.unwrap_err().to_string();
    assert!(error.contains("REDIS_URL") && error.contains("revoke again"), "{error}");
    assert!(keeper.look().await.is_err());
}
