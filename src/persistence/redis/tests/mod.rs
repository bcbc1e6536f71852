//! The engine against servers that fail, on real servers of our own.

mod archive;
mod cluster;
mod effects;
mod figures;
mod kills;
mod lives;
mod proxy;
mod refusals;
mod silence;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};

use super::scripts::{SCRIPTS, Scripts};
use super::{LANES, OpenError, RedisPersistence, RedisSettings, open, open_with};
use crate::model::{Durability, LIMITS, Order, Seq, UserName};
use crate::persistence::conformance::redis::{Server, fresh_settings, program};
use crate::persistence::conformance::subject::{PAST, Room, everything};
use crate::persistence::{Append, AppendOutcome, EngineError, Persistence, RangeQuery};
use crate::services::ServiceKind;

/// Every call is answered within this.
const ANSWER_MAX: Duration = Duration::from_millis(LIMITS.answer_ms_max);
/// The engine works again this long after the server does.
const HEALED_MAX: Duration = Duration::from_secs(3);

const DISK: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

fn server(options: &[&str]) -> Option<Server> {
    Some(Server::start(&program(ServiceKind::Redis)?, options))
}

/// A fast one.
const FAST: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "no"];

async fn engine_with(settings: &RedisSettings, scripts: &'static Scripts) -> Arc<RedisPersistence> {
    open_with(settings.clone(), scripts, LANES).await.expect("the server runs")
}

async fn engine(settings: &RedisSettings) -> Arc<RedisPersistence> {
    open(settings.clone()).await.expect("the server runs")
}

fn room(name: &str) -> Room {
    Room::new(crate::model::Place::Channel(crate::model::ChannelName::new(name).unwrap()))
}

fn ann() -> UserName {
    UserName::new("ann").unwrap()
}

/// Another client's command.
fn command(server: &Server, words: &[&str]) -> redis::RedisResult<redis::Value> {
    let mut connection = redis::Client::open(server.url())?.get_connection()?;
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
}

async fn append(engine: &RedisPersistence, room: &Room) -> Result<u64, EngineError> {
    match engine.append(room.message(&ann(), PAST)).await? {
        AppendOutcome::Stored(stored) => Ok(stored.message.seq.0),
        other => panic!("{other:?}"),
    }
}

/// Until appends are stored again.
async fn healed(engine: &RedisPersistence, room: &Room) -> u64 {
    let started = Instant::now();
    loop {
        match append(engine, room).await {
            Ok(seq) => return seq,
            Err(error) => assert!(started.elapsed() < HEALED_MAX, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
