//! With whom a process may share its engines.

use anyhow::Context as _;

use super::engines::{cluster, redis_server};
use crate::config::{Config, DistributionEngine, PersistenceEngine, RegistryEngine};
use crate::model::NodeId;
use crate::registry::tenancy::cassandra::{self as cassandra_tenancy, CassandraTenancy};
use crate::registry::tenancy::redis::{self as redis_tenancy, RedisTenancy};
use crate::registry::tenancy::{Company, Tenancy};

/// Whether the chosen engines serve more than one node.
pub(super) fn company(config: &Config) -> Company {
    let mut single = Vec::new();
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
    // The tenants of a store of messages meet there, whatever else they use.
    if let PersistenceEngine::Cassandra(cassandra) = &config.persistence {
        let settings = cassandra_tenancy::CassandraSettings {
            cluster: cluster(cassandra)?,
            keyspace: cassandra.keyspace.clone(),
            name: name.to_owned(),
            node: node.clone(),
            company,
            lease: config.lease,
        };
        return Ok(Some(Box::new(CassandraTenancy::of(settings))));
    }
    let redis = match (&config.persistence, &config.distribution, &config.registry) {
        (PersistenceEngine::Redis(redis), _, _)
        | (_, DistributionEngine::Redis(redis), _)
        | (_, _, RegistryEngine::Redis(redis)) => redis.clone(),
        _ => return Ok(None),
    };
    let settings = redis_tenancy::RedisSettings {
        server: redis_server(&redis)?,
        prefix: redis.prefix,
        name: name.to_owned(),
        node: node.clone(),
        company,
        lease: config.lease,
    };
    let tenancy = RedisTenancy::of(settings).context("this node cannot run here")?;
    Ok(Some(Box::new(tenancy)))
}
