//! KAFKA: hints through one fixed topic; any number of nodes.
//!
//! **Nothing is made for a conversation.** A hint goes to the partition that the hash of its conversation says; every node reads
//! all partitions, without a consumer group, from the ends that it asked for before it took its first session ([`reader`]). So opening a
//! conversation asks no broker for anything, and what is told after a node's start is never missed by position.
//!
//! With [`Reading::Open`] a node reads only the partitions of conversations that are open on it ([`interest`]), and one that everybody
//! reads, for what concerns users and not readers: who is here, whose a conversation became, that there is news in one that
//! is not open ([`mentions`], once a second each). A partition is taken up after the reply to the `open`; once its position is known,
//! the conversations in it are compared with the engine once.
//!
//! **Publishing never waits** ([`publisher`]): the library's queue is bounded; what it does not take, or could not bring to the
//! brokers within seconds, becomes the backlog of highest numbers, told when the brokers are back.
//!
//! **What cannot be heard is read** ([`watch`]): while a partition has no leader, or its broker is silent, the open conversations of that
//! partition are compared with the engine twice a second.

mod client;
mod ends;
mod examine;
mod interest;
mod mentions;
mod publisher;
mod reader;
mod topic;
mod watch;

pub use self::examine::examine;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::interest::Interest;
use self::publisher::Publisher;
use self::reader::Reader;
use super::{Distribution, Hint, HintSink, StartError};
use crate::kafka_link::Brokers;
use crate::model::{ConvId, NodeId};

/// What is still queued at a close gets this long.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// What the bus can be told.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// Where the brokers are, and how to get in.
    pub brokers: Brokers,
    /// The topic of hints; it must be there.
    pub topic: String,
    /// Its partitions, the same number on every node.
    pub partitions: u32,
    /// Which of them this node reads; the same on every node.
    pub reading: Reading,
    /// This server process.
    pub node: NodeId,
}

/// Which partitions a node reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// All of them, from its start.
    All,
    /// Those of conversations that are open on it.
    Open,
}

/// The partition of what concerns everybody.
const COMMON_PART: u32 = 0;

/// The bus.
pub struct KafkaDistribution {
    settings: KafkaSettings,
    publisher: Arc<Publisher>,
    /// Where not everything is read.
    interest: Option<Arc<Interest>>,
    sink: OnceLock<Arc<dyn HintSink>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends the work also when nobody calls `close`.
    _guard: DropGuard,
}

impl KafkaDistribution {
    /// A bus that reads nothing yet. Must be called within the runtime.
    pub fn new(settings: KafkaSettings) -> Result<Self, StartError> {
        let publisher = Arc::new(Publisher::new(&settings).map_err(unusable)?);
        let interest = (settings.reading == Reading::Open)
            .then(|| Arc::new(Interest::new(settings.partitions, COMMON_PART)));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(Arc::clone(&publisher).run(stop.clone()));
        let guard = stop.clone().drop_guard();
        let sink = OnceLock::new();
        Ok(Self { settings, publisher, interest, sink, tasks, stop, _guard: guard })
    }
}

#[async_trait]
impl Distribution for KafkaDistribution {
    fn name(&self) -> &'static str {
        "KAFKA"
    }

    async fn start(&self, sink: Arc<dyn HintSink>) -> Result<(), StartError> {
        let shown = self.settings.brokers.shown();
        let interest = self.interest.clone();
        let reader = Reader::new(&self.settings, interest, Arc::clone(&sink)).map_err(unusable)?;
        if let Err(reason) = reader.start().await {
            // It waits for its threads.
            let _ = spawn_blocking(move || drop(reader)).await;
            let what = format!("the brokers of KAFKA_BROKERS={shown} cannot be used: {reason}");
            return Err(StartError(what));
        }
        // A second start would be a mistake of our own; the first sink stays.
        let _ = self.sink.set(sink);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(reader.run()).await;
            // As above.
            let _ = spawn_blocking(move || drop(reader)).await;
        });
        Ok(())
    }

    fn publish(&self, hint: Hint) {
        self.publisher.publish(hint.clone());
        if let Some(sink) = self.sink.get() {
            sink.deliver(hint);
        }
    }

    fn opened(&self, conv: ConvId) {
        if let Some(interest) = &self.interest {
            interest.opened(conv);
        }
    }

    fn closed(&self, conv: ConvId) {
        if let Some(interest) = &self.interest {
            interest.closed(conv);
        }
    }

    async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        let publisher = Arc::clone(&self.publisher);
        let flushed = spawn_blocking(move || publisher.finish(CLOSE_TIME));
        let _ = timeout(2 * CLOSE_TIME, async { tokio::join!(flushed, self.tasks.wait()) }).await;
    }
}

fn unusable(error: rdkafka::error::KafkaError) -> StartError {
    StartError(format!("a client for KAFKA_BROKERS cannot be made: {error}"))
}
