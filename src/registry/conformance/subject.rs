//! What the cases work with: nodes, and what they told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::model::{NodeId, UserName};
use crate::persistence::conformance::redis::{Server, program};
use crate::persistence::conformance::redis_cluster::Corner;
use crate::registry::local::LocalRegistry;
use crate::registry::redis::{RedisRegistry, RedisSettings};
use crate::registry::{Change, PresenceSink, Registry};
use crate::services::ServiceKind;

/// Of nodes in these cases. Shorter ones end by themselves when many tests run on few cores.
pub const LEASE: Duration = Duration::from_millis(1_500);
/// What is over is noticed, and told, within this.
pub const NOTICED_MAX: Duration = Duration::from_secs(3);

/// Where the suite gets nodes from: one registry.
#[async_trait]
pub trait Factory: Send + Sync + 'static {
    /// One more node, started; the same name again is a restart.
    async fn node(&self, name: &str) -> Arc<Node>;

    /// Whether nodes know of each other.
    fn has_many_nodes(&self) -> bool;
}

/// A node's registry, and what it told.
pub struct Node {
    /// The registry.
    pub registry: Box<dyn Registry>,
    /// What it told.
    pub heard: Arc<Heard>,
    kill: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Node {
    async fn start(
        registry: Box<dyn Registry>,
        kill: Option<Box<dyn Fn() + Send + Sync>>,
    ) -> Arc<Self> {
        let heard = Arc::<Heard>::default();
        registry.start(heard.clone()).await.unwrap();
        Arc::new(Self { registry, heard, kill })
    }

    /// Ends it without a goodbye.
    pub async fn kill(&self) {
        self.kill.as_ref().expect("it can be killed")();
        // What it had sent arrives.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The registry of one node.
pub struct LocalFactory;

#[async_trait]
impl Factory for LocalFactory {
    async fn node(&self, _name: &str) -> Arc<Node> {
        Node::start(Box::new(LocalRegistry::default()), None).await
    }

    fn has_many_nodes(&self) -> bool {
        false
    }
}

/// A registry on a server of its own.
pub struct RedisFactory {
    /// The server.
    pub server: Server,
}

impl RedisFactory {
    /// On Redis; `None` where it is not installed.
    pub fn redis() -> Option<Self> {
        let program = program(ServiceKind::Redis)?;
        Some(Self { server: Server::start(&program, &[]) })
    }

    /// On Valkey; `None` where it is not installed.
    pub fn valkey() -> Option<Self> {
        let program = program(ServiceKind::Valkey)?;
        Some(Self { server: Server::start(&program, &[]) })
    }

    /// What a node is told.
    pub fn settings(&self, name: &str) -> RedisSettings {
        RedisSettings {
            server: self.server.url().into(),
            prefix: "test:".to_owned(),
            name: name.to_owned(),
            node: NodeId::generate(),
            lease: LEASE,
        }
    }
}

#[async_trait]
impl Factory for RedisFactory {
    async fn node(&self, name: &str) -> Arc<Node> {
        let registry = RedisRegistry::new(self.settings(name)).unwrap();
        let stop = registry.stopper();
        Node::start(Box::new(registry), Some(Box::new(move || stop.cancel()))).await
    }

    fn has_many_nodes(&self) -> bool {
        true
    }
}

/// A registry in a cluster, under a prefix of its own.
pub struct ClusterFactory(Corner);

impl ClusterFactory {
    /// `None` where Redis is not installed.
    pub fn find() -> Option<Self> {
        Corner::find().map(Self)
    }
}

#[async_trait]
impl Factory for ClusterFactory {
    async fn node(&self, name: &str) -> Arc<Node> {
        let (server, prefix) = (self.0.server.clone(), self.0.prefix.clone());
        let (name, node) = (name.to_owned(), NodeId::generate());
        let settings = RedisSettings { server, prefix, name, node, lease: LEASE };
        let registry = RedisRegistry::new(settings).unwrap();
        let stop = registry.stopper();
        Node::start(Box::new(registry), Some(Box::new(move || stop.cancel()))).await
    }

    fn has_many_nodes(&self) -> bool {
        true
    }
}

/// What one node told.
#[derive(Default)]
pub struct Heard(Mutex<Vec<Change>>, AtomicUsize);

impl PresenceSink for Heard {
    fn changed(&self, change: Change) {
        self.0.lock().unwrap().push(change);
    }

    fn node_ended(&self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

impl Heard {
    /// Waits until something holds.
    pub async fn until(what: &str, limit: Duration, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + limit;
        while !holds() {
            assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What was told of a user, in order.
    pub fn of(&self, user: &UserName) -> Vec<bool> {
        let changes = self.0.lock().unwrap();
        changes.iter().filter(|change| change.user == *user).map(|change| change.online).collect()
    }

    /// The versions of what was told of a user, in order.
    pub fn versions(&self, user: &UserName) -> Vec<u64> {
        let changes = self.0.lock().unwrap();
        changes.iter().filter(|change| change.user == *user).map(|change| change.version).collect()
    }

    /// The newest version that was told of a user, and what it said.
    pub fn newest(&self, user: &UserName) -> Option<(u64, bool)> {
        let changes = self.0.lock().unwrap();
        let of_user = changes.iter().filter(|change| change.user == *user);
        of_user.map(|change| (change.version, change.online)).max()
    }

    /// How often the end of a node was told.
    pub fn ends(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }

    /// How many users were told to be so.
    pub fn count(&self, online: bool) -> usize {
        self.0.lock().unwrap().iter().filter(|change| change.online == online).count()
    }
}

/// Somebody.
pub fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}
