//! Publishing: a bounded queue, and one task that sends what waits as one pipeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::dialer::{Dialer, REDIAL_PAUSE};
use crate::distribution::backlog::{Backlog, Told};
use crate::distribution::wire::{Note, encode};
use crate::distribution::{Hint, Stage};
use crate::model::NodeId;
use crate::redis_link::in_time;

/// Hints that may wait; beyond, they are dropped.
const QUEUE_HINTS_MAX: usize = 8_192;
/// Bytes of hints that may wait; beyond, they are dropped.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// Hints in one pipeline.
const BATCH_HINTS_MAX: usize = 256;
/// Bytes after which a pipeline takes no more.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How long an answer is waited for.
const SENT_TIME: Duration = Duration::from_secs(2);
/// An idle connection is asked this often whether it lives.
const IDLE_BEAT: Duration = Duration::from_secs(1);

/// The way into the queue.
pub struct Publisher {
    node: NodeId,
    sender: mpsc::Sender<Queued>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    bytes: AtomicUsize,
    /// The server takes no hints: they go to the backlog at once, so that the queue does not grow old.
    is_down: AtomicBool,
    backlog: Backlog,
}

struct Queued {
    bytes: Vec<u8>,
    told: Option<Told>,
    /// When its message was durable; 0: it is none.
    stored_us: u64,
}

impl Publisher {
    /// The queue, and the work behind it; after `stop` it ends when the queue is empty or the server away.
    pub fn new(
        dialer: Arc<Dialer>,
        node: NodeId,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(QUEUE_HINTS_MAX);
        let shared = Arc::<Shared>::default();
        let worker =
            Worker { dialer, node: node.clone(), receiver, shared: Arc::clone(&shared), stop };
        // Boxed: it holds a whole connection.
        (Self { node, sender, shared }, Box::pin(worker.run()))
    }

    /// Queues a hint, or keeps in mind what it told.
    pub fn publish(&self, hint: &Hint) {
        let told = Told::of(hint);
        let is_full = self.shared.bytes.load(Ordering::Relaxed) >= QUEUE_BYTES_MAX;
        if is_full || self.shared.is_down.load(Ordering::Relaxed) {
            return self.shared.lose(told);
        }
        let Ok(permit) = self.sender.try_reserve() else { return self.shared.lose(told) };
        let Some(bytes) = encode(&self.node, &Note::Hint(hint.clone())) else {
            return self.shared.lose(told);
        };
        self.shared.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        permit.send(Queued { bytes, told, stored_us: hint.stored_us() });
    }
}

impl Shared {
    fn lose(&self, told: Option<Told>) {
        metrics::counter!("chatctl_hints_dropped_total").increment(1);
        if let Some(told) = told {
            self.backlog.keep(told);
        }
    }
}

struct Worker {
    dialer: Arc<Dialer>,
    node: NodeId,
    receiver: mpsc::Receiver<Queued>,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Worker {
    async fn run(mut self) {
        let mut link: Option<MultiplexedConnection> = None;
        loop {
            let Some(connection) = &mut link else {
                match self.dialer.dial().await {
                    Ok(connection) => {
                        link = Some(connection);
                        self.shared.is_down.store(false, Ordering::Relaxed);
                    }
                    Err(reason) => {
                        if !self.shared.is_down.swap(true, Ordering::Relaxed) {
                            tracing::warn!(%reason, "redis: hints cannot be published");
                        }
                        self.lose_queue();
                        if self.stop.is_cancelled() {
                            return;
                        }
                        sleep(REDIAL_PAUSE).await;
                    }
                }
                continue;
            };
            let sent = match self.tell_backlog(connection).await {
                Ok(true) => continue,
                Ok(false) => match self.next_batch().await {
                    Some(batch) => self.send(connection, batch).await,
                    None if self.stop.is_cancelled() => return,
                    None => in_time(SENT_TIME, redis::cmd("PING").exec_async(connection)).await,
                },
                Err(reason) => Err(reason),
            };
            if let Err(reason) = sent {
                tracing::debug!(%reason, "redis: the connection that publishes is made anew");
                link = None;
            }
        }
    }

    /// What waits, if anything comes within a beat.
    async fn next_batch(&mut self) -> Option<Vec<Queued>> {
        let first = tokio::select! {
            biased;
            first = self.receiver.recv() => first?,
            () = self.stop.cancelled() => return None,
            () = sleep(IDLE_BEAT) => return None,
        };
        let mut bytes = first.bytes.len();
        let mut batch = vec![first];
        while batch.len() < BATCH_HINTS_MAX && bytes < BATCH_BYTES_MAX {
            let Ok(queued) = self.receiver.try_recv() else { break };
            bytes += queued.bytes.len();
            batch.push(queued);
        }
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(batch)
    }

    async fn send(
        &self,
        connection: &mut MultiplexedConnection,
        batch: Vec<Queued>,
    ) -> Result<(), String> {
        let mut pipe = redis::pipe();
        for queued in &batch {
            pipe.cmd("PUBLISH").arg(&self.dialer.channel).arg(&queued.bytes).ignore();
        }
        let sent = in_time(SENT_TIME, pipe.exec_async(connection)).await;
        for queued in batch {
            match sent {
                Ok(()) => Stage::Told.record_since(queued.stored_us),
                // Perhaps told, perhaps not: telling it again does no harm.
                Err(_) => self.shared.lose(queued.told),
            }
        }
        sent
    }

    /// `true`: something of it was told, and there may be more.
    async fn tell_backlog(&self, connection: &mut MultiplexedConnection) -> Result<bool, String> {
        let notes = self.shared.backlog.take(BATCH_HINTS_MAX);
        if notes.is_empty() {
            return Ok(false);
        }
        let mut pipe = redis::pipe();
        for bytes in notes.iter().filter_map(|note| encode(&self.node, note)) {
            pipe.cmd("PUBLISH").arg(&self.dialer.channel).arg(bytes).ignore();
        }
        let sent = in_time(SENT_TIME, pipe.exec_async(connection)).await;
        if sent.is_err() {
            self.shared.backlog.put_back(notes);
        }
        sent.map(|()| true)
    }

    /// The server is away: what waits becomes the backlog.
    fn lose_queue(&mut self) {
        while let Ok(queued) = self.receiver.try_recv() {
            self.shared.bytes.fetch_sub(queued.bytes.len(), Ordering::Relaxed);
            self.shared.lose(queued.told);
        }
    }
}
