//! Sentinels: where the primary of a Redis is now.

use futures_util::future::join_all;
use redis::{ConnectionInfo, RedisConnectionInfo, RedisError, RedisResult};
use tokio::time::timeout;

use super::{ASK_TIME, open, with_address};

/// Who tells where the server is.
#[derive(Clone, PartialEq, Eq)]
pub struct Sentinels {
    /// Where they are.
    pub addresses: Vec<(String, u16)>,
    /// What they call the primary.
    pub primary: String,
    /// Their own password, where they ask for one.
    pub password: Option<String>,
}

impl Sentinels {
    /// Where most of those that answer say that the primary is. All are asked, at once: one that is cut off from the others tells of a
    /// primary that was.
    pub(super) async fn find(
        &self,
        info: &ConnectionInfo,
        authority: Option<&[u8]>,
    ) -> RedisResult<(String, u16)> {
        let ask = self.addresses.iter().map(async |(host, port)| {
            let asked = timeout(ASK_TIME, Box::pin(self.ask(info, authority, host, *port))).await;
            let ms = ASK_TIME.as_millis();
            match asked {
                Ok(Ok(found)) => Ok(found),
                Ok(Err(error)) => Err(format!("the sentinel at {host}:{port}: {error}")),
                Err(_) => Err(format!("the sentinel at {host}:{port}: no answer in {ms} ms")),
            }
        });
        let answers = join_all(ask).await;
        let found: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        let votes =
            |address: &(String, u16)| found.iter().filter(|other| **other == address).count();
        match found.iter().copied().max_by_key(|address| votes(address)) {
            Some(address) => Ok(address.clone()),
            None => {
                let reasons: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
                Err(failed(format!("CHATCTL_REDIS_SENTINELS: {}", reasons.join("; "))))
            }
        }
    }

    async fn ask(
        &self,
        info: &ConnectionInfo,
        authority: Option<&[u8]>,
        host: &str,
        port: u16,
    ) -> RedisResult<(String, u16)> {
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        let info = with_address(info.clone(), host, port).set_redis_settings(login);
        let client = super::build(info, authority)?;
        let mut connection = open(&client).await?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.primary);
        let found: Option<(String, u16)> = ask.query_async(&mut connection).await?;
        found.ok_or_else(|| {
            failed(format!("it knows no primary named {}, the host of REDIS_URL", self.primary))
        })
    }
}

fn failed(reason: String) -> RedisError {
    RedisError::from((redis::ErrorKind::Client, "the primary is not known", reason))
}
