//! The one thread that writes: group commit. In memory, where nothing is waited for, it is whoever asks, one at a time.
//!
//! It takes the first request, drains what is waiting (no timer), makes one batch, one sync, and
//! then answers all. All writes pass here, so what a batch decides by cannot change under it.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Instant;

use metrics::{Counter, Histogram};
use tokio::sync::oneshot;

use super::SyncPolicy;
use super::batch::{BatchBuilder, Decided, Draft};
use super::queue::{Queue, Source, at_once, queue, stopped};
use super::recent::Recents;
use super::request::{Answer, Request};
use super::space::SpaceGuard;
use super::tables::{TableError, Tables};
use crate::clock;
use crate::model::Epoch;
use crate::persistence::EngineError;

/// Requests that one batch takes at most: bounds how long the first of them waits.
const BATCH_REQUESTS_MAX: usize = 1_024;
/// Content bytes that one batch takes before it stops taking more.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// What the thread works with.
pub struct Committer {
    /// The store.
    pub tables: Arc<dyn Tables>,
    /// What readers see without the store.
    pub recents: Arc<Recents>,
    /// The life of the store.
    pub epoch: Epoch,
    /// Free space to keep; `None` in memory.
    pub space: Option<SpaceGuard>,
    /// When to force to disk.
    pub sync: SyncPolicy,
    /// Told once, when the store cannot be trusted with another write.
    pub fatal: oneshot::Sender<String>,
}

impl Committer {
    /// Starts the thread; it ends after [`Request::Close`], on a failed write, or when the queue is gone. Where nothing waits for a disk
    /// there is none: a thread to wait for would cost more than all that it does.
    pub fn start(self) -> std::io::Result<Queue> {
        if self.sync == SyncPolicy::Memory {
            return Ok(self.without_thread());
        }
        let (queue, mut inbox) = queue();
        std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || self.run(&mut inbox))?;
        Ok(queue)
    }

    fn without_thread(self) -> Queue {
        let (mut committer, mut desk) = (Some(self), Desk::default());
        at_once(move |request| {
            // Taken: if this broke off, nothing would be written after it.
            let mut working = committer.take().ok_or_else(stopped)?;
            desk.requests.push(request);
            let mut close = None;
            match (working.commit(&mut desk, &mut close, &clock::unix_us), close) {
                (Ok(_), None) => committer = Some(working),
                (Ok(_), Some(answer)) => drop(answer.send(Ok(()))),
                (Err(error), _) => working.fail(error),
            }
            Ok(())
        })
    }

    /// What the thread does.
    pub fn run(mut self, source: &mut impl Source) {
        let mut unsynced_since: Option<Instant> = None;
        let mut desk = Desk::default();
        loop {
            let first = match self.next(source, unsynced_since) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    unsynced_since = None;
                    if let Err(error) = self.force_sync() {
                        return self.fail(error);
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            drain(first, source, &mut desk.requests);
            let mut close = None;
            match self.commit(&mut desk, &mut close, &|| source.unix_us()) {
                Ok(wrote) => {
                    if wrote && unsynced_since.is_none() {
                        unsynced_since = Some(source.now());
                    }
                }
                Err(error) => return self.fail(error),
            }
            if let Some(answer) = close {
                match self.force_sync() {
                    Ok(()) => {
                        self.tables.settle();
                        let _ = answer.send(Ok(()));
                        return;
                    }
                    Err(error) => return self.fail(error),
                }
            }
        }
    }

    fn next(
        &self,
        source: &mut impl Source,
        unsynced_since: Option<Instant>,
    ) -> Result<Request, RecvTimeoutError> {
        match (self.sync, unsynced_since) {
            (SyncPolicy::Interval(interval), Some(since)) => source.next(Some(since + interval)),
            _ => source.next(None),
        }
    }

    /// Decides, writes and answers; `true` when something was written.
    fn commit(
        &mut self,
        desk: &mut Desk,
        close: &mut Option<Answer<()>>,
        unix_us: &dyn Fn() -> u64,
    ) -> Result<bool, TableError> {
        let storage_full = self.space.as_ref().and_then(SpaceGuard::shortage);
        let Desk { requests, decided, draft, meters } = desk;
        let (tables, recents, epoch) = (&*self.tables, &*self.recents, &self.epoch);
        let mut builder = BatchBuilder::new(draft, tables, recents, epoch, storage_full, unix_us);
        for request in requests.drain(..) {
            decided.push(match request {
                Request::Append(append, answer) => Decided::Append(builder.append(append), answer),
                Request::Ack(request, answer) => Decided::Ack(builder.ack(request), answer),
                Request::Join(conv, place, user, answer) => {
                    Decided::Join(builder.join(conv, &place, &user), answer)
                }
                Request::Regroup(request, answer) => {
                    Decided::Regroup(builder.regroup(request), answer)
                }
                Request::Member(member, answer) => {
                    Decided::Member(builder.restore_member(&member), answer)
                }
                Request::Roster(conv, roster, answer) => {
                    Decided::Roster(builder.restore_roster(conv, roster), answer)
                }
                Request::Close(answer) => {
                    *close = Some(answer);
                    continue;
                }
            });
        }
        drop(builder);
        let Draft { batch, notes, .. } = draft;
        let wrote = !batch.is_empty();
        if wrote {
            let started = Instant::now();
            let messages = notes.messages();
            if let Err(error) = self.tables.commit(batch) {
                for decision in decided.drain(..) {
                    decision.refuse(&EngineError::Internal(error.0.clone()));
                }
                return Err(error);
            }
            if matches!(self.sync, SyncPolicy::Always) {
                // Only where there are some: an engine without syncs has no such counter.
                metrics::counter!("chatctl_syncs_total").increment(1);
            }
            meters.commits.increment(1);
            meters.appended.increment(messages);
            meters.took.record(started.elapsed().as_secs_f64());
            // After the batch is visible, before anyone is answered.
            notes.apply(&self.recents);
        }
        draft.clear();
        for decision in decided.drain(..) {
            decision.answer();
        }
        Ok(wrote)
    }

    fn force_sync(&self) -> Result<(), TableError> {
        if !matches!(self.sync, SyncPolicy::Memory) {
            metrics::counter!("chatctl_syncs_total").increment(1);
        }
        self.tables.sync()
    }

    /// No write may follow one whose outcome is unknown: requests that wait find the queue gone.
    fn fail(self, error: TableError) {
        tracing::error!(%error, "the store failed; nothing more is acknowledged");
        let _ = self.fatal.send(error.0);
    }
}

/// What a batch is made with, kept for the next one.
#[derive(Default)]
struct Desk {
    requests: Vec<Request>,
    decided: Vec<Decided>,
    draft: Draft,
    meters: Meters,
}

/// Looked up once.
struct Meters {
    commits: Counter,
    appended: Counter,
    took: Histogram,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            commits: metrics::counter!("chatctl_commits_total"),
            appended: metrics::counter!("chatctl_messages_appended_total"),
            took: metrics::histogram!("chatctl_commit_seconds"),
        }
    }
}

fn drain(first: Request, source: &mut impl Source, requests: &mut Vec<Request>) {
    let mut bytes = first.bytes();
    requests.push(first);
    while requests.len() < BATCH_REQUESTS_MAX && bytes < BATCH_BYTES_MAX {
        let Some(request) = source.waiting() else { break };
        bytes += request.bytes();
        requests.push(request);
    }
    source.took(requests.len(), bytes);
}
