//! A registry whose operations are timed.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use metrics::Histogram;

use super::{PresenceSink, Registry, StartError};
use crate::model::{SessionId, UserName};

/// `/metrics` shows `chatctl_registry_operation_seconds` by registry and operation. Nothing in it fails: while the registry is away, an
/// operation takes as long as it is waited for.
pub struct Timed {
    registry: Arc<dyn Registry>,
    connect: Histogram,
    disconnect: Histogram,
    online: Histogram,
}

impl Timed {
    /// The same registry, watched.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        let operation = |operation| {
            let labels = [("registry", registry.name()), ("operation", operation)];
            metrics::histogram!("chatctl_registry_operation_seconds", &labels)
        };
        Self {
            connect: operation("connect"),
            disconnect: operation("disconnect"),
            online: operation("online"),
            registry,
        }
    }
}

async fn timed<T>(seconds: &Histogram, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let result = work.await;
    seconds.record(began.elapsed().as_secs_f64());
    result
}

#[async_trait]
impl Registry for Timed {
    fn name(&self) -> &'static str {
        self.registry.name()
    }

    async fn start(&self, sink: Arc<dyn PresenceSink>) -> Result<(), StartError> {
        self.registry.start(sink).await
    }

    async fn connect(&self, user: &UserName, session: &SessionId) {
        timed(&self.connect, self.registry.connect(user, session)).await;
    }

    async fn disconnect(&self, user: &UserName, session: &SessionId) {
        timed(&self.disconnect, self.registry.disconnect(user, session)).await;
    }

    async fn online(&self, user: &UserName) -> bool {
        timed(&self.online, self.registry.online(user)).await
    }

    fn health(&self) -> Result<(), String> {
        self.registry.health()
    }

    async fn close(&self) {
        self.registry.close().await;
    }
}
