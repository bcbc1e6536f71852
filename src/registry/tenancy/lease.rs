//! The lease of a tenant, wherever the tenants meet: claimed once, renewed by a task, given back at the end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{ClaimError, Tenancy};

/// Beats in the time of a lease: some may be lost.
pub const BEATS_PER_LEASE: u32 = 5;
/// How long a start waits for those who hold the leases.
pub const START_TIME: Duration = Duration::from_secs(10);
/// Time between two looks at a node that may be over.
pub const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// How long a goodbye may take.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// How a node comes in and stays.
pub trait Tenant: Send + 'static {
    /// The way to where the tenants meet.
    type Link: Send + 'static;

    /// Takes a place, or says why there is none.
    fn come_in(&self) -> impl Future<Output = Result<Self::Link, ClaimError>> + Send;

    /// Renews the lease until `closing`, then gives it back; or until somebody else has come in, which `lost` is told.
    fn stay(
        self,
        link: Self::Link,
        closing: CancellationToken,
        lost: oneshot::Sender<String>,
    ) -> impl Future<Output = ()> + Send;
}

/// One node's place among the tenants.
pub struct Lease<T> {
    tenant: Mutex<Option<T>>,
    tasks: TaskTracker,
    closing: CancellationToken,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl<T> Lease<T> {
    /// Of a node that has not asked yet.
    pub fn new(tenant: T) -> Self {
        let stop = CancellationToken::new();
        Self {
            tenant: Mutex::new(Some(tenant)),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            _guard: stop.clone().drop_guard(),
            stop,
        }
    }
}

#[async_trait]
impl<T: Tenant> Tenancy for Lease<T> {
    async fn claim(&self) -> Result<oneshot::Receiver<String>, ClaimError> {
        let tenant = self.tenant.lock().unwrap_or_else(PoisonError::into_inner).take();
        let tenant = tenant.ok_or_else(|| ClaimError("claimed twice".to_owned()))?;
        // Boxed: it holds a whole connection.
        let link = Box::pin(tenant.come_in()).await?;
        let (lost, receiver) = oneshot::channel();
        let (stop, closing) = (self.stop.clone(), self.closing.clone());
        self.tasks.spawn(async move {
            stop.run_until_cancelled(Box::pin(tenant.stay(link, closing, lost))).await;
        });
        Ok(receiver)
    }

    async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        if timeout(CLOSE_TIME, self.tasks.wait()).await.is_err() {
            self.stop.cancel();
            self.tasks.wait().await;
        }
    }
}
