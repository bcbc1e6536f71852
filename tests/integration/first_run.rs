//! What somebody sees who has just built it: `chatctl` alone, the demo, help, completions, manual pages.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command as Blocking, Output};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::support::services::leave_out;
use crate::support::{PATIENCE, Peer, chatctl};

async fn output(arguments: &[&str]) -> Output {
    timeout(PATIENCE, chatctl(arguments).output()).await.expect("ends in time").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn chatctl_alone_says_what_to_do_on_stdout() {
    let output = output(&[]).await;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let said = text(&output.stdout);
    for command in ["chatctl demo", "chatctl serve", "chatctl bench paired-clients", "--help"] {
        assert!(said.contains(command), "{said}");
    }
    assert!(said.lines().count() <= 10, "{said}");
}

#[tokio::test]
async fn help_that_nobody_wraps_is_as_wide_as_eighty_columns() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["bench", "paired-clients", "-h"]] {
        let output = output(arguments).await;
        assert!(output.status.success(), "{output:?}");
        let said = text(&output.stdout);
        let widest = said.lines().map(|line| line.chars().count()).max().unwrap();
        assert!((70..=80).contains(&widest), "{arguments:?}: {widest}");
    }
}

/// A demo that runs, what it said first, and its lines.
struct Demo {
    child: Child,
    introduction: String,
    lines: Lines<BufReader<ChildStdout>>,
    temporary: tempfile::TempDir,
}

impl Demo {
    async fn start(more: &[&str], working_folder: &Path) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = chatctl(&["demo", "--pace", "20ms"]);
        command
            .args(more)
            .current_dir(working_folder)
            // None of this counts.
            .env("WS_MESSAGE_PERSISTENCE_ENGINE", "CASSANDRA")
            .env("CHATCTL_AUTH_SECRET", "0123456789012345678901234567890123456789")
            .env("TMPDIR", temporary.path());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut introduction = String::new();
        while !introduction.contains("Ctrl-C") {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("it says where it is");
            match line.unwrap() {
                Some(line) => introduction += &format!("{line}\n"),
                None => {
                    let mut complaint = String::new();
                    child.stderr.take().unwrap().read_to_string(&mut complaint).await.unwrap();
                    panic!("{introduction}{complaint}");
                }
            }
        }
        Self { child, introduction, lines, temporary }
    }

    /// The `host:port` after these words.
    fn address_after(&self, words: &str) -> String {
        let (_, rest) = self.introduction.split_once(words).expect("it says where");
        let url = rest.split_whitespace().next().unwrap();
        url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned()
    }

    /// Lines from now on until each of these words was said.
    async fn hear(&mut self, words: &[&str]) -> String {
        let mut said = String::new();
        while !words.iter().all(|word| said.contains(word)) {
            let line = timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{words:?} in {said}"));
            said += &format!("{}\n", line.unwrap().expect("it goes on"));
        }
        said
    }

    /// Ends it by a signal: what it said at last. Nothing may be left but what was asked for.
    async fn end(mut self, signal: Signal) -> String {
        let pid = Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
        let mut last = String::new();
        while let Some(line) = timeout(PATIENCE, self.lines.next_line()).await.unwrap().unwrap() {
            last += &format!("{line}\n");
        }
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        assert!(status.success(), "{status}: {last}");
        let left: Vec<_> = std::fs::read_dir(self.temporary.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        last
    }
}

async fn get(address: &str, path: &str) -> String {
    use tokio::io::AsyncWriteExt as _;
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn the_demo_shows_two_people_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "CHATCTL_DRAIN_MS=nonsense\n").unwrap();
    let mut demo = Demo::start(&[], folder.path()).await;
    let (page, status) = (demo.address_after("the chat"), demo.address_after("its node"));
    assert!(get(&page, "/").await.contains("<!doctype html>"), "the page answers");
    assert!(get(&status, "/status").await.starts_with("HTTP/1.1 200"), "the status page answers");

    // A visitor in the channel gets what they say, with late messages among it.
    let mut visitor = Peer::connect(&format!("ws://{page}/v1/ws"), "visitor").await;
    visitor.ok("open", serde_json::json!({"to": {"channel": "lobby"}})).await;
    let mut heard = BTreeSet::new();
    while heard.len() < 4 {
        let frame = timeout(PATIENCE, visitor.frame()).await.unwrap().unwrap();
        if let Some(message) = frame.get("msg") {
            let from = message["from"].as_str().unwrap().to_owned();
            heard.insert((from, message["late"].as_bool().unwrap()));
            // Three kinds: each of the two on time, bob late.
            if heard.len() == 3 {
                break;
            }
        }
    }
    let kind = |from: &str, late| (from.to_owned(), late);
    assert_eq!(heard, BTreeSet::from([kind("ann", false), kind("bob", false), kind("bob", true)]));
    demo.hear(&["ann → bob", "bob → #lobby", "(late: written 90 s ago)", "1 of them late"]).await;

    let last = demo.end(Signal::INT).await;
    assert!(last.contains("its messages are gone"), "{last}");
    assert!(tokio::net::TcpStream::connect(&page).await.is_err(), "the server has ended");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "only .env: {left:?}");
}

