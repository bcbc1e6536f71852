//! How the engine begins: the node is looked at, tried, and asked which life the store is in; and then looked at again and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::commit::Committer;
use super::store::Store;
use super::{RiakPersistence, facts, life};
use crate::clock;
use crate::persistence::EngineError;
use crate::persistence::lineage::Lineage;
use crate::persistence::status::{Examined, Found, Status};
use crate::persistence::writer::Writer;
use crate::riak_link::{CallError, Node, bucket_type};

/// What the engine can be told.
#[derive(Debug, Clone)]
pub struct RiakSettings {
    /// Where a node is, or what is in front of several: `http://host:port`.
    pub url: String,
    /// The bucket type of all objects; made by who runs the node.
    pub bucket_type: String,
}

/// Why the engine cannot start. Each text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum OpenError {
    #[error("the node of RIAK_URL={url} does not answer as it should: {reason}")]
    Connect { url: String, reason: String },
    #[error("the node of RIAK_URL={url} cannot be used: {reason}")]
    Setup { url: String, reason: String },
}

/// How long a start waits for the node.
const START_TIME: Duration = Duration::from_secs(15);
/// Pause between two attempts of a start.
const START_PAUSE: Duration = Duration::from_millis(250);
/// How often the node is asked how it is.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// What the node says of itself and of its clock. Nothing is written there.
pub async fn examine(settings: RiakSettings) -> Result<Examined, OpenError> {
    let node = Node::new(&settings.url, &settings.bucket_type);
    let asked_ms = clock::unix_ms();
    let (found, clock_ms) = look(&node, &settings).await?;
    let there_ms = clock_ms.map_or(asked_ms.cast_signed(), |there| there.cast_signed());
    Ok(Examined::new(found, there_ms, asked_ms))
}

async fn look(node: &Node, settings: &RiakSettings) -> Result<(Found, Option<u64>), OpenError> {
    let url = || settings.url.clone();
    let failed = |error: CallError| OpenError::Connect { url: url(), reason: error.to_string() };
    let properties = node.properties().await.map_err(failed)?;
    if let Some(reason) = bucket_type::unusable(&settings.bucket_type, properties.as_ref()) {
        return Err(OpenError::Setup { url: url(), reason });
    }
    let (stats, clock_ms) = node.stats().await.map_err(failed)?;
    // The clock is told in whole seconds: in the middle it is half of one later.
    let clock_ms = clock_ms.map(|clock_ms| clock_ms + 500);
    Ok((facts::found(&properties.unwrap_or_default(), &stats), clock_ms))
}

/// Connects, tries what racing writers are told, and learns which life the store is in.
pub async fn open(settings: RiakSettings) -> Result<Arc<RiakPersistence>, OpenError> {
    let lineage = Arc::new(Lineage::new("riak"));
    let status = Arc::new(Status::new("riak"));
    let node = Node::new(&settings.url, &settings.bucket_type);
    let store = Arc::new(Store::new(node, lineage, status));
    let deadline = Instant::now() + START_TIME;
    let alone_because = loop {
        match start(&store, &settings).await {
            Ok(alone_because) => break alone_because,
            Err(error @ OpenError::Setup { .. }) => return Err(error),
            Err(error) if Instant::now() > deadline => return Err(error),
            // It may be starting, too.
            Err(_) => tokio::time::sleep(START_PAUSE).await,
        }
    };
    if let Some(reason) = &alone_because {
        tracing::warn!(%reason, "riak: one server must be alone with the store");
    }
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let writer = Writer::new(Arc::new(Committer { store: Arc::clone(&store) }), tasks.clone());
    let (looking, stopped) = (Arc::clone(&store), stop.clone());
    tokio::spawn(async move {
        stopped.run_until_cancelled_owned(keep_looking(&looking, &settings)).await;
    });
    Ok(Arc::new(RiakPersistence {
        store,
        writer,
        tasks,
        alone_because,
        _guard: stop.clone().drop_guard(),
        stop,
    }))
}

async fn start(store: &Store, settings: &RiakSettings) -> Result<Option<String>, OpenError> {
    let failed = |error: EngineError| OpenError::Connect {
        url: settings.url.clone(),
        reason: error.to_string(),
    };
    store.status.found(look(&store.node, settings).await?.0);
    let probed = facts::probe(&store.node).await.map_err(|error| failed(error.into()))?;
    life::learn(&store.node, &store.lineage).await.map_err(failed)?;
    Ok(probed)
}

/// How the node is, and which life the store is in, for those who ask nothing of it.
async fn keep_looking(store: &Store, settings: &RiakSettings) {
    loop {
        tokio::time::sleep(LOOK_TIME).await;
        let asked_ms = clock::unix_ms();
        match look(&store.node, settings).await {
            Ok((found, clock_ms)) => {
                if let Some(there_ms) = clock_ms {
                    let ahead_ms = Examined::new(found.clone(), there_ms.cast_signed(), asked_ms);
                    store.status.saw_clock(ahead_ms.ahead_ms.unwrap_or_default());
                }
                store.status.found(found);
                store.status.up();
            }
            Err(error) => store.status.down(error.to_string()),
        }
        // What fails here is told by those who need it.
        let _ = life::learn(&store.node, &store.lineage).await;
    }
}
