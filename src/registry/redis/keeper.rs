//! The one task that talks to the server: tells it who is here, renews the lease, and takes out those of nodes that are over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::scripts::{Keys, SCRIPTS};
use super::table::{Table, Told};
use crate::model::{NodeId, UserName};
use crate::redis_link::{Client, DIAL_TIME, REDIAL_PAUSE, connect, in_time};
use crate::registry::{Change, PresenceSink};

/// Beats in the time of a lease: some may be lost.
const BEATS_PER_LEASE: u32 = 5;
/// How long an answer is waited for.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// Users in one write: bounds how long a script keeps others waiting.
const BATCH_USERS_MAX: usize = 256;
/// Users that one sweep takes out.
const SWEEP_USERS_MAX: usize = 200;
/// Pause between two sweeps: what they tell must get through the queue of the bus.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
/// How long a start waits for the server.
const START_TIME: Duration = Duration::from_secs(10);
/// The users of a node are kept this long without a beat, for those who sweep; then they go by themselves, also where no node
/// is left to sweep.
const USERS_KEPT_MS: u64 = 3_600_000;

/// What the sessions and the keeper share.
#[derive(Default)]
pub struct Shared {
    table: Mutex<Table>,
    connection: Mutex<Option<MultiplexedConnection>>,
    reason: Mutex<Option<String>>,
    /// There is something to tell.
    pub wake: Notify,
    /// Somebody had no answer.
    pub doubt: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code under these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// The users of this node.
    pub fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// The way to the server; `None` while it is away.
    pub fn connection(&self) -> Option<MultiplexedConnection> {
        lock(&self.connection).clone()
    }

    /// Why the server is away.
    pub fn reason(&self) -> Option<String> {
        lock(&self.reason).clone()
    }
}

/// Keeps one node's part of the registry.
pub struct Keeper {
    client: Client,
    keys: Keys,
    /// What is the same after a restart of this node.
    name: String,
    lease: Duration,
    shared: Arc<Shared>,
    sink: Arc<dyn PresenceSink>,
    /// What the users of this node stand under; over when its lease has ended.
    life: NodeId,
    /// The newest life that the server is known to have begun; empty before the first.
    begun: String,
    /// The number of the newest write.
    number: u64,
    /// Since when the lease was renewed without a break.
    steady_since: Option<Instant>,
    next_beat: Instant,
    next_sweep: Option<Instant>,
}

enum Step {
    Done,
    Closed,
}

impl Keeper {
    /// Not connected yet. `life` is the first of this process.
    pub fn new(
        client: Client,
        keys: Keys,
        (name, lease): (String, Duration),
        life: NodeId,
        shared: Arc<Shared>,
        sink: Arc<dyn PresenceSink>,
    ) -> Self {
        Self {
            client,
            keys,
            name,
            lease,
            shared,
            sink,
            life,
            begun: String::new(),
            number: 0,
            steady_since: None,
            next_beat: Instant::now(),
            next_sweep: None,
        }
    }

    /// Begins the first life. The server may be starting, too.
    pub async fn start(&mut self) -> Result<MultiplexedConnection, String> {
        let deadline = Instant::now() + START_TIME;
        loop {
            let begun = match self.dial().await {
                Ok(mut connection) => self.begin(&mut connection).await.map(|()| connection),
                Err(reason) => Err(reason),
            };
            match begun {
                Ok(connection) => {
                    *lock(&self.shared.connection) = Some(connection.clone());
                    return Ok(connection);
                }
                Err(reason) if Instant::now() > deadline => return Err(reason),
                Err(_) => sleep(REDIAL_PAUSE).await,
            }
        }
    }

    /// Goes on until `closing`, and then takes this node out.
    pub async fn run(mut self, first: MultiplexedConnection, closing: CancellationToken) {
        let mut link = Some(first);
        loop {
            let Some(connection) = &mut link else {
                match self.return_to_server().await {
                    Ok(connection) => link = Some(connection),
                    Err(reason) => {
                        self.is_away(reason);
                        if closing.run_until_cancelled(sleep(REDIAL_PAUSE)).await.is_none() {
                            return;
                        }
                    }
                }
                continue;
            };
            match self.step(connection, &closing).await {
                Ok(Step::Done) => {}
                Ok(Step::Closed) => return,
                Err(reason) => {
                    link = None;
                    self.is_away(reason);
                }
            }
        }
    }

