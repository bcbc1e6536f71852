//! Starting, stopping, and what an operator is told.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{BINARY, PATIENCE, Peer, Server, log, message, unique};

/// Runs `serve` where it must refuse: exit code 1 and one line that says why.
async fn refusal(data_dir: &Path, variables: &[(&str, &str)]) -> String {
    let child = Server::command(data_dir)
        .envs(variables.iter().copied())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output: Output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    log::check(&output.stderr);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.trim().lines().count(), 1, "one line: {text}");
    text
}

#[tokio::test]
async fn a_second_server_on_one_folder_is_refused() {
    let server = Server::start().await;
    let text = refusal(server.data_dir(), &[]).await;
    assert!(text.contains("in use") && text.contains("CHATCTL_DATA_DIR"), "{text}");
    assert!(text.contains(&server.data_dir().display().to_string()), "{text}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let text = refusal(folder.path(), &[("CHATCTL_LISTEN", &server.address())]).await;
    assert!(text.contains(&server.address()) && text.contains("CHATCTL_LISTEN"), "{text}");
}

#[tokio::test]
async fn wrong_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (key, value, hint) in [
        ("CHATCTL_LISTEN", "nowhere", "CHATCTL_LISTEN"),
        ("CHATCTL_LOCAL_SYNC", "sometimes", "always"),
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "POSTGRES", "LOCAL"),
        ("CHATCTL_REQUIRE_DURABILITY", "replicated+disk", "disk"),
        ("CHATCTL_DATA_DIR", "/proc/chatctl", "CHATCTL_DATA_DIR"),
    ] {
        let text = refusal(folder.path(), &[(key, value)]).await;
        assert!(text.contains(key) && text.contains(hint), "{key}={value}: {text}");
    }
}

#[tokio::test]
async fn wrong_usage_exits_with_64() {
    for arguments in [
        vec!["serve", "--nonsense"],
        vec!["dance"],
        vec!["bench", "paired-clients", "--clients", "x"],
    ] {
        let output = tokio::process::Command::new(BINARY).args(&arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?} {output:?}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn the_operators_pages_tell_the_state() {
    let server = Server::start().await;
    let mut ann = server.connect(&unique("ann")).await;
    let conv = ann.open_user(&unique("bob")).await["conv"].clone();
    ann.send(&conv, "c1", None).await;
    assert_eq!(server.get("/readyz", "").await, (200, r#"{"ready":true}"#.to_owned()));
    let (status, body) = server.admin_get("/readyz").await;
    let ready: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(ready["engine"], json!({"name": "LOCAL", "durability": "disk"}));
    assert_eq!(
        (&ready["distribution"]["name"], &ready["registry"]["name"]),
        (&json!("LOCAL"), &json!("LOCAL"))
    );
    assert_eq!((&ready["ready"], &ready["reasons"]), (&json!(true), &json!([])));
    assert!(server.counter("chatctl_messages_appended_total").await >= 1.0);
    assert!(server.counter("chatctl_syncs_total").await >= 1.0);
    assert!(server.counter("chatctl_process_resident_bytes").await > 1e6);
}

#[tokio::test]
async fn sigterm_drains_and_everything_answered_is_there_afterwards() {
    let mut server = Server::start().await;
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let mut ann = server.connect(&ann_name).await;
    let conv = ann.open_user(&bob_name).await["conv"].clone();
    for number in 1..=20 {
        ann.send(&conv, &format!("c{number}"), None).await;
    }
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(ann.push("notice").await, json!({"code": "draining"}));
    assert_eq!(ann.close_code().await, 4001);
    assert_eq!(server.wait_for_end().await, Some(0));
    server.restart().await;
    let mut bob = server.connect(&bob_name).await;
    assert_eq!(bob.open_user(&ann_name).await["head"], 20);
}

#[tokio::test]
async fn a_connection_without_hello_or_header_ends() {
    let server = Server::start_with(&[("CHATCTL_HEADER_TIMEOUT_MS", "300")]).await;
    let begun = Instant::now();
    let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HT").await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
    timeout(PATIENCE, read).await.expect("closed in time").ok();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let mut silent = Peer::silent(&server.url).await;
    assert_eq!(silent.close_code().await, 4002);
}

#[tokio::test]
async fn a_full_disk_is_a_definite_error_and_ends_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let stat = rustix::fs::statvfs(folder.path()).unwrap();
    let free_bytes = stat.f_bavail * stat.f_frsize;
    // Other work on the machine may use a little; the ballast uses more than what is left above the reserve.
    let margin_bytes = (free_bytes / 8).min(1 << 30);
    let reserve = (free_bytes - margin_bytes).to_string();
    let server = Server::start_with(&[("CHATCTL_LOCAL_RESERVE_BYTES", &reserve)]).await;
    let mut ann = server.connect(&unique("ann")).await;
    let conv = ann.open_user(&unique("bob")).await["conv"].clone();
    ann.send(&conv, "c1", None).await;

    let ballast = std::fs::File::create(folder.path().join("ballast")).unwrap();
    rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, 2 * margin_bytes)
        .unwrap();
    let error = ann.error("send", message(&conv, "c2", None)).await;
    assert_eq!((&error["code"], &error["definite"]), (&json!("storage_full"), &json!(true)));
    assert_eq!(ann.send(&conv, "c1", None).await["dup"], true, "what is stored is still answered");
    let page = ann.ok("read", json!({"conv": conv})).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "reads go on");
    let (status, body) = server.admin_get("/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("storage_full"), "{body}");

    drop(ballast);
    std::fs::remove_file(folder.path().join("ballast")).unwrap();
    assert_eq!(ann.send(&conv, "c2", None).await["seq"], 2);
    assert_eq!(server.admin_get("/readyz").await.0, 200);
}
