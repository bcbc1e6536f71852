//! What the machine below does not give: files, descriptors, somebody who reads the log.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::raw::{Raw, text};
use crate::support::{PATIENCE, Peer, Server, unique};

/// The log of a server that has ended.
async fn log_of(server: &mut Server) -> String {
    server.wait_for_end().await;
    server.log()
}

/// Text that no compression makes smaller; another for each number.
fn incompressible(number: usize) -> String {
    let mut state = number as u64 + 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state >> 33) as u8 % 64)
    };
    (0..16_000).map(|_| next()).collect()
}

/// The kernel refuses a write for good: no file may be larger than what a journal begins with.
#[tokio::test]
async fn a_write_that_fails_ends_all_answers_and_the_process_and_names_the_place() {
    /// Sends that are under way at once: the journal is 64 MiB.
    const AT_ONCE: usize = 64;
    // 64 MiB in units of 512 bytes; without the signal, so that the write itself fails.
    let mut server = Server::start_after("trap '' XFSZ; ulimit -f 131072", &[]).await;
    let (name, peer) = (unique("ann"), unique("bob"));
    let mut ann = server.connect(&name).await;
    let open = json!({"to": {"user": peer}, "limit": 0, "push": false});
    let conv = ann.ok("open", open.clone()).await["conv"].clone();
    let send = |number: usize| {
        let content = incompressible(number);
        json!({"conv": conv, "cid": format!("c{number}"), "type": "text", "content": content})
    };
    let (mut begun, mut answered) = (0, Vec::new());
    let mut numbers = HashMap::new();
    let ended = 'sending: loop {
        assert!(begun < 8_000, "the limit was never met");
        for number in begun..begun + AT_ONCE {
            numbers.insert(ann.begin("send", send(number)).await, number);
        }
        let mut expected = AT_ONCE;
        while expected > 0 {
            let frame = ann.frame().await;
            expected -= usize::from(frame.as_ref().is_ok_and(|frame| frame.get("id").is_some()));
            match frame {
                Ok(frame) if frame.get("id").is_none() => {}
                Ok(frame) if frame["send"].is_object() => answered.push(frame["id"].clone()),
                Ok(frame) => break 'sending Some(frame),
                Err(_) => break 'sending None,
            }
        }
        begun += AT_ONCE;
    };
    // Who is told anything at all is told that it may have happened; or that it has not, for the server was ending, or its store was broken,
    // before the command came there: which must be so.
    let mut refused = None;
    if let Some(frame) = ended {
        let error = &frame["error"];
        if error["definite"] == true {
            let code = error["code"].as_str().unwrap();
            assert!(["draining", "unavailable"].contains(&code), "{error}");
            refused = frame["id"].as_u64().map(|id| numbers[&id]);
        }
    }
    let code = server.wait_for_end().await;
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
    let log = log_of(&mut server).await;
    let data_dir = server.data_dir().display().to_string();
    assert!(log.contains(&data_dir), "no file of {data_dir} is named: {log}");
    // Nothing that was answered is gone.
    server.restart().await;
    let mut ann = server.connect(&name).await;
    let opened = ann.ok("open", open).await;
    assert!(opened["head"].as_u64().unwrap() >= answered.len() as u64, "{opened}");
    if let Some(number) = refused {
        assert_eq!(ann.ok("send", send(number)).await["dup"], json!(false), "it was not done");
    }
    for number in [0, answered.len() - 1] {
        assert_eq!(ann.ok("send", send(number)).await["dup"], json!(true), "{number}");
    }
}

