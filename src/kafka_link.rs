//! How everything that uses Kafka reaches its brokers: the settings of a client, and where its complaints go.

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// What every client is told: a broker that is away is looked for twice a second, and a topic is never made by asking for it.
pub fn config(brokers: &[String]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers.join(","))
        .set("client.id", "chatctl")
        .set("socket.connection.setup.timeout.ms", "2000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("allow.auto.create.topics", "false");
    config
}

/// What the library writes into its log. It tells of every connection that is refused, which is what a start looks like.
pub fn log(facility: &str, message: &str) {
    tracing::debug!(facility, message, "kafka");
}

/// What went wrong with a client as a whole, or with one of its requests. What no time heals is a warning.
pub fn complain(error: &KafkaError, reason: &str) {
    if error.rdkafka_error_code().is_some_and(is_refusal) {
        tracing::warn!(%error, reason, "kafka: the brokers refuse this server; allow it to describe, read and write CHATCTL_KAFKA_TOPIC");
    } else {
        tracing::debug!(%error, reason, "kafka");
    }
}

/// Whether the brokers know us, or what we ask for, and say no.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::SSL
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_time_heals_is_told_apart() {
        for code in [RDKafkaErrorCode::TopicAuthorizationFailed, RDKafkaErrorCode::Authentication] {
            assert!(is_refusal(code), "{code}");
        }
        for code in [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::LeaderNotAvailable] {
            assert!(!is_refusal(code), "{code}");
        }
    }
}
