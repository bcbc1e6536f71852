//! From an engine into a file.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::try_join_all;
use futures_util::stream::TryStreamExt as _;
use serde::Serialize;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::chain::{Chain, ContentHash};
use super::conversation::{Part, Subject, text};
use super::error::TransferError;
use super::line::{End, FORMAT, Header, Line, Totals};
use super::reader::{Reader, Whole};
use crate::model::{ConvId, Lives, Message, Place, UserName};
use crate::persistence::Archive;

/// Conversations whose first messages are read at once.
const AHEAD: usize = 16;

/// What every export begins with.
const BEGINNING: &[u8] = br#"{"export":{"format":"#;

/// What an export came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The lives of the store that it is of.
    pub epoch: Lives,
    /// Conversations in the file.
    pub conversations: u64,
    /// Messages of all of them.
    pub messages: u64,
    /// Conversations that an earlier run had written already.
    pub resumed_after: u64,
    /// SHA-256 of all contents, hex: the same wherever they are.
    pub digest: String,
}

/// A conversation as the lists of users tell of it.
struct Listed {
    place: Arc<Place>,
    users: BTreeMap<UserName, u64>,
}

/// Writes all conversations of an engine into a file, or goes on with one that is not complete. `each` is told how many conversations and
/// messages are in it by now.
pub async fn export(
    archive: &dyn Archive,
    path: &Path,
    cancel: &CancellationToken,
    mut each: impl FnMut(u64, u64),
) -> Result<Exported, TransferError> {
    let epoch = archive.lives();
    let mut writer = block_in_place(|| Writer::open(path, archive.name(), &epoch, cancel))?;
    let resumed_after = writer.totals.conversations;
    let listed = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(TransferError::Stopped),
        listed = list(archive, writer.last) => listed?,
    };
    let mut subjects = listed.into_iter().filter_map(|(conv, Listed { place, users })| {
        let conv = ConvId::from_bytes(&conv)?;
        Some(Subject { conv, place, users: users.into_iter().collect() })
    });
    loop {
        let begun = subjects.by_ref().take(AHEAD).map(|subject| subject.begin(archive, &epoch));
        let begun: Vec<_> = begun.collect();
        if begun.is_empty() {
            break;
        }
        // All of them to their end before any is written: what is begun and not asked keeps others waiting in the engine.
        let parts = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(TransferError::Stopped),
            parts = try_join_all(begun) => parts,
        };
        let parts = match parts {
            Ok(parts) => parts,
            Err(error) => {
                writer.flush()?;
                return Err(error);
            }
        };
        for part in parts.into_iter().flatten() {
            writer.conversation(archive, part, cancel).await?;
            each(writer.totals.conversations, writer.totals.messages);
        }
    }
    let Totals { conversations, messages, digest, .. } = writer.complete()?;
    Ok(Exported { epoch, conversations, messages, resumed_after, digest })
}

/// Which conversations there are behind this one, by their ids.
async fn list(
    archive: &dyn Archive,
    last: Option<ConvId>,
) -> Result<BTreeMap<[u8; ConvId::BYTES], Listed>, TransferError> {
    let mut listed = BTreeMap::new();
    let mut entries = archive.entries();
    while let Some(entry) = entries.try_next().await? {
        if last.is_some_and(|last| entry.conv.as_bytes() <= last.as_bytes()) {
            continue;
        }
        let there = listed
            .entry(*entry.conv.as_bytes())
            .or_insert_with(|| Listed { place: entry.place, users: BTreeMap::new() });
        let since = there.users.entry(entry.user).or_insert(entry.since_us);
        // Of two entries the later counts.
        *since = entry.since_us.max(*since);
    }
    Ok(listed)
}

/// The file.
struct Writer {
    path: PathBuf,
    output: BufWriter<File>,
    chain: Chain,
    all: ContentHash,
    totals: Totals,
    last: Option<ConvId>,
}

