//! Who is let in, and for how long: real tokens, real keys, real nodes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::json;
use tokio::time::sleep;

use crate::support::jwks_server::JwksServer;
use crate::support::tokens::{SECRET, connect, key, refused, token, with_secret};
use crate::support::{PATIENCE, Peer, Server, chatctl, log, unique};

/// A session is closed by then after its token's end.
const EXPIRED_MAX: Duration = Duration::from_secs(5);

fn text(name: &str) -> String {
    std::fs::read_to_string(key(name)).unwrap()
}

fn set(names: &[&str]) -> String {
    let keys: Vec<String> = names.iter().map(|name| text(name)).collect();
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

/// Signed with a private key of the tests.
async fn signed(user: &str, name: &str, kid: &str) -> String {
    let path = key(name);
    let mut arguments = vec!["--user", user, "--key", path.to_str().unwrap()];
    if !kid.is_empty() {
        arguments.extend(["--kid", kid]);
    }
    token(&arguments).await
}

#[rstest]
#[case::hs256("", "", "")]
#[case::ed_dsa("ed25519-one.pub.pem", "ed25519-one.pem", "ed25519-two.pem")]
#[case::rs256("rsa-one.pub.pem", "rsa-one.pem", "rsa-two.pem")]
#[tokio::test]
async fn a_token_of_each_algorithm_lets_its_user_in(
    #[case] public: &str,
    #[case] private: &str,
    #[case] other: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let user = unique("ann");
    let (variable, good, bad) = match public {
        "" => {
            std::fs::write(&file, format!("{SECRET}\n")).unwrap();
            let other = folder.path().join("other");
            std::fs::write(&other, SECRET.replace("tests", "other")).unwrap();
            let bad = token(&["--user", &user, "--key", other.to_str().unwrap()]).await;
            ("CHATCTL_AUTH_SECRET_FILE", token(&["--user", &user]).await, bad)
        }
        _ => {
            std::fs::copy(key(public), &file).unwrap();
            let good = signed(&user, private, "").await;
            ("CHATCTL_AUTH_PUBLIC_KEY_FILE", good, signed(&user, other, "").await)
        }
    };
    let server = Server::start_with(&[(variable, file.to_str().unwrap())]).await;
    let mut peer = Peer::silent(&server.url).await;
    assert_eq!(peer.ok("hello", json!({"token": good})).await["user"], json!(user));
    let error = refused(&server, &bad).await;
    assert_eq!(error["code"], "bad_token");
    assert_eq!(error["message"], "the token's signature is of no key that is known here");
    assert_eq!((&error["temporary"], &error["definite"]), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn hello_shows_what_is_asked_for_and_may_be_said_again() {
    let (closed, open) = (with_secret().await, Server::start().await);
    let good = token(&["--user", "ann"]).await;
    let mut peer = Peer::silent(&closed.url).await;
    for (body, field) in [
        (json!({"user": "ann"}), "user"),
        (json!({}), "token"),
        (json!({"token": good, "user": "ann"}), "user"),
        (json!({"token": 7}), "token"),
        (json!({"token": null}), "token"),
    ] {
        let expected = ("invalid_field".to_owned(), field.to_owned());
        assert_eq!(peer.error_code("hello", body.clone()).await, expected, "{body}");
    }
    assert_eq!(peer.ok("hello", json!({"token": good})).await["user"], "ann");
    let mut peer = Peer::silent(&open.url).await;
    for (body, field) in [(json!({"token": good}), "token"), (json!({}), "user")] {
        let expected = ("invalid_field".to_owned(), field.to_owned());
        assert_eq!(peer.error_code("hello", body.clone()).await, expected, "{body}");
    }
    peer.ok("hello", json!({"user": "ann"})).await;
    let error = peer.error("refresh", json!({"token": good})).await;
    assert_eq!(error["code"], "unknown_method");
    assert_eq!(error["message"], "there is no method \"refresh\" here: authentication is off");
    let mut silent = Peer::silent(&closed.url).await;
    assert_eq!(silent.error_code("refresh", json!({"token": good})).await.0, "hello_first");
    assert_eq!(silent.close_code().await, 4500);
}

#[tokio::test]
async fn a_key_set_in_a_file_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let put = |names: &[&str]| {
        let beside = folder.path().join("beside");
        std::fs::write(&beside, set(names)).unwrap();
        std::fs::rename(beside, &file).unwrap();
    };
    put(&["rsa-one.jwk", "ed25519-one.jwk"]);
    let server = Server::start_with(&[
        ("CHATCTL_AUTH_JWKS_FILE", file.to_str().unwrap()),
        ("CHATCTL_AUTH_JWKS_PAUSE_MS", "100"),
    ])
    .await;
    let old = signed("ann", "rsa-one.pem", "rsa-one").await;
    let new = signed("ann", "rsa-two.pem", "rsa-two").await;
    let mut early = connect(&server, &old).await;
    connect(&server, &signed("bob", "ed25519-one.pem", "ed-one").await).await;
    let message = refused(&server, &new).await["message"].clone();
    assert_eq!(message, "no key of the token's alg and kid is known here");
    put(&["rsa-two.jwk"]);
    connect(&server, &new).await;
    assert_eq!(refused(&server, &old).await["code"], "bad_token");
    early.ok("ping", json!({})).await;
    // Written half, and then no more there: what was known holds.
    std::fs::write(&file, "{\"keys\":[").unwrap();
    sleep(Duration::from_millis(1_500)).await;
    connect(&server, &new).await;
    std::fs::remove_file(&file).unwrap();
    sleep(Duration::from_millis(1_500)).await;
    connect(&server, &new).await;
}

#[tokio::test]
async fn a_key_set_at_an_address_is_followed_and_outlived() {
    let keys = JwksServer::start(&set(&["ed25519-one.jwk"])).await;
    let server = Server::start_with(&[
        ("CHATCTL_AUTH_JWKS_URL", keys.url().as_str()),
        ("CHATCTL_AUTH_AUDIENCE", "chat"),
        ("CHATCTL_AUTH_JWKS_REFRESH_MS", "600"),
        ("CHATCTL_AUTH_JWKS_PAUSE_MS", "500"),
    ])
    .await;
    let of = async |name: &str, kid: &str| {
        let path = key(name);
        let path = path.to_str().unwrap();
        token(&["--user", "ann", "--key", path, "--kid", kid, "--audience", "chat"]).await
    };
    let (old, new) = (of("ed25519-one.pem", "ed-one").await, of("rsa-two.pem", "rsa-two").await);
    connect(&server, &old).await;
    let other = signed("ann", "ed25519-one.pem", "ed-one").await;
    assert_eq!(refused(&server, &other).await["message"], "the token has no aud");
    keys.serve(Some(&set(&["ed25519-one.jwk", "rsa-two.jwk"])));
    connect(&server, &new).await;
    connect(&server, &old).await;
    keys.serve(Some(&set(&["rsa-two.jwk"])));
    let begun = Instant::now();
    loop {
        let mut peer = Peer::silent(&server.url).await;
        if peer.call("hello", json!({"token": old})).await.get("error").is_some() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the key that was taken away is forgotten");
        sleep(Duration::from_millis(50)).await;
    }
    keys.serve(None);
    sleep(Duration::from_millis(1_500)).await;
    connect(&server, &new).await;
    let mut peer = Peer::silent(&server.url).await;
    let error = peer.error("hello", json!({"token": old})).await;
    assert_eq!(error["code"], "unavailable", "nobody can tell now: {error}");
    assert_eq!(error["temporary"], true);
    assert!(error["retry_after_ms"].as_u64().unwrap() >= 250, "{error}");
    peer.ok("hello", json!({"token": new})).await;
    // However many show keys that nobody knows.
    keys.serve(Some(&set(&["rsa-two.jwk"])));
    let before = keys.asked();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        let unknown = of("rsa-one.pem", &unique("kid")).await;
        let mut peer = Peer::silent(&server.url).await;
        peer.error("hello", json!({"token": unknown})).await;
    }
    let asked = keys.asked() - before;
    assert!(asked <= 2 + 2 * 2_000 / 500, "{asked} times in two seconds");
}

#[tokio::test]
async fn a_key_set_over_tls_needs_a_certificate_that_is_trusted() {
    let (certificate, private) = (text("tls.crt.pem"), text("tls.pem"));
    let keys = JwksServer::start_tls(&set(&["ed25519-one.jwk"]), &certificate, &private).await;
    let url = keys.url();
    let trusted = key("tls.crt.pem");
    let variables = [
        ("CHATCTL_AUTH_JWKS_URL", url.as_str()),
        ("CHATCTL_AUTH_AUDIENCE", "chat"),
        ("SSL_CERT_FILE", trusted.to_str().unwrap()),
    ];
    let server = Server::start_with(&variables).await;
    let path = key("ed25519-one.pem");
    let path = path.to_str().unwrap();
    let arguments = ["--user", "ann", "--key", path, "--kid", "ed-one", "--audience", "chat"];
    connect(&server, &token(&arguments).await).await;
    let error = Server::refused(&variables[..2]).await;
    assert!(error.contains("there are no keys to check tokens with"), "{error}");
    assert!(error.contains("CHATCTL_AUTH_JWKS_URL=https://localhost"), "{error}");
}

#[tokio::test]
async fn a_session_is_told_that_its_token_expires_and_closed_when_it_has() {
    let server = with_secret().await;
    let expiring = token(&["--user", "ann", "--ttl", "3s"]).await;
    let begun = Instant::now();
    let mut peer = connect(&server, &expiring).await;
    // Whoever neither reads nor says anything is closed, too.
    let quiet = connect(&server, &expiring).await;
    let notice = peer.push("notice").await;
    assert_eq!(notice["code"], "token_expiring");
    let told = begun.elapsed();
    assert!(told > Duration::from_secs(1) && told < Duration::from_secs(3), "{told:?}");
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let left_ms = notice["expires"].as_u64().unwrap() as i128 - now_ms.as_millis() as i128;
    assert!((0..3_000).contains(&left_ms), "{left_ms} ms are left");
    peer.ok("ping", json!({})).await;
    assert_eq!(peer.close_code().await, 4501);
    let closed = begun.elapsed();
    assert!(closed >= Duration::from_secs(3), "{closed:?}");
    assert!(closed <= Duration::from_secs(3) + EXPIRED_MAX, "{closed:?}");
    let error = refused(&server, &expiring).await;
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("token_expired"), &json!("the token has expired; get a new one"))
    );
    drop(quiet);
}

