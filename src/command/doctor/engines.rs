//! What a server needs of its engines, and of who issues tokens. Nothing is written anywhere, and no lease is taken.

use super::finding::Finding;
use crate::command::engines::{
    LOCAL_ADVICE, brokers, cluster, local_class, redis_server, riak_settings, shortfall,
};
use crate::config::{
    AuthenticationConfig, Config, DistributionEngine, KafkaLogin, KeySource, PersistenceEngine,
    RedisConfig, RedisPlace, RedisSentinels, RegistryEngine, ServiceTls,
};
use crate::distribution::kafka;
use crate::identity::Verifier;
use crate::persistence::cassandra::{self, CassandraSettings};
use crate::persistence::redis::{self, RedisSettings};
use crate::persistence::riak;
use crate::persistence::{Examined, SKEW_MAX};

const MESSAGES: &str = "messages";
const BUS: &str = "bus";
const REGISTRY: &str = "registry";
const IDENTITY: &str = "identity";

/// Where messages live.
pub(super) async fn messages(config: &Config) -> Vec<Finding> {
    let (name, examined) = match &config.persistence {
        PersistenceEngine::Local(local) => {
            let (durability, advice) = (local_class(local), LOCAL_ADVICE.to_owned());
            ("LOCAL", Ok(Examined { durability, advice, refusal: None, ahead_ms: None }))
        }
        PersistenceEngine::Redis(redis) => ("REDIS", examine_redis(redis).await),
        PersistenceEngine::Cassandra(settings) => (
            "CASSANDRA",
            match cluster(settings) {
                Err(error) => Err(format!("{error:#}")),
                Ok(cluster) => {
                    let settings = CassandraSettings::new(cluster, settings.keyspace.clone());
                    Box::pin(cassandra::examine(settings)).await.map_err(|error| error.to_string())
                }
            },
        ),
        PersistenceEngine::Riak(settings) => (
            "RIAK",
            Box::pin(riak::examine(riak_settings(settings)))
                .await
                .map_err(|error| error.to_string()),
        ),
    };
    match examined {
        Err(reason) => vec![Finding::fail(MESSAGES, format!("{name}: {reason}"))],
        Ok(examined) => judge(config, name, &examined),
    }
}

fn judge(config: &Config, name: &'static str, found: &Examined) -> Vec<Finding> {
    let class = match shortfall(config, name, found.durability, &found.advice) {
        Some(shortfall) => Finding::fail(MESSAGES, shortfall),
        None => {
            let advice = match found.advice.as_str() {
                advice if advice.is_empty() || found.is_on_disk() => String::new(),
                advice => format!("; for more, {advice}"),
            };
            Finding::ok(
                MESSAGES,
                format!("{name} is of durability class {}{advice}", found.durability),
            )
        }
    };
    let mut findings = vec![class];
    if let Some(refusal) = found.refusal {
        findings.push(Finding::fail(MESSAGES, format!("{name}: {refusal}")));
    }
    findings.extend(found.ahead_ms.map(|ahead_ms| match found.clock_skew_ms() {
        Some(_) => Finding::fail(
            MESSAGES,
            format!(
                "the clock of {name} is {ahead_ms} ms ahead of this machine's, and more than {} ms are too much; set both by NTP",
                SKEW_MAX.as_millis()
            ),
        ),
        None => Finding::ok(MESSAGES, format!("the clock of {name} is {ahead_ms} ms ahead of this machine's")),
    }));
    findings
}

/// How nodes hear of messages.
pub(super) async fn bus(config: &Config) -> Vec<Finding> {
    match &config.distribution {
        DistributionEngine::Local => vec![Finding::ok(BUS, "LOCAL serves one node")],
        DistributionEngine::Redis(redis) => vec![reach(BUS, redis).await],
        DistributionEngine::Kafka(settings) => {
            let shown = settings.brokers.join(",");
            let examined = match brokers(&settings.brokers, &settings.access) {
                Err(error) => Err(format!("{error:#}")),
                Ok(brokers) => {
                    kafka::examine(brokers, settings.topic.clone(), settings.partitions).await
                }
            };
            let mut findings = vec![match examined {
                Ok(found) => Finding::ok(BUS, format!("KAFKA_BROKERS={shown}: {found}")),
                Err(reason) => Finding::fail(
                    BUS,
                    format!("the brokers of KAFKA_BROKERS={shown} cannot be used: {reason}"),
                ),
            }];
            let is_plain = |login: &KafkaLogin| login.mechanism == "PLAIN";
            if settings.access.login.as_ref().is_some_and(is_plain)
                && settings.access.tls == ServiceTls::Off
            {
                let text = "CHATCTL_KAFKA_SASL=PLAIN without TLS shows the password to whoever is on the way; set CHATCTL_KAFKA_TLS=yes";
                findings.push(Finding::warn(BUS, text));
            }
            findings
        }
    }
}

/// Who is connected.
pub(super) async fn registry(config: &Config) -> Vec<Finding> {
    match &config.registry {
        RegistryEngine::Local => vec![Finding::ok(REGISTRY, "LOCAL serves one node")],
        RegistryEngine::Redis(redis) => vec![reach(REGISTRY, redis).await],
    }
}

async fn reach(check: &'static str, redis: &RedisConfig) -> Finding {
    match examine_redis(redis).await {
        Err(reason) => Finding::fail(check, format!("REDIS: {reason}")),
        Ok(Examined { refusal: Some(refusal), .. }) => {
            Finding::fail(check, format!("REDIS: {refusal}"))
        }
        Ok(_) => match &redis.place {
            RedisPlace::Fixed => {
                Finding::ok(check, format!("REDIS at {} answers", redis.url.address()))
            }
            RedisPlace::Sentinels(RedisSentinels { primary, .. }) => {
                Finding::ok(check, format!("REDIS, where sentinels say that {primary} is, answers"))
            }
            RedisPlace::Cluster(_) => {
                let text =
                    "REDIS, where the nodes of CHATCTL_REDIS_CLUSTER say that it is, answers";
                Finding::ok(check, text)
            }
        },
    }
}

async fn examine_redis(redis: &RedisConfig) -> Result<Examined, String> {
    let server = redis_server(redis).map_err(|error| format!("{error:#}"))?;
    let settings = RedisSettings { server, prefix: redis.prefix.clone() };
    Box::pin(redis::examine(&settings)).await.map_err(|error| error.to_string())
}

/// The keys of tokens.
pub(super) async fn identity(config: &Config) -> Vec<Finding> {
    let tokens = match &config.authentication {
        AuthenticationConfig::Off { .. } if config.listen.ip().is_loopback() => {
            let text = "there is no authentication, on a loopback address";
            return vec![Finding::ok(IDENTITY, text)];
        }
        AuthenticationConfig::Off { .. } => {
            let text = format!(
                "there is no authentication (CHATCTL_INSECURE_NO_AUTH=yes): whoever reaches {} can be anybody; set a key (CHATCTL_AUTH_...)",
                config.listen
            );
            return vec![Finding::warn(IDENTITY, text)];
        }
        AuthenticationConfig::On(tokens) => tokens,
    };
    let mut findings = vec![match Box::pin(Verifier::examine(tokens)).await {
        Ok(found) => Finding::ok(IDENTITY, found),
        Err(error) => Finding::fail(IDENTITY, error.to_string()),
    }];
    if let KeySource::JwksUrl(url) = &tokens.keys
        && url.is_exposed()
    {
        let text = format!(
            "the keys of {url} come over plain HTTP: whoever is on the way can put others in their place; use https://"
        );
        findings.push(Finding::warn(IDENTITY, text));
    }
    findings
}
