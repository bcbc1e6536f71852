//! A history in the forms that other checkers read, as a second opinion from outside.
//!
//! Of all that a history says they are told what is an operation on a list: a conversation is an append-only list, a send appends an
//! element to it, and a read of everything shows it. What cannot be told so is left out and counted; nothing is bent to fit.
//!
//! # The rules
//!
//! - **Elements.** A name (sender, `cid`, conversation) is an element: an integer from 1, unique in the whole history, in the order in
//!   which names appear. What is under the name (content, `ts`, lateness) is not told.
//! - **Appends.** All sends under one name are one append, because the name is stored at most once however often it is sent. It begins with the first
//!   invoke of any of them and ends with the first `ok` of any of them, `dup` or not: by then it was stored. It has failed only if every one of
//!   them failed, which is known, and therefore told, at the end of the history. Otherwise it is of unknown outcome. The span may be
//!   wider than what really happened, never narrower: a wider one can hide something, and cannot accuse anybody.
//! - **Reads.** A reading with `after_seq` 0 whose pages were all answered, up to the one that nothing follows, is a read of the whole list. It
//!   begins with the invoke of its first page and ends with the answer of its last one. Since nothing before the end of a list changes, the pages put
//!   together are the list at the moment of the last one. They are told as they came, also where they are wrong.
//! - **Processes** are numbered anew, from 0, and each belongs to one session: it has one operation outstanding, and is not used
//!   again after an unknown outcome. A reading, and an append of several sends, keeps its process for all of its span.
//! - **Epochs** are not told. Where a store came back with less than it had, other checkers see a broken list, rightly; the
//!   [summary](Summary) says that there were several.
//!
//! # What is in memory
//!
//! A file is read twice, line by line: once to find damage and the readings that come to their end, once to write. What is kept is the elements, by
//! their names, the numbers of such readings, and what is outstanding.

mod elle;
mod lanes;
mod names;
mod porcupine;
mod step;
mod summary;
mod translation;
mod whole_reads;

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

pub use elle::Elle;
pub use porcupine::Porcupine;
pub use step::{Moment, Operation, Step};
pub use summary::Summary;
pub use translation::Translation;
pub use whole_reads::{Survey, WholeReads};

use crate::history::{HistoryError, events};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// The forms there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What [`Elle`] writes.
    Elle,
    /// What [`Porcupine`] writes.
    Porcupine,
}

/// Why a history was not written in another form.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ExportError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("the export cannot be written: {0}")]
    Write(io::Error),
}

/// A history in a file that was read once and is a whole one.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    whole: WholeReads,
}

impl Source {
    /// Reads all of it, so that nothing is written of a damaged one.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that is none of a history, named by its number.
    pub fn survey(path: &Path) -> Result<Self, HistoryError> {
        let mut survey = Survey::default();
        for event in events(open(path)?) {
            survey.take(&event?);
        }
        Ok(Self { path: path.to_owned(), whole: survey.finish() })
    }

    /// Writes it in a form, and says what of it was told.
    ///
    /// # Errors
    /// What cannot be written, or, where the file has changed since, what cannot be read.
    pub fn write(self, form: Form, writer: &mut impl Write) -> Result<Summary, ExportError> {
        let Self { path, whole } = self;
        let summary = match form {
            Form::Elle => {
                let mut elle = Elle::default();
                translate(&path, whole, |step| elle.write(step, writer))
            }
            Form::Porcupine => translate(&path, whole, |step| Porcupine.write(step, writer)),
        }?;
        writer.flush().map_err(ExportError::Write)?;
        Ok(summary)
    }
}

fn translate(
    path: &Path,
    whole: WholeReads,
    mut each: impl FnMut(&Step<'_>) -> io::Result<()>,
) -> Result<Summary, ExportError> {
    let mut translation = Translation::new(whole);
    for event in events(open(path)?) {
        translation.take(&event?, &mut each).map_err(ExportError::Write)?;
    }
    translation.finish(&mut each).map_err(ExportError::Write)
}

fn open(path: &Path) -> Result<BufReader<File>, HistoryError> {
    Ok(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?))
}
