//! From a file into an engine.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinSet, block_in_place};
use tokio_util::sync::CancellationToken;

use super::error::TransferError;
use super::line::{Line, Totals};
use super::reader::Reader;
use super::restore::{Outcome, Restore};
use crate::model::Lives;
use crate::persistence::{Archive, EngineError};

/// Conversations that are put back at once.
const AT_ONCE: usize = 32;
/// Lines that wait for one of them.
const LINES_WAITING: usize = 64;

/// What an import came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The lives of the store that the file comes from.
    pub from_epoch: Lives,
    /// The lives of the store that has it now.
    pub epoch: Lives,
    /// Conversations in the file.
    pub conversations: u64,
    /// Messages of all of them.
    pub messages: u64,
    /// Those that the store did not have before.
    pub written: u64,
    /// SHA-256 of all contents, hex: of the file, and of what was read back from the store.
    pub digest: String,
}

/// Puts everything in a file into an engine. First the whole file is looked at: nothing is written of one that is not complete, or not as it was
/// written. What is there already is compared and left as it is. `each` is told how many conversations and messages are done.
pub async fn import(
    archive: Arc<dyn Archive>,
    path: &Path,
    cancel: &CancellationToken,
    mut each: impl FnMut(u64, u64),
) -> Result<Imported, TransferError> {
    let epoch = archive.lives();
    let (from_epoch, totals) = block_in_place(|| look(path, cancel))?;
    if from_epoch.meet(&epoch) {
        return Err(TransferError::SameLife { path: path.to_owned(), epoch });
    }
    let mut work = Work::new(archive, epoch.clone());
    let mut reader = Reader::open(path)?;
    let putting = async {
        let mut lines: Option<mpsc::Sender<Line>> = None;
        while let Some(line) = block_in_place(|| reader.next())? {
            if let Line::Conversation(opening) = line {
                lines = Some(work.begin(opening).await?);
                each(work.conversations, work.messages);
                continue;
            }
            if let Some(sender) = &lines
                && sender.send(line).await.is_err()
            {
                // It failed: why is found among the outcomes.
                lines = None;
                break;
            }
        }
        drop(lines);
        work.finish().await
    };
    // Whatever is under way is left as it is: the next run finds out.
    let written = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(TransferError::Stopped),
        written = putting => written?,
    };
    if !reader.is_complete() {
        return Err(TransferError::Unfinished { path: path.to_owned() });
    }
    each(totals.conversations, totals.messages);
    let Totals { conversations, messages, digest, .. } = totals;
    Ok(Imported { from_epoch, epoch, conversations, messages, written, digest })
}

/// Reads a whole file; the life of the store that it comes from, and what is in it.
fn look(path: &Path, cancel: &CancellationToken) -> Result<(Lives, Totals), TransferError> {
    let mut reader = Reader::open(path)?;
    let (mut epoch, mut totals) = (None, None);
    while let Some(line) = reader.next()? {
        match line {
            Line::Export(header) => epoch = Some(header.epoch),
            Line::Complete(complete) => totals = Some(complete),
            _ if cancel.is_cancelled() => return Err(TransferError::Stopped),
            _ => {}
        }
    }
    epoch.zip(totals).ok_or_else(|| TransferError::Unfinished { path: path.to_owned() })
}

/// Conversations on their way.
struct Work {
    archive: Arc<dyn Archive>,
    lives: Lives,
    places: Arc<Semaphore>,
    tasks: JoinSet<Result<Outcome, TransferError>>,
    conversations: u64,
    messages: u64,
    written: u64,
}

impl Work {
    fn new(archive: Arc<dyn Archive>, lives: Lives) -> Self {
        let (places, tasks) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        Self { archive, lives, places, tasks, conversations: 0, messages: 0, written: 0 }
    }

    /// Begins one as soon as there is room; fails with what failed before it.
    async fn begin(
        &mut self,
        opening: super::line::Opening,
    ) -> Result<mpsc::Sender<Line>, TransferError> {
        while let Some(done) = self.tasks.try_join_next() {
            self.count(done)?;
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        let (sender, lines) = mpsc::channel(LINES_WAITING);
        let restore = Restore::new(Arc::clone(&self.archive), self.lives.clone(), opening);
        self.tasks.spawn(async move {
            let _place: Option<OwnedSemaphorePermit> = place.ok();
            restore.run(lines).await
        });
        Ok(sender)
    }

    fn count(
        &mut self,
        done: Result<Result<Outcome, TransferError>, tokio::task::JoinError>,
    ) -> Result<(), TransferError> {
        let broke_off = |error| EngineError::Internal(format!("a task broke off: {error}"));
        let Outcome { messages, written } = done.map_err(broke_off)??;
        self.conversations += 1;
        self.messages += messages;
        self.written += written;
        Ok(())
    }

    /// Waits for all; how many messages were written.
    async fn finish(&mut self) -> Result<u64, TransferError> {
        let mut first = Ok(());
        while let Some(done) = self.tasks.join_next().await {
            let outcome = self.count(done);
            // What stopped because something else failed says less than that.
            if matches!(first, Ok(()) | Err(TransferError::Stopped)) && outcome.is_err() {
                first = outcome;
            }
        }
        first.map(|()| self.written)
    }
}
