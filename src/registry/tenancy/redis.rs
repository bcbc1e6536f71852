//! The tenants of a Redis or Valkey server: one hash under the prefix, `<prefix>{tenants}`, each with a lease by the server's clock.

use std::sync::LazyLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, Script};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::lease::{self, BEATS_PER_LEASE, LOOK_PAUSE, Lease, START_TIME, Tenant};
use super::{ClaimError, Company};
use crate::model::NodeId;
use crate::redis_link::{self, Client, DIAL_TIME, REDIAL_PAUSE, RedisServer, connect, in_time};

/// How long an answer is waited for.
const ANSWER_TIME: Duration = Duration::from_secs(1);

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("claim.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("release.lua")));

/// What a tenant is.
#[derive(Clone)]
pub struct RedisSettings {
    /// The server.
    pub server: RedisServer,
    /// What all keys begin with: nodes of another prefix are not in the way.
    pub prefix: String,
    /// What is the same after a restart of this node, and no other node's.
    pub name: String,
    /// This server process.
    pub node: NodeId,
    /// With whom it may share.
    pub company: Company,
    /// How long it counts as running without a sign of it.
    pub lease: Duration,
}

/// One node's place among the tenants of a server.
pub type RedisTenancy = Lease<RedisTenant>;

impl RedisTenancy {
    /// A node that has not asked yet. The error never holds the URL: it may have a password.
    pub fn of(settings: RedisSettings) -> Result<Self, ClaimError> {
        let home = key(&settings.prefix);
        let client = redis_link::client(&settings.server, ProtocolVersion::RESP2, &home).map_err(
            |error| ClaimError(format!("REDIS_URL cannot be used: {error}; use redis://host:port")),
        )?;
        Ok(Self::new(RedisTenant { client, settings }))
    }
}

/// A node that meets others in a server.
pub struct RedisTenant {
    client: Client,
    settings: RedisSettings,
}

/// What the server says to a claim.
enum Answer {
    Ok,
    /// Another start of this node has come.
    Replaced,
    Taken(Holder),
}

/// Who is in the way.
struct Holder {
    node: String,
    start: String,
    lease_end_ms: String,
    left: Duration,
    /// Why it is alone; empty when it is not.
    because: String,
}

impl Tenant for RedisTenant {
    type Link = MultiplexedConnection;

    async fn come_in(&self) -> Result<MultiplexedConnection, ClaimError> {
        let mut connection = self.first_dial().await?;
        let mut seen: Option<(Holder, Instant)> = None;
        let mut failures = 0;
        loop {
            let answer = match self.ask(&mut connection, true).await {
                Ok(answer) => answer,
                Err(_) if failures < 3 => {
                    failures += 1;
                    connection = self.first_dial().await?;
                    continue;
                }
                Err(reason) => {
                    return Err(ClaimError(format!(
                        "the server of REDIS_URL does not answer as it should: {reason}"
                    )));
                }
            };
            let Answer::Taken(holder) = answer else { return Ok(connection) };
            match &seen {
                None => {
                    tracing::info!(
                        node = %holder.node, left_ms = holder.left.as_millis() as u64,
                        "redis: a node that must not run beside this one has a lease; waiting whether it renews it"
                    );
                    let deadline = Instant::now() + holder.left + ANSWER_TIME;
                    seen = Some((holder, deadline));
                }
                Some((before, deadline)) => {
                    let is_same = before.node == holder.node && before.start == holder.start;
                    let is_alive = !is_same || before.lease_end_ms != holder.lease_end_ms;
                    if is_alive || Instant::now() > *deadline {
                        return Err(self.refusal(&holder));
                    }
                }
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    async fn stay(
        mut self,
        first: MultiplexedConnection,
        closing: CancellationToken,
        lost: oneshot::Sender<String>,
    ) {
        let mut link = Some(first);
        let beat = self.settings.lease / BEATS_PER_LEASE;
        loop {
            let pause = if link.is_some() { beat } else { REDIAL_PAUSE };
            if closing.run_until_cancelled(sleep(pause)).await.is_none() {
                if let Some(connection) = &mut link {
                    self.leave(connection).await;
                }
                return;
            }
            let Some(connection) = &mut link else {
                link = self.dial().await.ok();
                continue;
            };
            match self.ask(connection, false).await {
                Ok(Answer::Ok) => {}
                Ok(Answer::Replaced) if self.settings.company == Company::Many => {
                    // Two nodes of one name; the registry warns of it.
                    let RedisSettings { name, node, .. } = &self.settings;
                    self.settings.name = format!("{name}#{node}");
                }
                Ok(Answer::Replaced) => {
                    let _ = lost.send(lease::started_again(&self.settings.name));
                    return;
                }
                Ok(Answer::Taken(holder)) => {
                    let ClaimError(reason) = self.refusal(&holder);
                    let _ = lost.send(format!("another node came in after a pause: {reason}"));
                    return;
                }
                Err(reason) => {
                    tracing::debug!(%reason, "redis: the lease of this node was not renewed");
                    link = None;
                }
            }
        }
    }
}

impl RedisTenant {
    async fn dial(&self) -> Result<MultiplexedConnection, String> {
        in_time(DIAL_TIME, Box::pin(connect(&self.client, AsyncConnectionConfig::new()))).await
    }

    /// The server may be starting, too.
    async fn first_dial(&self) -> Result<MultiplexedConnection, ClaimError> {
        let deadline = Instant::now() + START_TIME;
        loop {
            match self.dial().await {
                Ok(connection) => return Ok(connection),
                Err(reason) if Instant::now() > deadline => {
                    return Err(ClaimError(format!(
                        "the server of REDIS_URL does not answer as it should: {reason}"
                    )));
                }
                Err(_) => sleep(REDIAL_PAUSE).await,
            }
        }
    }

    fn refusal(&self, holder: &Holder) -> ClaimError {
        let RedisSettings { company, prefix, .. } = &self.settings;
        let place = format!("at REDIS_URL under CHATCTL_REDIS_PREFIX={prefix}");
        lease::refusal(company, &holder.node, &place, &holder.because)
    }

    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        is_start: bool,
    ) -> Result<Answer, String> {
        let RedisSettings { name, node, company, lease, .. } = &self.settings;
        let (is_alone, because) = match company {
            Company::Many => (false, ""),
            Company::Nobody(because) => (true, because.as_str()),
            Company::Alone(what) => (true, *what),
        };
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        let mut call = CLAIM.prepare_invoke();
        call.key(self.key()).arg(name).arg(node.as_str()).arg(lease_ms);
        call.arg(u8::from(is_alone)).arg(because).arg(u8::from(is_start));
        let reply: Vec<String> = in_time(ANSWER_TIME, call.invoke_async(connection)).await?;
        let mut words = reply.into_iter();
        match words.next().as_deref() {
            Some("ok") => Ok(Answer::Ok),
            Some("replaced") => Ok(Answer::Replaced),
            Some("taken") => {
                let mut word = || words.next().unwrap_or_default();
                let (node, start, lease_end_ms) = (word(), word(), word());
                let left = Duration::from_millis(word().parse().unwrap_or_default());
                Ok(Answer::Taken(Holder { node, start, lease_end_ms, left, because: word() }))
            }
            other => Err(format!("it answers a claim with {other:?}")),
        }
    }

    async fn leave(&self, connection: &mut MultiplexedConnection) {
        let mut call = RELEASE.prepare_invoke();
        call.key(self.key()).arg(&self.settings.name).arg(self.settings.node.as_str());
        if let Err(reason) = in_time(ANSWER_TIME, call.invoke_async::<()>(connection)).await {
            tracing::debug!(%reason, "redis: the lease of this node ends by itself");
        }
    }

    fn key(&self) -> String {
        key(&self.settings.prefix)
    }
}

/// The hash of all tenants.
fn key(prefix: &str) -> String {
    format!("{prefix}{{tenants}}")
}