    async fn step(
        &mut self,
        connection: &mut MultiplexedConnection,
        closing: &CancellationToken,
    ) -> Result<Step, String> {
        let shared = Arc::clone(&self.shared);
        let sweep_at = self.next_sweep.unwrap_or(self.next_beat);
        tokio::select! {
            biased;
            () = sleep_until(self.next_beat) => self.beat(connection).await?,
            () = shared.wake.notified() => self.apply(connection).await?,
            () = shared.doubt.notified() => self.beat(connection).await?,
            () = sleep_until(sweep_at), if self.next_sweep.is_some() => {
                self.sweep(connection).await?;
            }
            () = closing.cancelled() => {
                self.say_goodbye(connection).await?;
                return Ok(Step::Closed);
            }
        }
        Ok(Step::Done)
    }

    async fn dial(&self) -> Result<MultiplexedConnection, String> {
        in_time(DIAL_TIME, Box::pin(connect(&self.client, AsyncConnectionConfig::new()))).await
    }

    /// Begins `self.life`.
    async fn begin(&mut self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        let mut call = self.keys.call(&SCRIPTS.begin);
        call.arg(self.life.as_str()).arg(self.lease_ms()).arg(&self.name).arg(&self.begun);
        let is_taken: bool = in_time(ANSWER_TIME, call.invoke_async(connection)).await?;
        if is_taken {
            tracing::warn!(
                name = %self.name,
                "redis: another running node has the name of this one; set CHATCTL_NODE to a name of its own on each"
            );
        }
        self.begun = self.life.to_string();
        Ok(())
    }