#[tokio::test]
async fn a_refresh_keeps_the_session_and_its_streams() {
    let server = with_secret().await;
    let (ann, bob) = (unique("ann"), unique("bob"));
    let mut peer = connect(&server, &token(&["--user", &ann, "--ttl", "4s"]).await).await;
    let conv = peer.open_user(&bob).await["conv"].clone();
    let mut other = connect(&server, &token(&["--user", &bob]).await).await;
    other.open_user(&ann).await;
    peer.push("notice").await;
    let next = token(&["--user", &ann]).await;
    let expires = peer.ok("refresh", json!({"token": next})).await["expires"].as_u64().unwrap();
    sleep(Duration::from_secs(4) + EXPIRED_MAX).await;
    other.send(&conv, "b1", None).await;
    let pushed = peer.push("msg").await;
    assert_eq!((&pushed["cid"], &pushed["seq"]), (&json!("b1"), &json!(1)), "the stream goes on");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(expires > now.as_millis() as u64 + 3_500_000, "{expires}");
    assert_eq!(
        peer.error_code("refresh", json!({})).await,
        ("invalid_field".into(), "token".into())
    );
    let foreign = token(&["--user", &bob]).await;
    let error = peer.error("refresh", json!({"token": foreign})).await;
    assert_eq!(error["code"], "bad_token");
    assert_eq!(error["message"], "the token is of another user than the session");
    assert_eq!(peer.close_code().await, 4501);
}

