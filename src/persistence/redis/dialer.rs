//! Making connections: each one knows, before its first call, which life of the store it talks to.

use std::collections::HashMap;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisError, RedisResult, Value};

use super::facts::Facts;
use super::keys::Keys;
use super::scripts::Scripts;
use crate::model::{Durability, Epoch};
use crate::persistence::lineage::{Life, Lineage};
use crate::persistence::status::Status;
use crate::redis_link::{self, Client, DIAL_TIME, RedisServer, in_time};

/// The format of keys and values that this version reads and writes. Another one is never touched.
const FORMAT: u32 = 1;
/// How the script of the lineage begins its answer where the store has another.
const FORMAT_CODE: &str = "FORMAT";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Trying again may help.
    #[error("{0}")]
    Now(String),
    /// The store is of another version; the text says what to do.
    #[error("{0}")]
    Format(String),
}

/// Makes connections to one server.
pub struct Dialer {
    client: Client,
    /// What is called.
    pub scripts: &'static Scripts,
    /// The names of keys.
    pub keys: Keys,
    /// Which life the store is in.
    pub lineage: Arc<Lineage>,
    /// What was seen of the server.
    pub status: Arc<Status>,
}

/// A connection that is ready.
#[derive(Clone)]
pub struct Link {
    /// The way to the server.
    pub connection: MultiplexedConnection,
    /// The life that the store was in when the connection was made.
    pub life: Arc<Life>,
    /// Which connection of which server process.
    pub identity: Identity,
}

/// Names a connection on its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    client_id: u64,
    run_id: String,
}

impl Dialer {
    /// For one server. The error never holds the URL: it may have a password.
    pub fn new(
        server: &RedisServer,
        scripts: &'static Scripts,
        keys: Keys,
        lineage: Arc<Lineage>,
        status: Arc<Status>,
    ) -> RedisResult<Self> {
        let client = redis_link::client(server, ProtocolVersion::RESP2, &keys.lineage())?;
        Ok(Self { client, scripts, keys, lineage, status })
    }

    /// Connects, loads the scripts and learns the life of the store. `previous`: a connection that this one
    /// replaces; the server forgets what it has of it, so that calls that wait there unread cannot
    /// be done after those of the new one.
    pub async fn dial(&self, previous: Option<&Identity>) -> Result<Link, DialError> {
        let mut other = None;
        let dialed = in_time(DIAL_TIME, Box::pin(self.dial_patiently(previous, &mut other))).await;
        dialed.map_err(|reason| match other {
            Some(found) => DialError::Format(unknown_format(&self.client, &self.keys, &found)),
            None => DialError::Now(reason),
        })
    }

    /// `other`: where a format is noted that is not ours.
    async fn dial_patiently(
        &self,
        previous: Option<&Identity>,
        other: &mut Option<String>,
    ) -> Result<Link, RedisError> {
        let mut connection =
            redis_link::connect(&self.client, AsyncConnectionConfig::new()).await?;
        let client_id: u64 = redis::cmd("CLIENT").arg("ID").query_async(&mut connection).await?;
        load(&mut connection, self.scripts).await?;
        let facts = self.ask(&mut connection).await?;
        if let Some(previous) = previous.filter(|previous| previous.run_id == facts.run_id) {
            let kill =
                redis::cmd("CLIENT").arg("KILL").arg("ID").arg(previous.client_id).to_owned();
            let _killed: u64 = kill.query_async(&mut connection).await?;
        }
        let life = self.learn(&mut connection, &facts).await.inspect_err(|error| {
            if error.code() == Some(FORMAT_CODE) {
                *other = Some(error.detail().unwrap_or_default().to_owned());
            }
        })?;
        let identity = Identity { client_id, run_id: facts.run_id.clone() };
        self.status.found(facts.found());
        Ok(Link { connection, life, identity })
    }

    /// Asks the server what it is.
    pub async fn ask(&self, connection: &mut MultiplexedConnection) -> RedisResult<Facts> {
        ask(connection, &self.client).await
    }

    /// Where the server was found last, for messages.
    pub fn reached(&self) -> String {
        self.client.reached()
    }

    /// Whether another server may take the place of this one.
    pub fn is_replaceable(&self) -> bool {
        self.client.stand_in().is_some()
    }

    async fn learn(
        &self,
        connection: &mut MultiplexedConnection,
        facts: &Facts,
    ) -> Result<Arc<Life>, RedisError> {
        let known = self.lineage.known();
        let (generation, epoch, beat) = match &known {
            Some((life, beat)) => {
                (life.generation.to_string(), life.epoch.to_string(), beat.to_string())
            }
            None => Default::default(),
        };
        let (generation, epoch, lost): (u64, String, u64) = redis::cmd("EVALSHA")
            .arg(&self.scripts.lineage.sha)
            .arg(1)
            .arg(self.keys.lineage())
            .arg(&facts.run_id)
            .arg(Epoch::generate().as_str())
            .arg(u8::from(facts.durability.satisfies(Durability::DISK) && !facts.was_replica))
            .arg(generation)
            .arg(epoch)
            .arg(beat)
            .arg(FORMAT)
            .query_async(connection)
            .await?;
        let epoch = Epoch::new(&epoch).map_err(|_| {
            RedisError::from((redis::ErrorKind::Client, "the lineage of the store is unreadable"))
        })?;
        let life = Life { generation, epoch };
        self.lineage.learn(life.clone(), lost != 0);
        Ok(Arc::new(life))
    }
}

/// Refuses a store of another format, of which nothing is written here.
pub async fn check_format(
    client: &Client,
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<Result<(), String>> {
    let mut ask = redis::cmd("HGET");
    ask.arg(keys.lineage()).arg("format");
    let found: Option<String> = ask.query_async(connection).await?;
    let other = found.filter(|found| *found != FORMAT.to_string());
    Ok(other.map_or(Ok(()), |found| Err(unknown_format(client, keys, &found))))
}

fn unknown_format(client: &Client, keys: &Keys, found: &str) -> String {
    format!(
        "the store under CHATCTL_REDIS_PREFIX={} of REDIS_URL ({}) has format {found}, and this chatctl knows only format {FORMAT}: use the \
         chatctl that made it, or bring the messages over ('chatctl export' with that one, 'chatctl import' with this one into another \
         CHATCTL_REDIS_PREFIX)",
        keys.prefix(),
        client.reached(),
    )
}

/// Loads every script.
pub async fn load(connection: &mut MultiplexedConnection, scripts: &Scripts) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    for script in scripts.all() {
        pipe.cmd("SCRIPT").arg("LOAD").arg(&script.text);
    }
    let shas: Vec<String> = pipe.query_async(connection).await?;
    debug_assert!(shas.iter().zip(scripts.all()).all(|(sha, script)| *sha == script.sha));
    Ok(())
}

/// Asks the server that `client` leads to what it is.
pub async fn ask(connection: &mut MultiplexedConnection, client: &Client) -> RedisResult<Facts> {
    let mut pipe = redis::pipe();
    pipe.cmd("INFO").arg("server").arg("replication");
    pipe.cmd("CONFIG").arg("GET");
    for name in ["appendonly", "appendfsync", "maxmemory", "maxmemory-policy"] {
        pipe.arg(name);
    }
    let (info, config): (Value, HashMap<String, String>) = pipe.query_async(connection).await?;
    let info: String = redis::from_redis_value(info)?;
    let facts = Facts::new(&info, &config);
    Ok(match client.stand_in() {
        Some(who) => facts.replaceable_by(who),
        None => facts,
    })
}