    fn lease_ms(&self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX)
    }

    fn is_away(&mut self, reason: String) {
        self.steady_since = None;
        *lock(&self.shared.connection) = None;
        let before = lock(&self.shared.reason).replace(reason.clone());
        self.shared.table().is_gone();
        if before.is_none() {
            tracing::warn!(%reason, "redis: the registry is away: others may see the users of this node offline");
        }
    }

    async fn return_to_server(&mut self) -> Result<MultiplexedConnection, String> {
        let mut connection = self.dial().await?;
        self.beat(&mut connection).await?;
        *lock(&self.shared.connection) = Some(connection.clone());
        self.shared.table().is_back();
        self.shared.wake.notify_one();
        if lock(&self.shared.reason).take().is_some() {
            tracing::info!("redis: the registry is back");
        }
        Ok(connection)
    }

    async fn beat(&mut self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        let mut call = self.keys.call(&SCRIPTS.beat);
        call.arg(self.life.as_str()).arg(self.lease_ms()).arg(USERS_KEPT_MS);
        let (count, finished, expired): (i64, u64, u64) =
            in_time(ANSWER_TIME, call.invoke_async(connection)).await?;
        let now = Instant::now();
        let stored = self.shared.table().stored_count();
        let is_right = stored.is_none_or(|stored| usize::try_from(count) == Ok(stored));
        if count < 0 || !is_right {
            tracing::warn!(
                count,
                ?stored,
                "redis: the registry lost this node: everything is told again"
            );
            self.begin_anew(connection).await?;
        }
        self.begun = self.life.to_string();
        self.next_beat = now + self.lease / BEATS_PER_LEASE;
        let steady = now - *self.steady_since.get_or_insert(now);
        // After an outage of the server every lease has ended: who lives has to come back first.
        let has_ended = expired > 0 && steady >= self.lease;
        if has_ended && self.next_sweep.is_none() {
            self.sink.node_ended();
        }
        if finished > 0 || has_ended {
            self.next_sweep.get_or_insert(now);
        }
        Ok(())
    }

    async fn begin_anew(&mut self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        // One that was perhaps begun is begun again.
        if self.begun == self.life.as_str() {
            self.life = NodeId::generate();
        }
        self.begin(connection).await?;
        self.shared.table().forget();
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Tells what waits, up to a limit.
    async fn apply(&mut self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        let told = self.shared.table().take(BATCH_USERS_MAX);
        if told.is_empty() {
            return Ok(());
        }
        let answer = self.write(connection, &told).await;
        let done = answer.map(|changes| {
            // Before whoever waits goes on.
            for change in changes {
                self.sink.changed(change);
            }
        });
        let mut table = self.shared.table();
        match &done {
            Ok(()) => table.answered(&told),
            Err(_) => table.lost(&told),
        }
        if !table.is_quiet() {
            self.shared.wake.notify_one();
        }
        done
    }

    async fn write(
        &mut self,
        connection: &mut MultiplexedConnection,
        told: &[Told],
    ) -> Result<Vec<Change>, String> {
        self.number += 1;
        let mut call = self.keys.call(&SCRIPTS.apply);
        call.arg(self.life.as_str()).arg(self.number).arg(USERS_KEPT_MS);
        for Told { user, here, .. } in told {
            call.arg(user.as_str()).arg(u8::from(*here));
        }
        let reply: Vec<Value> = in_time(ANSWER_TIME, call.invoke_async(connection)).await?;
        changes(told, &reply)
    }

    /// Takes a few users of nodes that are over out, and tells of those who are nowhere now.
    async fn sweep(&mut self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        let is_steady = self.steady_since.is_some_and(|since| since.elapsed() >= self.lease);
        let mut call = self.keys.call(&SCRIPTS.sweep);
        call.arg(u8::from(is_steady)).arg(SWEEP_USERS_MAX);
        let reply: Vec<Value> = in_time(ANSWER_TIME, call.invoke_async(connection)).await?;
        let mut values = reply.iter();
        let has_more = values.next() == Some(&Value::Int(1));
        self.next_sweep = has_more.then(|| Instant::now() + SWEEP_PAUSE);
        let Some(version) = values.next().and_then(version_of) else { return Ok(()) };
        for value in values {
            let Value::BulkString(name) = value else { continue };
            let name = std::str::from_utf8(name).ok();
            if let Some(user) = name.and_then(|name| UserName::new(name).ok()) {
                self.sink.changed(Change { user, online: false, version });
            }
        }
        Ok(())
    }

    async fn say_goodbye(&mut self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        while !self.shared.table().is_quiet() {
            self.apply(connection).await?;
        }
        let mut call = self.keys.call(&SCRIPTS.finish);
        call.arg(self.life.as_str());
        in_time(ANSWER_TIME, call.invoke_async::<()>(connection)).await?;
        self.steady_since = None;
        loop {
            self.sweep(connection).await?;
            match self.next_sweep {
                Some(at) => sleep_until(at).await,
                None => return Ok(()),
            }
        }
    }
}

/// What became of users by what was told, as `apply.lua` answers it.
pub(super) fn changes(told: &[Told], reply: &[Value]) -> Result<Vec<Change>, String> {
    let unreadable = || format!("the registry answered a write with {} values", reply.len());
    let mut values = reply.iter();
    match values.next() {
        Some(Value::BulkString(word)) if word == b"ok" => {}
        Some(Value::BulkString(word)) => {
            // The beat that follows on the next connection begins another life.
            return Err(format!("a write was refused: {}", String::from_utf8_lossy(word)));
        }
        _ => return Err(unreadable()),
    }
    let version = values.next().and_then(version_of).ok_or_else(unreadable)?;
    let mut changes = Vec::new();
    for Told { user, tell, .. } in told {
        let (Some(changed), Some(online)) = (values.next(), values.next()) else {
            return Err(unreadable());
        };
        if *tell || *changed == Value::Int(1) {
            let online = *online == Value::Int(1);
            changes.push(Change { user: user.clone(), online, version });
        }
    }
    Ok(changes)
}

fn version_of(value: &Value) -> Option<u64> {
    let Value::BulkString(text) = value else { return None };
    std::str::from_utf8(text).ok()?.parse().ok()
}