/// As many connections as the process has descriptors for, and some that wait in vain.
#[tokio::test]
async fn without_descriptors_it_pauses_and_serves_those_it_has() {
    let variables = [("CHATCTL_LOCAL_SYNC", "memory")];
    let server = Server::start_after("ulimit -n 64", &variables).await;
    let mut ann = server.connect(&unique("ann")).await;
    let conv = ann.open_user(&unique("bob")).await["conv"].clone();
    let mut silent = Vec::new();
    for _ in 0..80 {
        silent.push(TcpStream::connect(server.address()).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (cpu, begun) = (server.cpu_time(), Instant::now());
    while begun.elapsed() < Duration::from_secs(2) {
        ann.send(&conv, &format!("c{}", begun.elapsed().as_nanos()), None).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let used = server.cpu_time() - cpu;
    assert!(used < Duration::from_millis(500), "{used:?} of CPU in 2 s: a busy loop");
    drop(silent);
    let mut late = Peer::connect(&server.url, &unique("late")).await;
    late.ok("ping", json!({})).await;
    assert!(server.counter("chatctl_accept_errors_total").await >= 1.0);
}

/// Where it may not write it does not start, and says where and what to set.
#[tokio::test]
async fn a_folder_that_is_read_only_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    let allow = |mode| {
        for path in [folder.path(), &data_dir] {
            let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
        }
    };
    allow(0o555);
    // What is forbidden is not forbidden to root.
    let command = match rustix::process::getuid().is_root() {
        true => {
            let mut command = tokio::process::Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            command.args([crate::support::BINARY, "serve"]);
            command
        }
        false => {
            let mut command = tokio::process::Command::new(crate::support::BINARY);
            command.arg("serve");
            command
        }
    };
    let mut command = command;
    let output = command
        .env_clear()
        .env("CHATCTL_LISTEN", "127.0.0.1:0")
        .env("CHATCTL_ADMIN_LISTEN", "127.0.0.1:0")
        .env("CHATCTL_DATA_DIR", &data_dir)
        .output();
    let output = timeout(PATIENCE, output).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
    assert!(said.contains(&data_dir.display().to_string()), "{said}");
    assert!(said.contains("CHATCTL_DATA_DIR"), "{said}");
    // So that it can be removed again.
    allow(0o755);
}

/// Whoever read the log is gone: that is no reason to stop.
#[tokio::test]
async fn a_log_that_nobody_reads_any_more_does_not_stop_it() {
    let trace = [("CHATCTL_LOG", "trace")];
    let mut server = Server::start_logging_to(Some(Stdio::piped()), "true", &trace).await;
    drop(server.log_pipe());
    let mut ann = server.connect(&unique("ann")).await;
    let conv = ann.open_user(&unique("bob")).await["conv"].clone();
    for number in 0..50 {
        ann.send(&conv, &format!("c{number}"), None).await;
    }
    // One that is there and reads nothing: the log must not hold up the chat.
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.wait_for_end().await, Some(0));
}

/// A reader of the log that has stopped holds up nobody: what does not fit is left out.
#[tokio::test]
async fn a_log_that_is_not_read_does_not_hold_up_the_chat() {
    // Each send is refused, and each refusal is a line: far more than a pipe holds.
    let full = [("CHATCTL_LOG", "debug"), ("CHATCTL_LOCAL_RESERVE_BYTES", "9007199254740991")];
    let server = Server::start_logging_to(Some(Stdio::piped()), "true", &full).await;
    let mut ann = server.connect(&unique("ann")).await;
    let id = ann.begin("open", json!({"to": {"channel": unique("channel")}})).await;
    ann.answer(id).await;
    for number in 0..3_000 {
        let id = ann.begin("open", json!({"to": {"channel": format!("c-{number}")}})).await;
        let reply =
            timeout(PATIENCE, ann.answer(id)).await.expect("answered although nobody reads");
        assert_eq!(reply["error"]["code"], "storage_full", "{number}: {reply}");
    }
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    timeout(PATIENCE, socket.read_exact(&mut head)).await.expect("answered").unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
}

/// Memory runs out in the middle of the work: the process ends, and what it answered is there.
#[tokio::test]
async fn where_memory_runs_out_nothing_that_was_answered_is_lost() {
    let mut server = Server::start_after("ulimit -d 120000", &[]).await;
    let (ann, bob) = (unique("ann"), unique("bob"));
    let mut talker = server.connect(&ann).await;
    let conv = talker.open_user(&bob).await["conv"].clone();
    let mut answered = 0;
    for number in 0..70 {
        let content = incompressible(number);
        let send =
            json!({"conv": conv, "cid": format!("c{number}"), "type": "text", "content": content});
        answered = talker.ok("send", send).await["seq"].as_u64().unwrap();
    }
    // Sessions that ask for page after page and read none of them.
    let mut greedy = Vec::new();
    for _ in 0..60 {
        let address = server.address();
        let Ok(stream) = TcpStream::connect(&address).await else { break };
        let mut raw = Raw::over(stream);
        if !raw.try_upgrade(&address).await {
            break;
        }
        raw.write(&text(&format!(r#"{{"id":1,"hello":{{"user":"{bob}"}}}}"#))).await;
        let open = json!({"id": 2, "open": {"to": {"user": ann}, "limit": 200}});
        raw.write(&text(&open.to_string())).await;
        for id in 3..20 {
            let read =
                json!({"id": id, "read": {"conv": conv, "order": "asc", "from": id, "limit": 200}});
            raw.write(&text(&read.to_string())).await;
        }
        greedy.push(raw);
    }
    let mut sent = 70;
    let code = loop {
        let content = incompressible(sent);
        let send =
            json!({"conv": conv, "cid": format!("c{sent}"), "type": "text", "content": content});
        match talker.try_call("send", send).await {
            Some(reply) if reply.get("error").is_none() => {
                answered = reply["send"]["seq"].as_u64().unwrap();
            }
            Some(_) => {}
            None => break server.wait_for_end().await,
        }
        sent += 1;
        assert!(sent < 5_000, "it has memory for everything");
    };
    assert_ne!(code, Some(0), "it does not end as if all were well");
    server.restart().await;
    let mut again = server.connect(&ann).await;
    let opened = again.open_user(&bob).await;
    assert!(opened["head"].as_u64() >= Some(answered), "{answered} answered, {}", opened["head"]);
}

/// The wall clock jumps by an hour, back and forth: numbers go on, what the server stamps is never late, and what it
/// believes to be in the future is refused for as long.
#[tokio::test]
async fn a_clock_that_jumps_disturbs_no_order() {
    const HOUR_MS: i64 = 3_600_000;
    let mut server = Server::start().await;
    let (ann, bob) = (unique("ann"), unique("bob"));
    let (mut stamped, mut seq, mut round) = (0, 0, 0);
    for offset_ms in [0, -HOUR_MS, HOUR_MS, 0] {
        if round > 0 {
            server.kill().await;
            server.restart_with(&[("CHATCTL_CLOCK_OFFSET_MS", &offset_ms.to_string())]).await;
        }
        round += 1;
        let mut peer = server.connect(&ann).await;
        let opened = peer.open_user(&bob).await;
        assert_eq!(opened["head"], seq, "{offset_ms}");
        let conv = opened["conv"].clone();
        let sent = peer.send(&conv, &format!("stamped-{round}"), None).await;
        seq += 1;
        assert_eq!((&sent["seq"], &sent["late"]), (&json!(seq), &json!(false)), "{offset_ms}");
        let ts = sent["ts"].as_u64().unwrap();
        assert!(ts >= stamped, "{offset_ms}: {ts} after {stamped}");
        stamped = ts;
        let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        let send = json!({"conv": conv, "cid": format!("own-{round}"), "type": "text", "content": "x", "ts": now_ms});
        let reply = peer.call("send", send).await;
        if offset_ms < 0 {
            assert_eq!(reply["error"]["code"], "ts_in_future", "{reply}");
        } else {
            seq += 1;
            assert_eq!(reply["send"]["seq"], seq, "{reply}");
            // Since the clock was an hour ahead there is something newer.
            assert_eq!(reply["send"]["late"], now_ms < stamped, "{reply}");
        }
        peer.ok("ack", json!({"conv": conv, "up_to": seq})).await;
    }
    assert_eq!(seq, 7);
    let mut reader = server.connect(&bob).await;
    let opened = reader.open_user(&ann).await;
    let read =
        reader.ok("read", json!({"conv": opened["conv"], "after_seq": 0, "limit": 50})).await;
    let seqs: Vec<_> =
        read["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=7).map(Some).collect::<Vec<_>>());
}
