//! The lease of a tenant, wherever the tenants meet: claimed once, renewed by a task, given back at the end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{ClaimError, Company, Tenancy};
use crate::registry::background::Background;

/// Beats in the time of a lease: some may be lost.
pub const BEATS_PER_LEASE: u32 = 5;
/// How long a start waits for those who hold the leases.
pub const START_TIME: Duration = Duration::from_secs(10);
/// Time between two looks at a node that may be over.
pub const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Why a node may not run beside `holder`, which runs at `place` and, where it must be alone, is so for `because`.
pub fn refusal(company: &Company, holder: &str, place: &str, because: &str) -> ClaimError {
    ClaimError(match company {
        Company::Nobody(own) => format!(
            "with {own} only one node can run, and node {holder} runs {place}; stop it, or set on every node what stands for many nodes instead of {own}"
        ),
        Company::Alone(what) => {
            format!("{what} needs the store to itself, and node {holder} runs {place}; stop it")
        }
        Company::Many if because.contains('=') => format!(
            "node {holder} runs {place} with {because}, which only one node can; stop it, or set there what stands for many nodes"
        ),
        Company::Many => {
            format!("{because} ({holder}) is under way {place}; wait until it is over, or stop it")
        }
    })
}

/// Why a node must end that another start of its name has replaced.
pub fn started_again(name: &str) -> String {
    format!(
        "node {name} was started again while this start of it was running; give each node its own CHATCTL_NODE"
    )
}

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
    work: Background,
}

impl<T> Lease<T> {
    /// Of a node that has not asked yet.
    pub fn new(tenant: T) -> Self {
        Self { tenant: Mutex::new(Some(tenant)), work: Background::default() }
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
        self.work.spawn(|closing| tenant.stay(link, closing, lost));
        Ok(receiver)
    }

    async fn close(&self) {
        self.work.close().await;
    }
}
