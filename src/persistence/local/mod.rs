//! LOCAL: the embedded engine. Durable by group commit, exact, one node only.
//!
//! Writes pass one committer ([`committer`]), a thread of its own but in memory; reads are answered from the newest
//! messages in memory ([`recent`]) on the caller's thread, or from a snapshot of the tables on a
//! blocking thread.

mod archive;
mod batch;
mod codec;
mod committer;
mod disk;
mod folder;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod inspect;
#[cfg(test)]
pub(crate) mod instructions;
mod journal;
mod keys;
mod memory;
mod queue;
mod recent;
mod request;
#[cfg(test)]
mod simulation;
mod space;
mod table_log;
mod tables;
#[cfg(test)]
mod tests;

use std::ops::Bound::Included;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};

use self::codec::{decode_acks, decode_place, encode_acks};
use self::committer::Committer;
use self::disk::DiskTables;
use self::folder::DataFolder;
pub use self::folder::FolderError;
pub use self::inspect::{Inspection, inspect};
use self::journal::Unsynced;
use self::keys::Table;
use self::memory::MemoryTables;
use self::queue::Queue;
use self::recent::Recents;
use self::request::{Answer, Request};
use self::space::SpaceGuard;
use self::table_log::TableLog;
use self::tables::Miss;
use self::tables::{Batch, TableError, Tables};
use super::log::{self, Log};
use super::{
    AckOutcome, AckRequest, Append, AppendOutcome, EngineError, Following, GroupOutcome,
    GroupRequest, LatePage, Lost, Mine, OpenQuery, Opened, Page, Persistence, RangeQuery, Rostered,
    Summary,
};
use crate::model::{AckError, ConvId, Durability, Epoch, LIMITS, Message, Place, Seq, UserName};

/// When what was written is forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before every answer, one sync for all who wait: class `disk`.
    Always,
    /// In this interval: class `process`.
    Interval(Duration),
    /// When the kernel likes; each batch still reaches the kernel before its answer: class `process`.
    Never,
    /// Nothing is stored on disk: class `none`.
    Memory,
}

impl SyncPolicy {
    /// What an acknowledged message survives.
    pub fn durability(self) -> Durability {
        match self {
            Self::Always => Durability::DISK,
            Self::Interval(_) | Self::Never => Durability::PROCESS,
            Self::Memory => Durability::NONE,
        }
    }
}

/// What the embedded engine can be told.
#[derive(Debug, Clone)]
pub struct LocalSettings {
    /// The folder that it owns; unused under [`SyncPolicy::Memory`].
    pub data_dir: PathBuf,
    /// When to force to disk.
    pub sync: SyncPolicy,
    /// Free bytes on the disk below which writes are refused.
    pub reserve_bytes: u64,
    /// Memory for newest messages and for blocks of the store, half each.
    pub cache_bytes: u64,
}

/// Why the engine cannot start. Each text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum OpenError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(
        "the store cannot be opened: {0}; restore it or set CHATCTL_DATA_DIR to another folder"
    )]
    Store(#[from] TableError),
    #[error("the committer thread cannot be started: {0}; raise the limit on threads")]
    Thread(std::io::Error),
}

/// Reads of the tables that may run at once; more wait. Enough to keep a disk busy, few enough to leave the processors
/// to everybody else.
const DISK_READS_MAX: usize = 8;

/// A conversation, in memory or in the tables.
type LocalLog<'a> = dyn Log<Entry = Arc<Message>, Miss = Miss> + 'a;

/// The embedded engine.
pub struct LocalPersistence {
    tables: Arc<dyn Tables>,
    recents: Arc<Recents>,
    queue: Queue,
    epoch: Epoch,
    sync: SyncPolicy,
    space: Option<SpaceGuard>,
    folder: Mutex<Option<DataFolder>>,
    disk_reads: Arc<Semaphore>,
    lost: Option<Lost>,
}

