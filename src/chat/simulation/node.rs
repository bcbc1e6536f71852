//! A node of a simulated world: the real chat on simulated engines.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bus::BusNode;
use super::store::{Shared, StoreNode};
use super::world::World;
use crate::chat::{Access, ChatService, ChatSettings};
use crate::model::{NodeId, OperatorLimits};
use crate::registry::local::LocalRegistry;

/// One life of a node.
pub struct Node {
    /// Its name, another in each life.
    pub name: String,
    /// Its chat.
    pub service: Arc<ChatService>,
    /// Its way to the store.
    pub store: Arc<StoreNode>,
    /// It was killed: nothing gets in or out any more.
    pub dead: CancellationToken,
    /// It shuts down.
    pub stopping: CancellationToken,
    /// What its sessions run on.
    pub sessions: TaskTracker,
}

impl Node {
    /// Starts one.
    pub async fn start(world: &World, at: usize, life: usize, offset_ms: i64) -> Arc<Self> {
        let name = format!("n{at}.{life}");
        let dead = CancellationToken::new();
        let store = world.store.node(world.seed, &name, offset_ms, dead.clone());
        let bus = BusNode { bus: Arc::clone(&world.bus), node: at, dead: dead.clone() };
        let settings = ChatSettings {
            node: NodeId::new(&name).unwrap(),
            ping: Duration::from_secs(25),
            limits: OperatorLimits::default(),
            access: Access::default(),
        };
        let service = ChatService::start(
            Arc::new(Shared(Arc::clone(&store))),
            Arc::new(bus),
            Arc::new(LocalRegistry::default()),
            settings,
        );
        let service = service.await.unwrap();
        let stopping = CancellationToken::new();
        Arc::new(Self { name, service, store, dead, stopping, sessions: TaskTracker::new() })
    }

    /// Whether it takes nobody in any more.
    pub fn is_ending(&self) -> bool {
        self.dead.is_cancelled() || self.stopping.is_cancelled()
    }

    /// It is gone from one moment to the next.
    pub fn kill(&self) {
        self.dead.cancel();
    }

    /// It ends as a server does that is told to.
    pub async fn stop(&self) {
        self.service.drain();
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.stopping.cancel();
        self.sessions.close();
        self.sessions.wait().await;
        self.service.close().await;
    }
}
