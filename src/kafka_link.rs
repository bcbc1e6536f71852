//! How everything that uses Kafka reaches its brokers: the settings of a client, and where its complaints go.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;

/// Where the brokers are, and how to get in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brokers {
    /// Brokers to begin with, `host:port` each.
    pub addresses: Vec<String>,
    /// How to get in, the same for all.
    pub access: Access,
}

impl From<Vec<String>> for Brokers {
    fn from(addresses: Vec<String>) -> Self {
        Self { addresses, access: Access::default() }
    }
}

impl Brokers {
    /// Their addresses, for messages.
    pub fn shown(&self) -> String {
        self.addresses.join(",")
    }
}

/// How a client gets in: who it says that it is, and whom it takes for a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// User and password; `None`: nobody asks.
    pub login: Option<Login>,
    /// `None`: no TLS.
    pub tls: Option<Tls>,
}

/// A user, by SASL.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// Their name.
    pub user: String,
    /// Never shown.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({} by {})", self.user, self.mechanism)
    }
}

/// TLS to the brokers.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates in PEM form, of those who may have issued the brokers'. Those must be for the names or addresses that brokers are
    /// reached by.
    pub authorities: Arc<str>,
    /// The files of the certificate that we show, its own first, and of its key, in PEM form; `None`: nobody asks for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("own", &self.own).finish_non_exhaustive()
    }
}

/// What every client is told: a broker that is away is looked for twice a second, and a topic is never made by asking for it.
pub fn config(brokers: &Brokers) -> ClientConfig {
    let Brokers { addresses, access: Access { login, tls } } = brokers;
    let protocol = match (login, tls) {
        (None, None) => "PLAINTEXT",
        (None, Some(_)) => "SSL",
        (Some(_), None) => "SASL_PLAINTEXT",
        (Some(_), Some(_)) => "SASL_SSL",
    };
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", addresses.join(","))
        .set("client.id", "chatctl")
        .set("security.protocol", protocol)
        .set("socket.connection.setup.timeout.ms", "2000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("allow.auto.create.topics", "false")
        // Why a broker cannot be reached stands in the log.
        .set_log_level(RDKafkaLogLevel::Info);
    if let Some(Login { mechanism, user, password }) = login {
        config
            .set("sasl.mechanism", *mechanism)
            .set("sasl.username", user)
            .set("sasl.password", password);
    }
    if let Some(Tls { authorities, own }) = tls {
        config
            .set("ssl.ca.pem", &**authorities)
            .set("ssl.endpoint.identification.algorithm", "https");
        if let Some((certificate, key)) = own {
            // By name: of a text the library would take the first certificate and leave out those that lead to its issuer.
            config
                .set("ssl.certificate.location", certificate.to_string_lossy())
                .set("ssl.key.location", key.to_string_lossy());
        }
    }
    config
}

/// What the library writes into its log. It tells of every connection that is refused, which is what a start looks like.
pub fn log(facility: &str, message: &str) {
    tracing::debug!(facility, message, "kafka");
}

/// What went wrong with a client as a whole, or with one of its requests. What no time heals is a warning.
pub fn complain(error: &KafkaError, reason: &str) {
    if let Some(hint) = hint(error.rdkafka_error_code(), reason) {
        tracing::warn!(%error, reason, "kafka: the brokers refuse this server; {hint}");
    } else {
        tracing::debug!(%error, reason, "kafka");
    }
}

/// How long is waited for the reason of a question that was not answered.
const COMPLAINT_TIME: Duration = Duration::from_millis(500);

/// What the brokers know of their topics, and who leads what; or why they do not say, and what to do where that is plain. Asks for all
/// topics, as one that is asked for by name might be created. Blocks, for `limit` at most.
pub fn metadata(brokers: &Brokers, limit: Duration) -> Result<Metadata, String> {
    let asking = config(brokers).create_with_context(Complaints::default());
    let asking: BaseConsumer<Complaints> = asking.map_err(|error| error.to_string())?;
    asking.fetch_metadata(None, limit).map_err(|error| {
        // The answer says no more than that there was none. Why is told, about the same time, to whoever asks for messages.
        let deadline = Instant::now() + COMPLAINT_TIME;
        while asking.context().last().is_none() && Instant::now() < deadline {
            let _ = asking.poll(COMPLAINT_TIME / 10);
        }
        asking.context().explain(&error)
    })
}

/// The last complaint of a client.
#[derive(Debug, Default)]
struct Complaints(Mutex<Option<String>>);

impl Complaints {
    fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why a question was not answered: the address and the reason, and what to do.
    fn explain(&self, error: &KafkaError) -> String {
        let code = error.rdkafka_error_code();
        match (self.last(), hint(code, "")) {
            (Some(last), _) if code.is_some_and(is_silence) => last,
            (_, Some(hint)) => format!("{error}; {hint}"),
            (_, None) => error.to_string(),
        }
    }
}

impl ClientContext for Complaints {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        log(facility, message);
        if facility == "FAIL" {
            // It begins with the thread.
            let reason = message.split_once("]: ").map_or(message, |(_, reason)| reason);
            let text = match hint(None, reason) {
                Some(hint) => format!("{reason}; {hint}"),
                None => reason.to_owned(),
            };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
    }
}

impl ConsumerContext for Complaints {}

/// Whether a question ended without an answer.
fn is_silence(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SSL
    )
}

