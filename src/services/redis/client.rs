//! Asking a Redis or a Valkey about itself.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisError,
    TlsCertificates,
};

use super::super::ServiceError;
use super::state::State;

/// For one answer. A server that takes longer does not serve.
const LIMIT: Duration = Duration::from_secs(2);

/// The settings that [`State`] judges. One by one: before Redis 7 one `CONFIG GET` took one.
const SETTINGS: [&str; 4] = ["appendonly", "appendfsync", "save", "maxmemory-policy"];

/// Where it is, and how to get in.
pub(super) struct RedisClient {
    client: Client,
    address: String,
}

impl RedisClient {
    /// For a URL, which is never shown: it may hold a password. `authority`: certificates in PEM form of those who may have issued the
    /// server's; `None`: whom the system trusts.
    pub(super) fn open(url: &str, authority: Option<&[u8]>) -> Result<Self, ServiceError> {
        let refused = |text: &str| ServiceError::Refused(text.to_owned());
        let no_url = "the URL of Redis is none; write redis:// (or rediss:// for TLS) [user:password@]host:port[/database]";
        let info = url.into_connection_info().map_err(|_| refused(no_url))?;
        let (ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }) =
            info.addr()
        else {
            return Err(refused(no_url));
        };
        let address =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let client = match authority {
            None => Client::open(info),
            Some(authority) => {
                let root_cert = Some(authority.to_vec());
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
        };
        let client = client.map_err(|_| refused(no_url))?;
        Ok(Self { client, address })
    }

    /// `host:port`, all that may be shown of it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What it says of itself, its data loaded or not.
    pub(super) async fn state(&self) -> Result<State, String> {
        let mut connection = self.connect().await?;
        let info: String = redis::cmd("INFO")
            .query_async(&mut connection)
            .await
            .map_err(|error| reason(&error))?;
        let mut settings = HashMap::new();
        for name in SETTINGS {
            let mut command = redis::cmd("CONFIG");
            let answer: Result<HashMap<String, String>, _> =
                command.arg("GET").arg(name).query_async(&mut connection).await;
            match answer {
                Ok(answer) => settings.extend(answer),
                // Managed services forbid it, or do not know it.
                Err(error) if error.code().is_some() => return Ok(State::new(&info, None)),
                Err(error) => return Err(reason(&error)),
            }
        }
        Ok(State::new(&info, Some(settings)))
    }

    /// Whether it serves.
    pub(super) async fn ping(&self) -> Result<(), String> {
        let mut connection = self.connect().await?;
        let pong: Result<String, _> = redis::cmd("PING").query_async(&mut connection).await;
        pong.map(drop).map_err(|error| reason(&error))
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(LIMIT))
            .set_response_timeout(Some(LIMIT));
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(|error| reason(&error))
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisClient").field(&self.address).finish()
    }
}

fn reason(error: &RedisError) -> String {
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        return "it refuses the user or the password of the URL; correct them".to_owned();
    }
    match error.code() {
        Some("NOAUTH") => {
            "it wants a password; write it into the URL: redis://:password@host:port".to_owned()
        }
        Some("WRONGPASS") => {
            "it refuses the user or the password of the URL; correct them".to_owned()
        }
        Some("NOPERM") => {
            "the user of the URL may not use PING and INFO; allow it: +ping +info".to_owned()
        }
        Some("LOADING") => "it loads its data".to_owned(),
        _ if error.is_timeout() => format!("no answer within {} s", LIMIT.as_secs()),
        _ if error.is_connection_refusal() => {
            "nobody listens there (connection refused)".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let client = RedisClient::open("redis://me:secret@example.org:6390/2", None).unwrap();
        assert_eq!(client.address(), "example.org:6390");
        assert_eq!(format!("{client:?}"), "RedisClient(\"example.org:6390\")");
        assert_eq!(RedisClient::open("redis://[::1]:7", None).unwrap().address(), "[::1]:7");
        for url in
            ["redis://me:secret@", "secret", "rediss://me:secret@", "redis://:secret@host:port"]
        {
            let error = RedisClient::open(url, None).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }
}
