//! Why conversations could not be carried.

use std::io;
use std::path::PathBuf;

use crate::model::{ConvId, Lives};
use crate::persistence::EngineError;

/// Each text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TransferError {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}, line {line}: {reason}", path = path.display())]
    Line { path: PathBuf, line: u64, reason: String },
    #[error("{path}: the export is complete already; name another file", path = path.display())]
    Complete { path: PathBuf },
    #[error("{path}: it is there and is no export; name another file", path = path.display())]
    Other { path: PathBuf },
    #[error(
        "{path}: this export was never finished, or its end was cut off; run the `export` that wrote it again, which goes on with it",
        path = path.display()
    )]
    Unfinished { path: PathBuf },
    #[error(
        "{path} was begun in life {there} of a store, and the store is in life {here} now: what is in the file and what would follow need not fit; begin again with another file",
        path = path.display()
    )]
    OtherLife { path: PathBuf, there: Lives, here: Lives },
    #[error(
        "{path} comes from this very store (life {epoch}): a restored stream must not pass for the one that it was; import into a store of its own",
        path = path.display()
    )]
    SameLife { path: PathBuf, epoch: Lives },
    #[error("the store began another life meanwhile: it came back with less than it had; {what}")]
    Renewed { what: &'static str },
    #[error(
        "conversation {conv}: the store has it already, with {what}; import into a store that does not have it"
    )]
    Foreign { conv: ConvId, what: String },
    #[error("conversation {conv}: {what}; nobody may use the store while it is imported into")]
    Disturbed { conv: ConvId, what: String },
    #[error("the engine cannot go on: {0}; run the same command again, it goes on from there")]
    Engine(#[from] EngineError),
    #[error("stopped; run the same command again, it goes on from there")]
    Stopped,
}