impl Writer {
    /// Makes the file, or goes on behind its last whole conversation.
    fn open(
        path: &Path,
        engine: &str,
        epoch: &Lives,
        cancel: &CancellationToken,
    ) -> Result<Self, TransferError> {
        let failed = |source| TransferError::Io { path: path.to_owned(), source };
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Self::begin(path, file, engine, epoch),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match whole_part(path, epoch, cancel)? {
                    Some(whole) => Self::go_on(path, whole).map_err(failed),
                    // Not even its first line was written.
                    None => {
                        let text = std::fs::read(path).map_err(failed)?;
                        if !text.starts_with(BEGINNING) && !BEGINNING.starts_with(&text) {
                            return Err(TransferError::Other { path: path.to_owned() });
                        }
                        let file = OpenOptions::new().write(true).truncate(true).open(path);
                        Self::begin(path, file.map_err(failed)?, engine, epoch)
                    }
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn begin(path: &Path, file: File, engine: &str, epoch: &Lives) -> Result<Self, TransferError> {
        let (chain, all) = (Chain::default(), ContentHash::default());
        let (totals, last) = (Totals::default(), None);
        let output = BufWriter::with_capacity(1 << 20, file);
        let mut writer = Self { path: path.to_owned(), output, chain, all, totals, last };
        let header = Header {
            format: FORMAT,
            chatctl: env!("CARGO_PKG_VERSION").to_owned(),
            engine: engine.to_owned(),
            epoch: epoch.clone(),
            started_at: jiff::Timestamp::now().to_string(),
        };
        writer.line(&text(&Line::<&Message>::Export(header)))?;
        Ok(writer)
    }

    fn go_on(path: &Path, whole: Whole) -> io::Result<Self> {
        let Whole { bytes, chain, conv, all, totals } = whole;
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.set_len(bytes)?;
        file.seek(SeekFrom::End(0))?;
        let output = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { path: path.to_owned(), output, chain, all, totals, last: conv })
    }

    fn line(&mut self, text: &[u8]) -> Result<(), TransferError> {
        self.chain.push(text);
        let written = self.output.write_all(text).and_then(|()| self.output.write_all(b"\n"));
        written.map_err(|source| TransferError::Io { path: self.path.clone(), source })
    }

    async fn conversation(
        &mut self,
        archive: &dyn Archive,
        part: Part,
        cancel: &CancellationToken,
    ) -> Result<(), TransferError> {
        let conv = part.conv();
        let outcome = {
            let lines = part.lines(archive, |text| self.line(text));
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(TransferError::Stopped),
                outcome = lines => outcome,
            }
        };
        let (messages, digest) = match outcome {
            Ok(done) => done,
            Err(error) => {
                self.flush()?;
                return Err(error);
            }
        };
        self.all.push(digest.as_bytes());
        let end = End { conv, messages, digest, chain: self.chain.hex() };
        self.line(&text(&Line::<&Message>::End(end)))?;
        self.last = Some(conv);
        self.totals.conversations += 1;
        self.totals.messages += messages;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TransferError> {
        self.output.flush().map_err(|source| TransferError::Io { path: self.path.clone(), source })
    }

    /// The last line; the file is on the disk when this returns.
    fn complete(mut self) -> Result<Totals, TransferError> {
        let totals = Totals {
            chain: self.chain.hex(),
            digest: self.all.clone().hex(),
            ..self.totals.clone()
        };
        self.line(&text(&Line::<&Message>::Complete(totals.clone())))?;
        self.flush()?;
        // The file, and that it is there.
        let synced = self.output.get_ref().sync_all().and_then(|()| {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        });
        synced.map_err(|source| TransferError::Io { path: self.path.clone(), source })?;
        Ok(totals)
    }
}

/// Up to where a file of an earlier run is whole conversations; `None`: it has not even a first line.
fn whole_part(
    path: &Path,
    epoch: &Lives,
    cancel: &CancellationToken,
) -> Result<Option<Whole>, TransferError> {
    let mut reader = Reader::open(path)?;
    let mut whole = None;
    while let Some(line) = reader.next()? {
        if cancel.is_cancelled() {
            return Err(TransferError::Stopped);
        }
        if let Line::Export(header) = &line
            && header.epoch != *epoch
        {
            let (there, here) = (header.epoch.clone(), epoch.clone());
            return Err(TransferError::OtherLife { path: path.to_owned(), there, here });
        }
        if matches!(line, Line::Export(_) | Line::End(_)) {
            whole = reader.whole();
        }
    }
    if reader.is_complete() {
        return Err(TransferError::Complete { path: path.to_owned() });
    }
    Ok(whole)
}