/// Opens or creates the store. The receiver is told, once, when it cannot be trusted with another write: the
/// process must end then.
pub fn open(
    settings: LocalSettings,
) -> Result<(Arc<LocalPersistence>, oneshot::Receiver<String>), OpenError> {
    let sync = settings.sync;
    let cache_bytes = settings.cache_bytes / 2;
    let (tables, folder): (Arc<dyn Tables>, _) = match sync {
        SyncPolicy::Memory => (Arc::new(MemoryTables::default()), None),
        _ => {
            let folder = DataFolder::take(&settings.data_dir, sync)?;
            let kept = folder.kept_journal_path();
            let unsynced = if folder.renewed { Unsynced::Tail(&kept) } else { Unsynced::LastBatch };
            let tables = DiskTables::open(&folder.store_path(), sync, cache_bytes, unsynced)?;
            bring_in_line(&tables, folder.renewed)?;
            folder
                .confirm()
                .map_err(|source| FolderError::Io { path: settings.data_dir.clone(), source })?;
            (Arc::new(tables), Some(folder))
        }
    };
    let epoch = folder.as_ref().map_or_else(Epoch::generate, |folder| folder.epoch().clone());
    let lost = folder
        .as_ref()
        .filter(|folder| folder.renewed)
        .map(|folder| Lost { at: Instant::now(), epoch: folder.epoch().clone() });
    let recents = Arc::new(Recents::new(cache_bytes));
    let space = folder
        .as_ref()
        .map(|_| SpaceGuard { path: settings.data_dir, reserve_bytes: settings.reserve_bytes });
    let (fatal, fatal_receiver) = oneshot::channel();
    let committer = Committer {
        tables: Arc::clone(&tables),
        recents: Arc::clone(&recents),
        epoch: epoch.clone(),
        space: space.clone(),
        sync,
        fatal,
    };
    let queue = committer.start().map_err(OpenError::Thread)?;
    let folder = Mutex::new(folder);
    let disk_reads = Arc::new(Semaphore::new(DISK_READS_MAX));
    let engine =
        LocalPersistence { tables, recents, queue, epoch, sync, space, folder, disk_reads, lost };
    Ok((Arc::new(engine), fatal_receiver))
}

/// Makes a store that was just opened what its next life takes it for. What the last one wrote and a kill kept it from forcing to
/// the disk is here, and will be read and answered as stored: it must not be lost to a power cut any more.
fn bring_in_line(tables: &dyn Tables, renewed: bool) -> Result<(), TableError> {
    if renewed {
        cut_acks(tables)?;
    }
    tables.sync()
}

/// A new epoch keeps what survived: acknowledgements must not reach above it, or they would swallow
/// messages that come later under the same numbers.
fn cut_acks(tables: &dyn Tables) -> Result<(), TableError> {
    let mut batch = Batch::default();
    let view = tables.view();
    let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    view.scan(Table::Acks, everything, false, &mut |key, value| {
        if let Some((conv, user)) = keys::split_acks(key) {
            let acked = decode_acks(value)?;
            let cut = acked.cut_to(TableLog::new(&*view, conv)?.head());
            if cut != acked {
                batch.insert(Table::Acks, keys::acks(conv, &user), encode_acks(&cut));
            }
        }
        Ok(true)
    })?;
    drop(view);
    if batch.is_empty() { Ok(()) } else { tables.commit(&batch) }
}

impl LocalPersistence {
    async fn request<T>(
        &self,
        request: impl FnOnce(Answer<T>) -> Request,
    ) -> Result<T, EngineError> {
        let (answer, receiver) = oneshot::channel();
        self.queue.send(request(answer))?;
        receiver.await.unwrap_or_else(|_| Err(unanswered()))
    }

