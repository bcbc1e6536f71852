//! With whom a process may share its engines.

use anyhow::Context as _;

use super::engines::{cluster, redis_server};
use crate::config::{Config, DistributionEngine, PersistenceEngine, RegistryEngine};
use crate::model::NodeId;
use crate::registry::tenancy::cassandra::CassandraTenancy;
use crate::registry::tenancy::redis::{self as redis_tenancy, RedisTenancy};
use crate::registry::tenancy::riak::RiakTenancy;
use crate::registry::tenancy::{Company, RollSettings, Tenancy};

/// Whether the chosen engines serve more than one node. `store`: what of the service of messages keeps it from that.
pub(super) fn company(config: &Config, store: Option<&str>) -> Company {
    let mut single = Vec::from_iter(store);
    if matches!(config.persistence, PersistenceEngine::Local(_)) {
        single.push("WS_MESSAGE_PERSISTENCE_ENGINE=LOCAL");
    }
    if matches!(config.distribution, DistributionEngine::Local) {
        single.push("WS_MESSAGE_DISTRIBUTION_ENGINE=LOCAL");
    }
    if matches!(config.registry, RegistryEngine::Local) {
        single.push("WS_CONN_PERSISTENCE_ENGINE=LOCAL");
    }
    if single.is_empty() { Company::Many } else { Company::Nobody(single.join(" and ")) }
}

/// Where nodes meet that use the same engines; `None`: what they use can have only one at a time anyway.
pub(super) fn tenancy_of(
    config: &Config,
    node: &NodeId,
    name: &str,
    company: Company,
) -> anyhow::Result<Option<Box<dyn Tenancy>>> {
    let (name, lease) = (name.to_owned(), config.lease);
    let redis = match (&config.persistence, &config.distribution, &config.registry) {
        // The tenants of a store of messages meet there, whatever else they use.
        (PersistenceEngine::Cassandra(cassandra), _, _) => {
            let settings = RollSettings { name, node: node.clone(), company, lease };
            let (cluster, keyspace) = (cluster(cassandra)?, cassandra.keyspace.clone());
            let tenancy = CassandraTenancy::in_keyspace(cluster, keyspace, settings);
            return Ok(Some(Box::new(tenancy)));
        }
        (PersistenceEngine::Riak(riak), _, _) => {
            let settings = RollSettings { name, node: node.clone(), company, lease };
            let (url, bucket_type) = (riak.url.clone(), riak.bucket_type.clone());
            let tenancy = RiakTenancy::in_bucket_type(url, bucket_type, settings);
            return Ok(Some(Box::new(tenancy)));
        }
        (PersistenceEngine::Redis(redis), _, _)
        | (_, DistributionEngine::Redis(redis), _)
        | (_, _, RegistryEngine::Redis(redis)) => redis.clone(),
        (PersistenceEngine::Local(_), _, RegistryEngine::Local) => return Ok(None),
    };
    let settings = redis_tenancy::RedisSettings {
        server: redis_server(&redis)?,
        prefix: redis.prefix,
        name,
        node: node.clone(),
        company,
        lease,
    };
    let tenancy = RedisTenancy::of(settings).context("this node cannot run here")?;
    Ok(Some(Box::new(tenancy)))
}
