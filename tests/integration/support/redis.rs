//! Redis servers of one test, and clients that wait until a failover is over.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{PATIENCE, Peer, Server, message};

/// One server, killed when dropped.
pub struct Process(Command, Child);

impl Process {
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        Self(command, child)
    }

    /// Again, after it was killed.
    pub fn restart(&mut self) {
        self.1 = self.0.spawn().unwrap();
    }

    pub fn kill(&mut self) {
        let _ = self.1.kill();
        let _ = self.1.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn connection(url: &str) -> redis::RedisResult<redis::Connection> {
    redis::Client::open(url)?.get_connection_with_timeout(Duration::from_secs(1))
}

/// Opens until it is answered.
pub async fn opened(server: &Server, user: &str, peer: &str) -> (Peer, Value) {
    let begun = Instant::now();
    loop {
        let mut session = server.connect(user).await;
        let mut answer = session.call("open", json!({"to": {"user": peer}})).await;
        if answer["open"].is_object() {
            return (session, answer["open"].take());
        }
        assert!(begun.elapsed() < PATIENCE, "{answer}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Sends until it is answered: what was under way on a connection that broke off may have happened.
pub async fn sent(session: &mut Peer, conv: &Value, cid: &str) -> Value {
    let begun = Instant::now();
    loop {
        let mut answer = session.call("send", message(conv, cid, None)).await;
        if answer["send"].is_object() {
            return answer["send"].take();
        }
        assert!(begun.elapsed() < PATIENCE, "{answer}");
    }
}

/// Opens until the epoch is another one.
pub async fn reopened(server: &Server, user: &str, peer: &str, epoch: &Value) -> (Peer, Value) {
    let begun = Instant::now();
    loop {
        let (session, answer) = opened(server, user, peer).await;
        if answer["epoch"] != *epoch {
            return (session, answer);
        }
        assert!(begun.elapsed() < PATIENCE, "{answer}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until it holds, for as long as a test has.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(50)).await;
    }
}
