//! Whose access is taken away: on every node, in time, and for good.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::services::SharedServices;
use crate::support::tokens::{SECRET, connect, refused, token, with_secret};
use crate::support::{PATIENCE, Peer, Server, chatctl, unique};

/// A revocation has closed every session by then.
const REVOKED_MAX: Duration = Duration::from_secs(2);

async fn revoke(server: &Server, arguments: &[&str]) -> Value {
    let output = chatctl(&["revoke", "--admin", server.admin()]).args(arguments).output().await;
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The code that closes a connection, and when that was.
async fn closed(mut peer: Peer) -> (u16, Instant) {
    (peer.close_code().await, Instant::now())
}

#[tokio::test]
async fn a_revocation_closes_sessions_on_every_node_and_holds_on_nodes_that_start_later() {
    let Some(shared) = SharedServices::find().await else { return };
    let (url, prefix) = (shared.variable("REDIS_URL"), format!("{}:", unique("identity")));
    let variables = [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "REDIS"),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
        ("REDIS_URL", url),
        ("CHATCTL_REDIS_PREFIX", prefix.as_str()),
        ("CHATCTL_AUTH_SECRET", SECRET),
    ];
    let start = || Server::start_with(&variables);
    let (one, other) = (start().await, start().await);
    let (ann, bob) = (unique("ann"), unique("bob"));
    let old = token(&["--user", &ann]).await;
    let (first, second) = (connect(&one, &old).await, connect(&other, &old).await);
    let mut bystander = connect(&other, &token(&["--user", &bob]).await).await;

    let begun = Instant::now();
    let answer = revoke(&one, &["--user", &ann]).await;
    assert_eq!((&answer["revoked"], &answer["sessions_here"]), (&json!({"user": ann}), &json!(1)));
    for peer in [first, second] {
        let (code, at) = closed(peer).await;
        assert_eq!(code, 4503);
        assert!(at - begun < REVOKED_MAX, "{:?}", at - begun);
    }
    bystander.ok("ping", json!({})).await;
    for node in [&one, &other] {
        let error = refused(node, &old).await;
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!("bad_token"), &json!("the token was revoked"))
        );
    }
    // Times of issue count seconds.
    sleep(Duration::from_millis(1_100)).await;
    let id = unique("id");
    let new = token(&["--user", &ann, "--token-id", &id]).await;
    let mut third = connect(&one, &new).await;
    let fourth = connect(&other, &new).await;
    let kept = token(&["--user", &ann]).await;
    third.ok("refresh", json!({"token": kept})).await;

    let begun = Instant::now();
    revoke(&other, &["--token-id", &id]).await;
    let (code, at) = closed(fourth).await;
    assert_eq!(code, 4503);
    assert!(at - begun < REVOKED_MAX);
    third.ok("ping", json!({})).await;
    let late = start().await;
    for node in [&one, &other, &late] {
        for token in [&old, &new] {
            assert_eq!(refused(node, token).await["message"], "the token was revoked");
        }
        connect(node, &kept).await;
    }

    // What another node has kept is found, whatever became of its hint.
    let key = format!("{prefix}{{registry}}:revocations");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = now.as_millis() as u64;
    let told = json!({"user": bob, "at": now, "until": now + 60_000}).to_string();
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    let begun = Instant::now();
    redis::cmd("XADD")
        .arg(&key)
        .arg("*")
        .arg("revocation")
        .arg(told)
        .exec(&mut connection)
        .unwrap();
    let (code, at) = closed(bystander).await;
    assert_eq!(code, 4503);
    assert!(at - begun < REVOKED_MAX, "{:?}", at - begun);
}

#[tokio::test]
async fn a_node_of_its_own_keeps_revocations_over_a_kill() {
    let mut server = with_secret().await;
    let (user, id) = (unique("ann"), unique("id"));
    let old = token(&["--user", &user]).await;
    let named = token(&["--user", &unique("bob"), "--token-id", &id]).await;
    let peer = connect(&server, &old).await;
    let begun = Instant::now();
    revoke(&server, &["--user", &user]).await;
    revoke(&server, &["--token-id", &id]).await;
    let (code, at) = closed(peer).await;
    assert_eq!(code, 4503);
    assert!(at - begun < REVOKED_MAX);
    server.kill().await;
    server.restart().await;
    assert_eq!(refused(&server, &old).await["code"], "bad_token");
    assert_eq!(refused(&server, &named).await["code"], "bad_token");
    sleep(Duration::from_millis(1_100)).await;
    connect(&server, &token(&["--user", &user]).await).await;
}

#[tokio::test]
async fn where_nobody_proves_who_they_are_a_revocation_closes_sessions() {
    let server = Server::start().await;
    let user = unique("ann");
    let peer = server.connect(&user).await;
    revoke(&server, &["--user", &user]).await;
    assert_eq!(closed(peer).await.0, 4503);
    server.connect(&user).await;
    let output = chatctl(&["revoke", "--admin", server.admin(), "--token-id", "t"]).output().await;
    let error = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(error.contains("400") && error.contains("authentication is off here"), "{error}");
}

#[tokio::test]
async fn whoever_reads_nothing_is_cut_off_as_well() {
    let server = Server::start_with(&[
        ("CHATCTL_AUTH_SECRET", SECRET),
        ("CHATCTL_LOCAL_SYNC", "memory"),
        // More than the kernel takes for a socket, and no reader of all that is too slow.
        ("CHATCTL_OUTBOX_BYTES_MAX", "268435456"),
    ])
    .await;
    let user = unique("ann");
    let mut peer = connect(&server, &token(&["--user", &user]).await).await;
    let conv = peer.open_user(&user).await["conv"].clone();
    let content = "x".repeat(16_000);
    for number in 0..3_000 {
        let cid = format!("c{number}");
        let body = json!({"conv": conv, "cid": cid, "type": "text", "content": content});
        peer.begin("send", body).await;
    }
    let sent = Instant::now();
    while server.counter("chatctl_messages_appended_total").await < 3_000.0 {
        assert!(sent.elapsed() < PATIENCE);
        sleep(Duration::from_millis(50)).await;
    }
    let closes = async || {
        let (_, metrics) = server.admin_get("/metrics").await;
        let of = |line: &&str| line.starts_with("chatctl_closes_total");
        metrics.lines().filter(of).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(closes().await, "");
    let begun = Instant::now();
    revoke(&server, &["--user", &user]).await;
    while !closes().await.contains("code=\"4503\"") {
        assert!(begun.elapsed() < REVOKED_MAX, "{}", closes().await);
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn whoever_revokes_shows_the_token_of_operators_where_there_is_one() {
    let token = ("CHATCTL_ADMIN_TOKEN", "cAnArY-5k operators only, please".replace(' ', "-"));
    let server = Server::start_with(&[(token.0, &token.1)]).await;
    let ask = |shown: &str| {
        let mut command = chatctl(&["revoke", "--user", "ann"]);
        command.env("CHATCTL_ADMIN_LISTEN", server.admin()).env(token.0, shown);
        command
    };
    let output = ask("not that one, I guess".replace(' ', "-").as_str()).output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("401") && error.contains("CHATCTL_ADMIN_TOKEN"), "{error}");
    assert!(ask(&token.1).output().await.unwrap().status.success());
    let (status, _) = server.admin_get("/revoke").await;
    assert_eq!(status, 405, "a GET revokes nobody");
}
