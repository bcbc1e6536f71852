//! How a client connects and where its pushes go.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Credentials;
use crate::model::LIMITS;
use crate::protocol::Push;

/// A push and the moment at which its frame had been read, before it was parsed.
#[derive(Debug, Clone)]
pub struct ReceivedPush {
    /// The push.
    pub push: Push,
    /// When its last byte was here.
    pub received_at: Instant,
}

/// Where pushes go. Each way keeps the order in which they arrived.
pub enum PushHandler {
    /// Nowhere.
    Ignore,
    /// Runs on the reading task. It must not block and should be short: while it runs, nothing of
    /// this connection is read, so its time becomes part of the next frame's latency.
    Callback(Box<dyn FnMut(ReceivedPush) + Send>),
    /// A bounded queue. When it is full the connection is not read until there is room, answers
    /// included; a server closes such a reader with code 4408. Dropping the receiver ignores the rest.
    Queue(mpsc::Sender<ReceivedPush>),
}

impl fmt::Debug for PushHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ignore => "Ignore",
            Self::Callback(_) => "Callback",
            Self::Queue(_) => "Queue",
        })
    }
}

/// Options of one connection.
#[derive(Debug)]
pub struct ClientOptions {
    /// TCP connect, upgrade and `hello` together.
    pub connect_timeout: Duration,
    /// How long a command waits for its answer.
    pub answer_timeout: Duration,
    /// Commands that may be unanswered; further ones wait before they are written.
    pub in_flight_max: usize,
    /// Free text that `hello` tells the server.
    pub client: Option<String>,
    /// Where pushes go.
    pub pushes: PushHandler,
    /// What it shows.
    pub credentials: Credentials,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            // The server answers within `answer_ms_max`; the rest is for the way.
            answer_timeout: Duration::from_millis(2 * LIMITS.answer_ms_max),
            in_flight_max: LIMITS.in_flight_max,
            client: None,
            pushes: PushHandler::Ignore,
            credentials: Credentials::of_process(),
        }
    }
}