#[tokio::test]
async fn others_than_this_machine_must_be_let_in_on_purpose() {
    let anywhere = ("CHATCTL_LISTEN", "0.0.0.0:0");
    let error = Server::refused(&[anywhere]).await;
    assert!(error.contains("CHATCTL_LISTEN=0.0.0.0:0 is no loopback address"), "{error}");
    assert!(error.contains("CHATCTL_AUTH_SECRET_FILE"), "{error}");
    assert!(error.contains("CHATCTL_INSECURE_NO_AUTH=yes (--insecure-no-auth yes)"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let log_file = folder.path().join("log");
    let mut child = Server::command(&folder.path().join("data"))
        .envs([anywhere, ("CHATCTL_INSECURE_NO_AUTH", "yes")])
        .stderr(std::fs::File::create(&log_file).unwrap())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(&log_file).unwrap();
        if text.contains("there is no authentication (CHATCTL_INSECURE_NO_AUTH=yes)") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{text}");
        sleep(Duration::from_millis(20)).await;
    }
    child.kill().await.unwrap();
    log::check(&std::fs::read(&log_file).unwrap());
}

#[tokio::test]
async fn tokens_are_made_only_with_a_key() {
    let output = chatctl(&["token", "--user", "ann"]).env_clear().output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(error.contains("--key") && error.contains("CHATCTL_AUTH_SECRET_FILE"), "{error}");
    let public = key("ed25519-one.pub.pem");
    let public = public.to_str().unwrap();
    let output = chatctl(&["token", "--user", "ann", "--key", public]).output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("holds no private key of Ed25519 or RSA"), "{error}");
    assert_eq!(
        chatctl(&["token", "--user", "a b"]).output().await.unwrap().status.code(),
        Some(64)
    );
    assert_eq!(chatctl(&["revoke"]).output().await.unwrap().status.code(), Some(64));
    let output = chatctl(&["revoke", "--user", "ann", "--admin", "127.0.0.1:1"]).output().await;
    let error = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    assert!(error.contains("CHATCTL_ADMIN_LISTEN of a running node"), "{error}");
}

