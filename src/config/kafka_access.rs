//! How Kafka is got into: by whom, and whether over TLS.

use std::path::PathBuf;

use super::load::Reader;
use super::{ConfigError, Secret, ServiceTls, TlsConfig};

/// User, password and TLS of Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KafkaAccess {
    /// Who we are, where it asks.
    pub login: Option<KafkaLogin>,
    /// Whether it is reached over TLS, and by whose certificates.
    pub tls: ServiceTls,
    /// The certificate that we show; only over TLS.
    pub certificate: Option<TlsConfig>,
}

/// A user of Kafka, by SASL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaLogin {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// Their name.
    pub user: String,
    /// Their password.
    pub password: Secret,
}

impl KafkaAccess {
    /// Judges what was set, and what of it needs what else.
    pub(super) fn load(reader: &Reader<'_>) -> Result<Self, ConfigError> {
        Ok(Self { login: login(reader)?, tls: tls(reader)?, certificate: certificate(reader)? })
    }
}

fn login(reader: &Reader<'_>) -> Result<Option<KafkaLogin>, ConfigError> {
    let mechanism = reader.choice("CHATCTL_KAFKA_SASL")?;
    let user = reader.optional("CHATCTL_KAFKA_USER")?;
    let password = reader.optional("CHATCTL_KAFKA_PASSWORD")?;
    match (mechanism, user, password) {
        ("no", None, None) => Ok(None),
        ("no", _, _) => Err(together(
            "CHATCTL_KAFKA_USER or CHATCTL_KAFKA_PASSWORD is set and CHATCTL_KAFKA_SASL is not; set it to the mechanism that the brokers have for this user",
        )),
        (mechanism, Some(user), Some(password)) => Ok(Some(KafkaLogin {
            mechanism,
            user: user.to_owned(),
            password: Secret::new(password),
        })),
        _ => Err(together(
            "CHATCTL_KAFKA_SASL needs both CHATCTL_KAFKA_USER and CHATCTL_KAFKA_PASSWORD; set them, or CHATCTL_KAFKA_SASL=no",
        )),
    }
}

fn tls(reader: &Reader<'_>) -> Result<ServiceTls, ConfigError> {
    let ca = reader.optional("CHATCTL_KAFKA_TLS_CA")?.map(PathBuf::from);
    match (reader.choice("CHATCTL_KAFKA_TLS")?, ca) {
        ("yes", ca) => Ok(ServiceTls::On { ca }),
        (_, None) => Ok(ServiceTls::Off),
        (_, Some(_)) => Err(together(
            "CHATCTL_KAFKA_TLS_CA is set and CHATCTL_KAFKA_TLS is not; set CHATCTL_KAFKA_TLS=yes",
        )),
    }
}

fn certificate(reader: &Reader<'_>) -> Result<Option<TlsConfig>, ConfigError> {
    let path = |key| reader.optional(key).map(|path| path.map(PathBuf::from));
    match (path("CHATCTL_KAFKA_TLS_CERT")?, path("CHATCTL_KAFKA_TLS_KEY")?) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) if reader.choice("CHATCTL_KAFKA_TLS")? != "yes" => Err(together(
            "CHATCTL_KAFKA_TLS_CERT is set and CHATCTL_KAFKA_TLS is not; set CHATCTL_KAFKA_TLS=yes",
        )),
        (Some(certificate), Some(key)) => Ok(Some(TlsConfig { certificate, key })),
        _ => Err(together(
            "only one of CHATCTL_KAFKA_TLS_CERT and CHATCTL_KAFKA_TLS_KEY is set; set both, or neither",
        )),
    }
}

fn together(text: &str) -> ConfigError {
    ConfigError::together(text.to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::{ServicesConfig, Sources};

    fn load(entries: &[(&str, &str)]) -> Result<KafkaAccess, String> {
        let environment =
            entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        ServicesConfig::load(&Sources { environment, ..Sources::default() })
            .map(|services| services.kafka_access)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn all_of_it_is_taken_and_the_password_not_shown() {
        assert_eq!(load(&[]).unwrap(), KafkaAccess::default());
        let access = load(&[
            ("CHATCTL_KAFKA_SASL", "SCRAM-SHA-512"),
            ("CHATCTL_KAFKA_USER", "chat"),
            ("CHATCTL_KAFKA_PASSWORD", "hunter2"),
            ("CHATCTL_KAFKA_TLS", "yes"),
            ("CHATCTL_KAFKA_TLS_CA", "ca.pem"),
            ("CHATCTL_KAFKA_TLS_CERT", "own.pem"),
            ("CHATCTL_KAFKA_TLS_KEY", "own-key.pem"),
        ])
        .unwrap();
        assert!(!format!("{access:?}").contains("hunter2"), "{access:?}");
        let login = access.login.unwrap();
        assert_eq!((login.mechanism, login.user.as_str()), ("SCRAM-SHA-512", "chat"));
        assert_eq!(login.password.expose(), "hunter2");
        assert_eq!(access.tls, ServiceTls::On { ca: Some("ca.pem".into()) });
        let certificate = TlsConfig { certificate: "own.pem".into(), key: "own-key.pem".into() };
        assert_eq!(access.certificate, Some(certificate));
    }

    #[rstest]
    #[case(&[("CHATCTL_KAFKA_SASL", "GSSAPI")], "SCRAM-SHA-256")]
    #[case(&[("CHATCTL_KAFKA_SASL", "PLAIN")], "CHATCTL_KAFKA_USER")]
    #[case(&[("CHATCTL_KAFKA_SASL", "PLAIN"), ("CHATCTL_KAFKA_USER", "chat")], "CHATCTL_KAFKA_PASSWORD")]
    #[case(&[("CHATCTL_KAFKA_PASSWORD", "hunter2")], "CHATCTL_KAFKA_SASL")]
    #[case(&[("CHATCTL_KAFKA_TLS_CA", "ca.pem")], "CHATCTL_KAFKA_TLS=yes")]
    #[case(&[("CHATCTL_KAFKA_TLS", "yes"), ("CHATCTL_KAFKA_TLS_CERT", "a.pem")], "CHATCTL_KAFKA_TLS_KEY")]
    #[case(&[("CHATCTL_KAFKA_TLS_KEY", "b.pem"), ("CHATCTL_KAFKA_TLS_CERT", "a.pem")], "CHATCTL_KAFKA_TLS=yes")]
    fn what_is_missing_is_named(#[case] entries: &[(&str, &str)], #[case] named: &str) {
        let text = load(entries).unwrap_err();
        assert!(text.contains(named) && !text.contains("hunter2"), "{text}");
    }
}
