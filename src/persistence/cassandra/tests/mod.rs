//! The engine against nodes that fail, on real nodes of our own; and what it costs.

mod access;
mod crashes;
mod figures;
mod groups;
mod kills;
mod lives;
mod races;
mod silence;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{CassandraPersistence, CassandraSettings, OpenError, open};
use crate::model::{Durability, LIMITS, Seq, UserName};
use crate::persistence::conformance::cassandra::Ring;
use crate::persistence::conformance::subject::{PAST, Room, everything};
use crate::persistence::{AppendOutcome, EngineError, OpenQuery, OpenView, Persistence};
use crate::services::CommitlogSync;

/// Every call is answered within this.
const ANSWER_MAX: Duration = Duration::from_millis(LIMITS.answer_ms_max);
/// The engine works again this long after the nodes do.
const HEALED_MAX: Duration = Duration::from_secs(3);
/// Messages in a bucket of these tests: borders are crossed often.
const ROWS: u64 = 16;

async fn engine(settings: &CassandraSettings) -> Arc<CassandraPersistence> {
    open(settings.clone()).await.expect("the nodes run")
}

fn room(name: &str) -> Room {
    Room::new(crate::model::Place::Channel(crate::model::ChannelName::new(name).unwrap()))
}

fn ann() -> UserName {
    UserName::new("ann").unwrap()
}

async fn append(engine: &CassandraPersistence, room: &Room) -> Result<u64, EngineError> {
    stored(engine.append(room.message(&ann(), PAST)).await)
}

fn stored(outcome: Result<AppendOutcome, EngineError>) -> Result<u64, EngineError> {
    match outcome? {
        AppendOutcome::Stored(stored) => Ok(stored.message.seq.0),
        other => panic!("{other:?}"),
    }
}

/// Under the same name until it is known to be stored.
async fn insist(engine: &CassandraPersistence, room: &Room, cid: &str, content: &str) -> u64 {
    loop {
        let started = Instant::now();
        let outcome = engine.append(room.named(&ann(), cid, content, PAST)).await;
        let took = started.elapsed();
        assert!(took < ANSWER_MAX, "{took:?}: {outcome:?}");
        match stored(outcome) {
            Ok(seq) => return seq,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Senders that insist, each on names of its own, until told to stop.
struct Senders {
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<HashMap<String, u64>>>,
}

impl Senders {
    /// Spread over engines, and over so many rooms.
    fn start(
        engines: &[Arc<CassandraPersistence>],
        count: usize,
        name: &str,
        rooms: usize,
    ) -> Self {
        let (stop, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..count).map(|sender| {
            let (stop, stored) = (Arc::clone(&stop), Arc::clone(&stored));
            let engine = Arc::clone(&engines[sender % engines.len()]);
            let room = room(&format!("{name}-{}", sender % rooms));
            tokio::spawn(async move {
                let mut acked = HashMap::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let cid = format!("{sender}-{number}");
                    let seq = insist(&engine, &room, &cid, &cid).await;
                    stored.fetch_add(1, Ordering::Relaxed);
                    acked.insert(cid, seq);
                }
                acked
            })
        });
        let tasks = tasks.collect();
        Self { stop, stored, tasks }
    }

    /// Messages acknowledged so far.
    fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Until so many more are acknowledged.
    async fn more(&self, count: u64, within: Duration) {
        let (before, started) = (self.stored(), Instant::now());
        while self.stored() < before + count {
            assert!(started.elapsed() < within, "{} of {count}", self.stored() - before);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends them; everything that was acknowledged is there, once, in an order without holes. The number of messages.
    async fn judge(self, engine: &Arc<dyn Persistence>, name: &str, rooms: usize) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let (senders, mut acked) = (self.tasks.len(), vec![HashMap::new(); rooms]);
        for (sender, task) in self.tasks.into_iter().enumerate() {
            acked[sender % rooms].extend(task.await.expect("it ends"));
        }
        let mut count = 0;
        for (at, acked) in acked.into_iter().enumerate() {
            let all = everything(engine, room(&format!("{name}-{at}")).conv).await;
            assert!(all.iter().zip(1..).all(|(message, seq)| message.seq == Seq(seq)), "no hole");
            let found: HashMap<String, u64> =
                all.iter().map(|message| (message.cid.to_string(), message.seq.0)).collect();
            assert_eq!(found.len(), all.len(), "nothing is there twice");
            for (cid, seq) in &acked {
                assert_eq!(found.get(cid), Some(seq), "{cid} was acknowledged");
            }
            // Each sender may have had one that it was not told of.
            assert!(found.len() <= acked.len() + senders, "nothing that nobody sent");
            count += all.len();
        }
        count
    }
}