/// What to do where the brokers know us, or what we ask for, and say no, or speak otherwise than we do; `None`: it may heal by itself.
fn hint(code: Option<RDKafkaErrorCode>, reason: &str) -> Option<&'static str> {
    let says = |text: &str| reason.contains(text);
    let hint = if says("alert bad certificate")
        || says("certificate required")
        || says("alert unknown ca")
    {
        "the brokers want a certificate of ours: set CHATCTL_KAFKA_TLS_CERT and CHATCTL_KAFKA_TLS_KEY to one that they know"
    } else if says("in state APIVERSION_QUERY") || says("Invalid response size") {
        "if the brokers of KAFKA_BROKERS speak TLS there, set CHATCTL_KAFKA_TLS=yes"
    } else if says("closed by peer") && says("in state UP") {
        "if the brokers of KAFKA_BROKERS want a user there, set CHATCTL_KAFKA_SASL, CHATCTL_KAFKA_USER and CHATCTL_KAFKA_PASSWORD"
    } else if says("certificate verify failed") {
        "the certificates of brokers must be for the addresses that they are reached by; name the certificate of who issued them by CHATCTL_KAFKA_TLS_CA"
    } else if says("wrong version number") || says("PLAINTEXT broker listener?") {
        "if the brokers of KAFKA_BROKERS do not speak TLS there, set CHATCTL_KAFKA_TLS=no, or name the port where they do"
    } else if says("SASL authentication error") || says("SASL mechanism") {
        "correct CHATCTL_KAFKA_USER and CHATCTL_KAFKA_PASSWORD, or the mechanism, CHATCTL_KAFKA_SASL"
    } else if says("SSL handshake") {
        "look at CHATCTL_KAFKA_TLS and the listeners of the brokers"
    } else {
        match code? {
            RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
                "correct CHATCTL_KAFKA_USER and CHATCTL_KAFKA_PASSWORD, or the mechanism, CHATCTL_KAFKA_SASL"
            }
            RDKafkaErrorCode::SSL => "look at CHATCTL_KAFKA_TLS and the listeners of the brokers",
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                "allow the user of CHATCTL_KAFKA_USER what docs/guides/operating.md lists for CHATCTL_KAFKA_TOPIC"
            }
            _ => return None,
        }
    };
    Some(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_time_heals_is_told_apart() {
        for code in [RDKafkaErrorCode::TopicAuthorizationFailed, RDKafkaErrorCode::Authentication] {
            assert!(hint(Some(code), "").is_some(), "{code}");
        }
        for code in [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::LeaderNotAvailable] {
            assert!(hint(Some(code), "").is_none(), "{code}");
        }
    }

    #[test]
    fn why_there_was_no_answer_is_the_last_complaint() {
        let complaints = Complaints::default();
        let silence = KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure);
        assert_eq!(complaints.explain(&silence), silence.to_string());
        let reason = "sasl_ssl://kafka-1:9093/bootstrap: SASL authentication error: no";
        complaints.log(
            RDKafkaLogLevel::Error,
            "FAIL",
            &format!("[thrd:sasl_ssl://kafka-1:9093/bootstrap]: {reason}"),
        );
        complaints.log(RDKafkaLogLevel::Error, "OTHER", "[thrd:main]: something else");
        let text = complaints.explain(&silence);
        assert!(text.starts_with(reason) && text.contains("CHATCTL_KAFKA_PASSWORD"), "{text}");
    }

    #[test]
    fn a_password_is_not_shown() {
        let login =
            Login { mechanism: "PLAIN", user: "chat".to_owned(), password: "hunter2".to_owned() };
        let access = Access { login: Some(login), tls: None };
        let brokers = Brokers { addresses: Vec::new(), access };
        assert!(format!("{brokers:?}").contains("chat"), "{brokers:?}");
        assert!(!format!("{brokers:?}").contains("hunter2"), "{brokers:?}");
    }
}