    /// Answers from memory if it is there, otherwise from the tables, on a blocking thread.
    async fn read<T: Send + 'static>(
        &self,
        conv: ConvId,
        users: Vec<UserName>,
        read: impl Fn(&LocalLog<'_>) -> Result<T, Miss> + Send + 'static,
    ) -> Result<T, EngineError> {
        match self.recents.peek(conv, |recent| read(recent)) {
            Ok(value) => return Ok(value),
            Err(Miss::Failed(error)) => return Err(EngineError::Unavailable(error.0)),
            Err(Miss::Elsewhere) => {}
        }
        let (tables, recents) = (Arc::clone(&self.tables), Arc::clone(&self.recents));
        self.blocking(move || read_tables(&*tables, &recents, conv, &users, read)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, TableError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let permit = Arc::clone(&self.disk_reads).acquire_owned().await;
        let work = move || {
            // Given back when it is done, also where nobody waits for it any more.
            let _permit = permit;
            work()
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome.map_err(|error| EngineError::Unavailable(error.0)),
            Err(error) => {
                Err(EngineError::Internal(format!("a read of the store broke off: {error}")))
            }
        }
    }

    /// Whether the user has opened the conversation before.
    async fn is_joined(&self, conv: ConvId, user: &UserName) -> Result<bool, EngineError> {
        let asked = user.clone();
        self.read(conv, vec![user.clone()], move |log| Ok(log.acked(&asked)?.is_some())).await
    }
}

/// Answers from the tables, unless it is in memory by then. May read the disk.
fn read_tables<T>(
    tables: &dyn Tables,
    recents: &Recents,
    conv: ConvId,
    users: &[UserName],
    read: impl Fn(&LocalLog<'_>) -> Result<T, Miss>,
) -> Result<T, TableError> {
    let users: Vec<&UserName> = users.iter().collect();
    match recents.load(tables, conv, &users, |recent| read(recent))? {
        Ok(value) => return Ok(value),
        Err(Miss::Failed(error)) => return Err(error),
        Err(Miss::Elsewhere) => {}
    }
    let view = recents.view(tables, conv, &users)?;
    match read(&TableLog::new(&*view, conv)?) {
        Ok(value) => Ok(value),
        Err(Miss::Failed(error)) => Err(error),
        Err(Miss::Elsewhere) => unreachable!("the tables hold everything"),
    }
}

fn unanswered() -> EngineError {
    EngineError::Internal("the embedded engine stopped before it answered".to_owned())
}

#[async_trait]
impl Persistence for LocalPersistence {
    fn name(&self) -> &'static str {
        "LOCAL"
    }

    fn durability(&self) -> Durability {
        self.sync.durability()
    }

    fn epoch(&self, _: ConvId) -> Epoch {
        self.epoch.clone()
    }

    fn lost_data(&self) -> Option<Lost> {
        self.lost.clone()
    }

    fn health(&self) -> Result<(), EngineError> {
        match self.space.as_ref().and_then(SpaceGuard::shortage) {
            Some(shortage) => Err(EngineError::StorageFull(shortage)),
            None => Ok(()),
        }
    }

    fn append(&self, append: Append) -> BoxFuture<'static, Result<AppendOutcome, EngineError>> {
        let (answer, receiver) = oneshot::channel();
        match self.queue.send(Request::Append(append, answer)) {
            Ok(()) => receiver.map(|answer| answer.unwrap_or_else(|_| Err(unanswered()))).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    async fn open(&self, query: OpenQuery) -> Result<Opened, EngineError> {
        let (conv, user) = (query.conv, query.user.clone());
        let became = if self.is_joined(conv, &user).await? {
            false
        } else {
            let place = Arc::clone(&query.place);
            self.request(|answer| Request::Join(conv, place, user.clone(), answer)).await?
        };
        let mut users = vec![user];
        users.extend(query.place.peer_of(&query.user).cloned());
        let epoch = self.epoch.clone();
        let opened = self.read(conv, users, move |log| log::open(log, &query, &epoch)).await?;
        Ok(Opened { became, ..opened })
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, EngineError> {
        self.read(query.conv, Vec::new(), move |log| log.range(&query)).await
    }

    async fn after(
        &self,
        conv: ConvId,
        after: Seq,
        limit: usize,
    ) -> Result<Following, EngineError> {
        let page = self.read(conv, Vec::new(), move |log| log::after(log, after, limit)).await?;
        Ok(Following { epoch: self.epoch.clone(), page })
    }

    async fn unread_late(
        &self,
        conv: ConvId,
        user: &UserName,
        after: Seq,
        limit: usize,
    ) -> Result<LatePage, EngineError> {
        let asked = user.clone();
        let read = move |log: &LocalLog<'_>| log::unread_late(log, &asked, after, limit);
        self.read(conv, vec![user.clone()], read).await
    }

    async fn ack(&self, request: AckRequest) -> Result<AckOutcome, EngineError> {
        let (conv, user) = (request.conv, request.user.clone());
        let decision = self.request(|answer| Request::Ack(request, answer)).await?;
        let acked = match decision {
            Ok(acked) => acked,
            Err(AckError::AboveHead) => return Ok(AckOutcome::AboveHead),
            Err(AckError::TooManyRanges) => return Ok(AckOutcome::TooManyRanges),
        };
        let unread =
            self.read(conv, vec![user.clone()], move |log| log::unread(log, &user)).await?;
        Ok(AckOutcome::Merged { acked, unread })
    }

    async fn regroup(&self, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
        let decision = self.request(|answer| Request::Regroup(request, answer)).await?;
        Ok(match decision {
            Ok((roster, became)) => {
                let now = Rostered { epoch: self.epoch.clone(), roster };
                GroupOutcome::Done { now, became }
            }
            Err(refusal) => GroupOutcome::Refused(refusal),
        })
    }

    async fn roster(&self, conv: ConvId) -> Result<Rostered, EngineError> {
        let roster = match self.recents.peek(conv, |recent| Ok(recent.roster())) {
            Ok(roster) => roster,
            Err(_) => {
                let (tables, recents) = (Arc::clone(&self.tables), Arc::clone(&self.recents));
                let load = move || recents.load(&*tables, conv, &[], |recent| recent.roster());
                self.blocking(load).await?
            }
        };
        Ok(Rostered { epoch: self.epoch.clone(), roster })
    }

    async fn mine(&self, user: &UserName) -> Result<Vec<Mine>, EngineError> {
        let (tables, prefix) = (Arc::clone(&self.tables), keys::user_prefix(user));
        self.blocking(move || {
            let view = tables.view();
            let high = [prefix.as_slice(), &[0xff; 8 + ConvId::BYTES]].concat();
            let bounds = (Included(prefix.as_slice()), Included(high.as_slice()));
            let mut places: Vec<(ConvId, Arc<Place>)> = Vec::new();
            view.scan(Table::Mine, bounds, true, &mut |key, value| {
                if let Some(conv) = keys::trailing_conv(key) {
                    places.push((conv, decode_place(value)?));
                }
                Ok(places.len() < LIMITS.list_max)
            })?;
            let mut mine = Vec::with_capacity(places.len());
            for (conv, place) in places {
                if let Some(newest) = TableLog::new(&*view, conv)?.newest_records(1)?.pop() {
                    mine.push(Mine { conv, place, at: newest.message.at });
                }
            }
            Ok(mine)
        })
        .await
    }

    async fn summary(&self, conv: ConvId, user: &UserName) -> Result<Summary, EngineError> {
        let asked = user.clone();
        self.read(conv, vec![user.clone()], move |log| log::summary(log, &asked)).await
    }

    async fn close(&self) {
        if let Err(error) = self.request(Request::Close).await {
            tracing::warn!(%error, "the store was not closed cleanly");
            return;
        }
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folder.as_mut()
            && let Err(error) = folder.mark_clean()
        {
            tracing::warn!(%error, "the data folder was not marked clean");
        }
    }
}
