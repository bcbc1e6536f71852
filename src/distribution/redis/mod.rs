//! REDIS: hints over pub/sub of a Redis or Valkey server; any number of nodes.
//!
//! All nodes subscribe to one channel, `<prefix>hints`: a node tells every other one, and each decides by what it has open. One
//! channel a conversation would be a subscription to make and to wait for at each `open`.
//!
//! **Own hints** are handed over by a function call, exactly once, whether or not the server is there; what comes back from the
//! server is left out by the id of the node.
//!
//! **Losses.** The server keeps nothing for whoever is away. A node that could not publish remembers, bounded, the highest number of
//! each conversation, and publishes those when the server is back ([`backlog`]); a node whose subscription was away
//! compares what is open with the engine ([`HintSink::gap`]).
//!
//! **One server**, a primary with replicas, or a cluster: there all nodes publish and subscribe at the primary that has the slot of the
//! channel's name. `PUBLISH` is repeated to every server of a cluster, so nodes that disagree for a moment about who that is hear each other
//! still. Sharded pub/sub would spare the cluster that, and would lose what is published while a slot moves.

mod dialer;
mod publisher;
mod subscriber;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::dialer::Dialer;
use self::publisher::Publisher;
use self::subscriber::Subscriber;
use super::{Distribution, Hint, HintSink, StartError};
use crate::model::NodeId;
use crate::redis_link::RedisServer;

/// What is still queued at a close gets this long.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// What the bus can be told.
#[derive(Clone)]
pub struct RedisSettings {
    /// The server.
    pub server: RedisServer,
    /// What the name of the channel begins with.
    pub prefix: String,
    /// This server process.
    pub node: NodeId,
}

/// The bus.
pub struct RedisDistribution {
    node: NodeId,
    dialer: Arc<Dialer>,
    publisher: Publisher,
    sink: OnceLock<Arc<dyn HintSink>>,
    tasks: TaskTracker,
    /// Ends the subscription at once, and the publisher once its queue is empty.
    stop: CancellationToken,
    /// Ends the work also when nobody calls `close`.
    _guard: DropGuard,
}

impl RedisDistribution {
    /// A bus that is not connected yet. Must be called within the runtime. The error never holds the URL: it may have a password.
    pub fn new(settings: RedisSettings) -> Result<Self, StartError> {
        let RedisSettings { server, prefix, node } = settings;
        let dialer = Dialer::new(&server, format!("{prefix}hints")).map_err(|error| {
            StartError(format!("REDIS_URL cannot be used: {error}; use redis://host:port"))
        })?;
        let dialer = Arc::new(dialer);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (publisher, work) = Publisher::new(Arc::clone(&dialer), node.clone(), stop.clone());
        tasks.spawn(work);
        let guard = stop.clone().drop_guard();
        Ok(Self { node, dialer, publisher, sink: OnceLock::new(), tasks, stop, _guard: guard })
    }
}

#[async_trait]
impl Distribution for RedisDistribution {
    fn name(&self) -> &'static str {
        "REDIS"
    }

    async fn start(&self, sink: Arc<dyn HintSink>) -> Result<(), StartError> {
        let subscriber =
            Subscriber::new(Arc::clone(&self.dialer), self.node.clone(), Arc::clone(&sink));
        let first = subscriber.first().await.map_err(|reason| {
            StartError(format!("the server of REDIS_URL does not answer as it should: {reason}"))
        })?;
        // A second start would be a mistake of our own; the first sink stays.
        let _ = self.sink.set(sink);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            // Boxed: it holds a whole connection.
            stop.run_until_cancelled(Box::pin(subscriber.run(first))).await;
        });
        Ok(())
    }

    fn publish(&self, hint: Hint) {
        self.publisher.publish(&hint);
        if let Some(sink) = self.sink.get() {
            sink.deliver(hint);
        }
    }

    async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = timeout(CLOSE_TIME, self.tasks.wait()).await;
    }
}