#[tokio::test]
async fn the_harness_signs_its_clients_in() {
    let folder = tempfile::tempdir().unwrap();
    let amount = ["--clients", "4", "--messages", "20", "--out"];
    let arguments = [&["check", "validity"], &amount[..]].concat();
    let output = chatctl(&arguments)
        .arg(folder.path())
        .env("CHATCTL_AUTH_SECRET", SECRET)
        .env("CHATCTL_AUTH_AUDIENCE", "chat")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let public = key("rsa-one.pub.pem");
    let server =
        Server::start_with(&[("CHATCTL_AUTH_PUBLIC_KEY_FILE", public.to_str().unwrap())]).await;
    let arguments = ["check", "validity", "--url", &server.url];
    let run = async |key: Option<PathBuf>| {
        let mut command = chatctl(&[&arguments, &amount[..]].concat());
        command.arg(folder.path().join("other"));
        if let Some(key) = key {
            command.arg("--token-key").arg(key);
        }
        command.output().await.unwrap()
    };
    let output = run(Some(key("rsa-one.pem"))).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let error = String::from_utf8_lossy(&run(None).await.stderr).into_owned();
    assert!(error.contains("authentication is on here"), "{error}");
}

/// No page of another origin, no cookie, no leave for other origins to read what is answered.
#[tokio::test]
async fn pages_come_from_where_they_may_and_cookies_are_nobodys() {
    let server = Server::start_with(&[
        ("CHATCTL_AUTH_SECRET", SECRET),
        ("CHATCTL_ALLOWED_ORIGINS", "https://chat.example"),
    ])
    .await;
    let good = token(&["--user", "ann"]).await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let cookie =
        format!("Cookie: token={good}; session={good}\r\nAuthorization: Bearer {good}\r\n");
    let own = format!("http://{}", server.address());
    for (origin, status) in [
        ("https://chat.example", 101),
        (own.as_str(), 101),
        ("https://chat.example.evil.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ] {
        let head = format!("Origin: {origin}\r\n{cookie}");
        let answer = server.head("GET", "/v1/ws", &format!("{head}{upgrade}")).await;
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{origin}: {answer}");
        let preflight = format!("{head}Access-Control-Request-Method: POST\r\n");
        for (method, path) in [("OPTIONS", "/v1/ws"), ("OPTIONS", "/readyz"), ("GET", "/readyz")] {
            let answer = server.head(method, path, &preflight).await;
            for header in ["access-control-", "set-cookie"] {
                assert!(!answer.contains(header), "{origin}, {method} {path}: {answer}");
            }
        }
    }
    // A token in the address or in a cookie is not looked at: the first message says who it is.
    let mut peer = Peer::silent(&format!("{}?token={good}", server.url)).await;
    assert_eq!(peer.error_code("ping", json!({})).await.0, "hello_first");
}
