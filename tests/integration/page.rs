//! The page in a real browser, driven from Node by `tests/browser/run.mjs`, and its headers on both listeners.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::support::Server;
use crate::support::npm;
use crate::support::services::leave_out;
use crate::support::tokens::{SECRET, with_secret};

/// All steps together take two minutes on a quiet machine; starting browsers, more on a busy one.
const STEPS: Duration = Duration::from_secs(300);
const CHROMIUM: &str = "/usr/bin/chromium";

/// The steps and what they need, in a folder beside the build; `None` when the caller is to be left out.
async fn prepare() -> Option<PathBuf> {
    if !Path::new(CHROMIUM).exists() {
        return leave_out("chromium is not installed (apt-get install chromium)");
    }
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    std::fs::create_dir_all(&folder).unwrap();
    for file in std::fs::read_dir(&from).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "json" || extension == "mjs") {
            std::fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
        }
    }
    match npm::install(&folder).await {
        Ok(_) => Some(folder),
        Err(reason) => leave_out(&reason),
    }
}

#[tokio::test]
async fn people_chat_in_browsers() {
    let Some(folder) = prepare().await else { return };
    let (server, by_token) = (Server::start().await, with_secret().await);
    let mut command = Command::new("node");
    command
        .arg("run.mjs")
        .arg(format!("http://{}/", server.address()))
        .arg(format!("http://{}/status", server.admin()))
        .arg(format!("http://{}/", by_token.address()))
        .current_dir(&folder)
        .env("CHROMIUM", CHROMIUM)
        .env("CHATCTL_AUTH_SECRET", SECRET)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(STEPS, command.output()).await.expect("the steps end in time").unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{complaint}");
    let steps = ["run.mjs", "absences.mjs", "groups.mjs"]
        .map(|name| std::fs::read_to_string(folder.join(name)).unwrap())
        .concat();
    let expected = steps.lines().filter(|line| line.starts_with("  async \"")).count();
    assert_eq!(text.lines().filter(|line| line.starts_with("ok: ")).count(), expected, "{text}");
}

#[tokio::test]
async fn pages_are_where_they_belong_and_for_this_host_only() {
    let server = Server::start().await;
    let head = server.head("GET", "/", "Connection: close\r\n").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self';"));
    assert!(head.contains("x-content-type-options: nosniff") && head.contains("etag: "), "{head}");
    assert!(server.get("/page/app.js", "").await.1.contains("import "));
    assert_eq!(server.get("/status", "").await.0, 404, "on the admin listener only");
    let (status, text) = server.admin_get("/status").await;
    assert!(status == 200 && text.contains("/page/status.js"), "{text}");
    assert_eq!(server.admin_get("/page/status.js").await.0, 200);
    let foreign = "Origin: http://evil.example\r\n";
    assert_eq!(server.get("/page/app.js", foreign).await.0, 403);
}
