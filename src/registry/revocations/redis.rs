//! The keeper of many nodes: a stream in a Redis or Valkey server (6.2 or newer).
//!
//! A node looks for what follows the newest place that it has seen. Where the newest place of all is older than that, the server came back
//! with less: then the node keeps everything again that it knows, so that one node that still runs is enough. Entries go when the longest
//! token that they could concern has expired.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, Script, ScriptInvocation};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::{KeepError, REVOCATIONS_MAX, Revocations};
use crate::clock;
use crate::model::{Revocation, Revoked};
use crate::redis_link::{self, Client, DIAL_TIME, REDIAL_PAUSE, RedisServer, connect, in_time};
use crate::registry::StartError;

/// How long an answer is waited for.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// How long a start waits for the server.
const START_TIME: Duration = Duration::from_secs(10);
/// Revocations in one answer.
const LOOK_MAX: usize = 1_000;

static KEEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/keep.lua")));
static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/look.lua")));

/// What the keeper can be told.
#[derive(Clone)]
pub struct RedisSettings {
    /// The server.
    pub server: RedisServer,
    /// What all keys begin with.
    pub prefix: String,
    /// How long a revocation is kept.
    pub kept: Duration,
}

/// The keeper.
pub struct RedisRevocations {
    client: Client,
    key: String,
    kept_ms: u64,
    state: Mutex<State>,
}

/// One call at a time: revocations are rare, and looks are short.
#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    seen: Place,
    known: HashMap<Revoked, Revocation>,
    /// Found, and not told yet.
    found: Vec<Revocation>,
}

/// Where in the stream an entry is: ms and a number, both rising.
type Place = (u64, u64);

impl RedisRevocations {
    /// A keeper that is not connected yet. The error never holds the URL: it may have a password.
    pub fn new(settings: RedisSettings) -> Result<Self, StartError> {
        let RedisSettings { server, prefix, kept } = settings;
        // In the hash tag of the registry: one shard has all of it.
        let key = format!("{prefix}{{registry}}:revocations");
        let client =
            redis_link::client(&server, ProtocolVersion::RESP2, &key).map_err(|error| {
                StartError(format!("REDIS_URL cannot be used: {error}; use redis://host:port"))
            })?;
        let kept_ms = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
        Ok(Self { client, key, kept_ms, state: Mutex::default() })
    }

    async fn call<T: redis::FromRedisValue + Send>(
        &self,
        state: &mut State,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, String> {
        let mut connection = match state.connection.take() {
            Some(connection) => connection,
            None => {
                let dial = Box::pin(connect(&self.client, AsyncConnectionConfig::new()));
                in_time(DIAL_TIME, dial).await?
            }
        };
        // A connection without an answer is given up.
        let answer = in_time(ANSWER_TIME, call.invoke_async(&mut connection)).await?;
        state.connection = Some(connection);
        Ok(answer)
    }

    async fn keep_in(&self, state: &mut State, revocation: &Revocation) -> Result<bool, String> {
        let text = serde_json::to_string(revocation).map_err(|error| error.to_string())?;
        let mut call = KEEP.prepare_invoke();
        call.key(&self.key).arg(text).arg(self.kept_ms).arg(REVOCATIONS_MAX);
        let place: String = self.call(state, &call).await?;
        Ok(!place.is_empty())
    }

    async fn look_in(&self, state: &mut State) -> Result<(), String> {
        loop {
            let (ms, number) = state.seen;
            let mut call = LOOK.prepare_invoke();
            call.key(&self.key).arg(format!("{ms}-{number}")).arg(LOOK_MAX);
            let reply: Vec<String> = self.call(state, &call).await?;
            let (newest, entries) = read_look(reply)?;
            if newest < state.seen {
                self.keep_again(state).await?;
                continue;
            }
            let count = entries.len();
            for (at, revocation) in entries {
                state.seen = at;
                let Some(revocation) = revocation else { continue };
                state.known.insert(revocation.revoked.clone(), revocation.clone());
                state.found.push(revocation);
            }
            if count < LOOK_MAX {
                return Ok(());
            }
        }
    }

    /// The server came back with less.
    async fn keep_again(&self, state: &mut State) -> Result<(), String> {
        let now = clock::unix_ms();
        state.known.retain(|_, revocation| revocation.until > now);
        let known: Vec<_> = state.known.values().cloned().collect();
        tracing::warn!(count = known.len(), "redis: the revocations are gone and are kept again");
        for revocation in known {
            self.keep_in(state, &revocation).await?;
        }
        // Only now: cut off before, all of it is done again.
        state.seen = Place::default();
        Ok(())
    }
}

#[async_trait]
impl Revocations for RedisRevocations {
    async fn start(&self) -> Result<Vec<Revocation>, StartError> {
        let deadline = Instant::now() + START_TIME;
        loop {
            let looked = self.look().await;
            match looked {
                Ok(found) => return Ok(found),
                Err(reason) if Instant::now() > deadline => {
                    return Err(StartError(format!(
                        "the revocations at REDIS_URL cannot be had: {reason}"
                    )));
                }
                Err(_) => sleep(REDIAL_PAUSE).await,
            }
        }
    }

    async fn keep(&self, revocation: &Revocation) -> Result<(), KeepError> {
        let mut state = self.state.lock().await;
        // First, so that nothing new hides that the server came back with less.
        let kept = match self.look_in(&mut state).await {
            Ok(()) => self.keep_in(&mut state, revocation).await,
            Err(reason) => Err(reason),
        };
        match kept {
            Ok(true) => {
                state.known.insert(revocation.revoked.clone(), revocation.clone());
                Ok(())
            }
            Ok(false) => Err(KeepError::full()),
            Err(reason) => Err(KeepError(format!(
                "the server of REDIS_URL does not keep it: {reason}; when it is back, revoke again"
            ))),
        }
    }

    async fn look(&self) -> Result<Vec<Revocation>, String> {
        let mut state = self.state.lock().await;
        self.look_in(&mut state).await?;
        let found = std::mem::take(&mut state.found);
        if !found.is_empty() {
            let now = clock::unix_ms();
            state.known.retain(|_, revocation| revocation.until > now);
        }
        Ok(found)
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// What stands at a place; `None` where it is of another version and not for us.
type Entry = (Place, Option<Revocation>);

/// What `look.lua` answers: the newest place of all, and the next entries.
fn read_look(reply: Vec<String>) -> Result<(Place, Vec<Entry>), String> {
    let unreadable = || "the server answered with something else".to_owned();
    let mut reply = reply.into_iter();
    let newest = reply.next().as_deref().and_then(place).ok_or_else(unreadable)?;
    let mut entries = Vec::new();
    while let (Some(at), Some(text)) = (reply.next(), reply.next()) {
        entries.push((place(&at).ok_or_else(unreadable)?, serde_json::from_str(&text).ok()));
    }
    Ok((newest, entries))
}

/// An answer that somebody made up: it is read, or an error.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzzed(reply: Vec<String>) {
    let _ = read_look(reply);
}

fn place(text: &str) -> Option<Place> {
    let (ms, number) = text.split_once('-')?;
    Some((ms.parse().ok()?, number.parse().ok()?))
}
