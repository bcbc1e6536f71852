//! Riak: somebody else's always, for no registry has a package of it.

use std::fmt;

use async_trait::async_trait;
use serde_json::Value;

use super::{Health, NodeProcess, Progress, Provision, Service, ServiceError, ServiceKind};
use crate::riak_link::{Node, bucket_type};

const KIND: ServiceKind = ServiceKind::Riak;

/// A node of Riak, or what is in front of several.
pub struct RiakService {
    node: Node,
    url: String,
    bucket_type: String,
}

impl fmt::Debug for RiakService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RiakService").field("url", &self.url).finish_non_exhaustive()
    }
}

impl RiakService {
    /// At `http://host:port`, with the bucket type of messages.
    pub fn at(url: String, bucket_type: String) -> Self {
        Self { node: Node::new(&url, &bucket_type), url, bucket_type }
    }

    /// Why none is started here, and what to do.
    pub fn not_ours(bucket_type: &str) -> ServiceError {
        ServiceError::Refused(format!(
            "riak: no registry has a package of it, so none is started here; run OpenRiak KV 3.4 yourself and name a node by RIAK_URL, with --mode external; {}",
            bucket_type::how_to(bucket_type)
        ))
    }

    fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }
}

/// What a write's survival depends on, as nodes tell it.
fn durability(properties: &Value, stats: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let members = stats["ring_members"].as_array().map_or(0, Vec::len);
    format!(
        "sync_on_write {}, n_val {}, {} of {members} node{}",
        word(&properties["sync_on_write"]),
        properties["n_val"],
        word(&stats["storage_backend"]),
        if members == 1 { "" } else { "s" }
    )
}

#[async_trait]
impl Service for RiakService {
    fn kind(&self) -> ServiceKind {
        KIND
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.address()]
    }

    fn processes(&self) -> &[NodeProcess] {
        &[]
    }

    async fn prepare(&self, _: &Progress) -> Result<(), ServiceError> {
        Err(Self::not_ours(&self.bucket_type))
    }

    async fn start(&self, _: &Progress) -> Result<(), ServiceError> {
        Err(Self::not_ours(&self.bucket_type))
    }

    async fn probe(&self) -> Result<Health, ServiceError> {
        let unhealthy = |reason: String| ServiceError::unhealthy(KIND, &self.address())(reason);
        let failed = |error: crate::riak_link::CallError| {
            unhealthy(format!("{error}; it needs {}", bucket_type::how_to(&self.bucket_type)))
        };
        let properties = self.node.properties().await.map_err(failed)?;
        if let Some(reason) = bucket_type::unusable(&self.bucket_type, properties.as_ref()) {
            return Err(unhealthy(reason));
        }
        let (stats, _) = self.node.stats().await.map_err(failed)?;
        let version = stats["riak_kv_version"].as_str().map(str::to_owned);
        Ok(Health { version, durability: durability(&properties.unwrap_or_default(), &stats) })
    }

    /// Nothing can be made over HTTP.
    async fn provision(&self, _: &Provision) -> Result<Vec<String>, ServiceError> {
        Ok(Vec::new())
    }

    async fn stop(&self) -> Result<(), ServiceError> {
        Err(Self::not_ours(&self.bucket_type))
    }

    async fn wipe(&self) -> Result<(), ServiceError> {
        Err(Self::not_ours(&self.bucket_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::conformance::riak_server::{ConditionalPut, RiakServer};

    #[tokio::test]
    async fn it_is_looked_at_and_left_as_it_is() {
        let server = RiakServer::start(ConditionalPut::Token);
        let service = RiakService::at(server.url(), "chatctl".to_owned());
        let health = service.probe().await.unwrap();
        assert_eq!(
            health.durability,
            "sync_on_write all, n_val 3, riak_kv_leveled_backend of 1 node"
        );
        assert_eq!(service.addresses(), [server.url().trim_start_matches("http://")]);
        server.set_props("allow_mult", false.into());
        let error = service.probe().await.unwrap_err().to_string();
        assert!(error.contains("allow_mult=false") && error.contains("riak-admin"), "{error}");
        server.faults().refuse(true);
        let error = service.probe().await.unwrap_err().to_string();
        assert!(error.contains("503") && error.contains("conditional_put_mode"), "{error}");
    }
}