#[tokio::test]
async fn a_demo_that_keeps_its_messages_goes_on_with_them() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::HUP] {
        let mut demo = Demo::start(&["--data-dir", "kept"], folder.path()).await;
        demo.hear(&["ann → bob", "bob            reads"]).await;
        let last = demo.end(signal).await;
        assert!(last.contains("kept"), "{last}");
        assert!(folder.path().join("kept/chatctl.json").exists());
    }
}

#[tokio::test]
async fn a_demo_that_cannot_start_says_what_to_change() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = output(&["demo", "--port", &port]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let complaint = text(&output.stderr);
    assert!(complaint.contains("--port") && complaint.contains("is taken"), "{complaint}");
    assert_eq!(self::output(&["demo", "--pace", "1ms"]).await.status.code(), Some(64));
}

/// What a program of the system says to this file; `None` where it is not there.
fn judged(program: &str, arguments: &[&str], file: &Path, install: &str) -> Option<Output> {
    match Blocking::new(program).args(arguments).arg(file).env("LC_ALL", "C.UTF-8").output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => leave_out(install),
        Err(error) => panic!("{program}: {error}"),
    }
}

#[tokio::test]
async fn every_shell_gets_its_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = output(&["completions", shell]).await;
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let script = text(&output.stdout);
        for word in ["paired-clients", "init-env", "demo", "find-max", "require-durability"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        std::fs::write(folder.path().join(shell), script).unwrap();
    }
    let unknown = output(&["completions", "bsh"]).await;
    assert_eq!(unknown.status.code(), Some(64));
    assert!(text(&unknown.stderr).contains("'bash'"), "{unknown:?}");
    let bash = folder.path().join("bash");
    let Some(output) = judged("bash", &["-n"], &bash, "bash is not installed") else { return };
    assert!(output.status.success(), "{output:?}");
    // It completes: asked in a shell of its own, as a person does with the tab key.
    let ask = "source \"$0\"; COMP_WORDS=(chatctl bench pa); COMP_CWORD=2; _chatctl chatctl pa bench; echo \"${COMPREPLY[@]}\"";
    let output = Blocking::new("bash").args(["-c", ask]).arg(&bash).output().unwrap();
    assert_eq!(text(&output.stdout).trim(), "paired-clients", "{output:?}");
}

#[tokio::test]
async fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    let written = output(&["man", "--out", out.to_str().unwrap()]).await;
    assert!(written.status.success() && written.stdout.is_empty(), "{written:?}");
    let pages: BTreeSet<_> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for page in ["chatctl.1", "chatctl-serve.1", "chatctl-bench-paired-clients.1", "chatctl-demo.1"]
    {
        assert!(pages.contains(page), "{pages:?}");
    }
    assert!(!pages.contains("chatctl-dump.1"), "what is hidden has none");
    let demo = std::fs::read_to_string(out.join("chatctl-demo.1")).unwrap();
    assert!(demo.contains("\n.SH EXAMPLES\n.nf\n  chatctl demo "), "{demo}");
    let printed = output(&["man"]).await;
    assert_eq!(printed.stdout, std::fs::read(out.join("chatctl.1")).unwrap());
    for page in pages {
        let path = out.join(&page);
        let install = "groff is not installed (apt-get install groff)";
        let Some(output) = judged("groff", &["-k", "-man", "-Tutf8", "-ww", "-z"], &path, install)
        else {
            return;
        };
        assert!(output.status.success() && output.stderr.is_empty(), "{page}: {output:?}");
    }
    let nowhere = output(&["man", "--out", "/dev/null/man1"]).await;
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("--out"), "{nowhere:?}");
}

#[tokio::test]
async fn a_mistyped_engine_or_variable_is_told_what_it_means() {
    let mut command = chatctl(&["config", "show"]);
    command.env("WS_MESSAGE_PERSISTENCE_ENGINE", "cassandr").env("CHATCTL_LISEN", "x");
    let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let complaint = text(&output.stderr);
    assert!(complaint.contains("did you mean CASSANDRA?"), "{complaint}");
    assert!(complaint.contains("did you mean CHATCTL_LISTEN?"), "{complaint}");
}
