//! REDIS: who is connected, in a Redis or Valkey server; any number of nodes.
//!
//! **What is stored.** Per *life* of a node a set of its users, and the end of its lease by the server's clock. A user is online who
//! is in the set of a life whose lease has not ended. A life that is over stays so: a node that was away too long, or whose server
//! came back empty, begins another and tells everything again. A node that is started again ends its earlier life at once, known by
//! the node's name.
//!
//! **Only states travel.** Sessions are counted on their node ([`table`]); the server is told of users who came here or left here, in
//! numbered writes, by one task ([`keeper`]). What a broken connection still brings is of a lower number, and refused.
//!
//! **Ends are noticed** by whichever node beats next. It takes the users out in small steps; each step is one node's, so each user is
//! told once. What a node had taken out and not told when it was killed itself stays untold: presence is best effort.
//!
//! **Cost.** A change or a question looks at one set per node.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod keeper;
mod scripts;
mod table;
#[cfg(test)]
mod table_tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::ProtocolVersion;
use tokio::time::timeout;
#[cfg(test)]
use tokio_util::sync::CancellationToken;

use self::keeper::{Keeper, Shared};
use self::scripts::{Keys, SCRIPTS};
use self::table::Next;
use super::background::Background;
use super::{Change, PresenceSink, Registry, StartError, WAIT_MAX};
use crate::model::{NodeId, SessionId, UserName};
use crate::redis_link::{self, Client, RedisServer};

/// What the registry can be told.
#[derive(Clone)]
pub struct RedisSettings {
    /// The server.
    pub server: RedisServer,
    /// What all keys begin with.
    pub prefix: String,
    /// What is the same after a restart of this node, and no other node's.
    pub name: String,
    /// This server process.
    pub node: NodeId,
    /// How long this node's users are online without a sign of it.
    pub lease: Duration,
}

/// The registry.
pub struct RedisRegistry {
    settings: RedisSettings,
    client: Client,
    keys: Keys,
    shared: Arc<Shared>,
    sink: OnceLock<Arc<dyn PresenceSink>>,
    work: Background,
}

impl RedisRegistry {
    /// A registry that is not connected yet. The error never holds the URL: it may have a password.
    pub fn new(settings: RedisSettings) -> Result<Self, StartError> {
        let keys = Keys::new(&settings.prefix);
        let client = redis_link::client(&settings.server, ProtocolVersion::RESP2, keys.home())
            .map_err(|error| {
                StartError(format!("REDIS_URL cannot be used: {error}; use redis://host:port"))
            })?;
        Ok(Self {
            client,
            keys,
            settings,
            shared: Arc::default(),
            sink: OnceLock::new(),
            work: Background::default(),
        })
    }

    /// Ends the work as a kill would.
    #[cfg(test)]
    pub fn stopper(&self) -> CancellationToken {
        self.work.stopper()
    }

    fn guess(&self, user: &UserName, online: bool) {
        if let Some(sink) = self.sink.get() {
            sink.changed(Change { user: user.clone(), online, version: 0 });
        }
    }

    async fn follow(&self, user: &UserName, next: Next) {
        match next {
            Next::Done => {}
            Next::Guess(online) => self.guess(user, online),
            Next::Wait(answer) => {
                self.shared.wake.notify_one();
                if matches!(timeout(WAIT_MAX, answer).await, Ok(Ok(()))) {
                    return;
                }
                let guess = self.shared.table().guess(user);
                if let Some(online) = guess {
                    self.guess(user, online);
                }
            }
        }
    }
}

#[async_trait]
impl Registry for RedisRegistry {
    fn name(&self) -> &'static str {
        "REDIS"
    }

    async fn start(&self, sink: Arc<dyn PresenceSink>) -> Result<(), StartError> {
        // A second start would be a mistake of our own; the first sink stays.
        let _ = self.sink.set(Arc::clone(&sink));
        let RedisSettings { name, node, lease, .. } = self.settings.clone();
        let (client, keys) = (self.client.clone(), self.keys.clone());
        let shared = Arc::clone(&self.shared);
        let mut keeper = Keeper::new(client, keys, (name, lease), node, shared, sink);
        let first = keeper.start().await.map_err(|reason| {
            StartError(format!("the server of REDIS_URL does not answer as it should: {reason}"))
        })?;
        self.work.spawn(|closing| keeper.run(first, closing));
        Ok(())
    }

    async fn connect(&self, user: &UserName, session: &SessionId) {
        let next = self.shared.table().add(user, session);
        self.follow(user, next).await;
    }

    async fn disconnect(&self, user: &UserName, session: &SessionId) {
        let next = self.shared.table().remove(user, session);
        self.follow(user, next).await;
    }

    async fn online(&self, user: &UserName) -> bool {
        if self.shared.table().is_here(user) {
            return true;
        }
        let Some(mut connection) = self.shared.connection() else { return false };
        let mut call = self.keys.call(&SCRIPTS.online);
        call.arg(user.as_str());
        match timeout(WAIT_MAX, call.invoke_async(&mut connection)).await {
            Ok(Ok(online)) => online,
            Ok(Err(_)) | Err(_) => {
                self.shared.doubt.notify_one();
                false
            }
        }
    }

    fn health(&self) -> Result<(), String> {
        match self.shared.reason() {
            Some(reason) => Err(format!("the registry at REDIS_URL is away: {reason}")),
            None => Ok(()),
        }
    }

    async fn close(&self) {
        self.work.close().await;
    }
}
