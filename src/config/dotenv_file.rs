//! The part of `.env` that `init-env` writes: one marked block, beside whatever the user has there.
//!
//! Only what we wrote ourselves is ever changed: a digest in the first mark tells whether the block still is what we
//! wrote. Everything else is the user's and stays byte for byte.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{ConfigError, VARIABLES};

const START: &str = "# >>> chatctl init-env ";
const START_ADVICE: &str = ": written by init-env; edited by hand, it is left alone";
const END: &str = "# <<< chatctl init-env";

/// What a new file begins with.
const HEAD: &str = "# What chatctl is told in this folder. Every variable: .env.example, or chatctl serve --help\n";

/// A `.env` with our values merged in; nothing is written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DotenvMerge {
    /// The whole file as it should be.
    pub text: String,
    /// The keys whose lines differ from what the file had.
    pub written: Vec<String>,
    /// The keys that were not written because the user has set them.
    pub kept: Vec<KeptVariable>,
    /// Whether the file differs from what it was.
    pub changed: bool,
}

/// A variable whose value is the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVariable {
    /// Its key.
    pub key: String,
    /// Where the user set it.
    pub place: KeptPlace,
    /// Whether the value is the one that we would have written.
    pub agrees: bool,
}

/// Where a value of the user's stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptPlace {
    /// Outside our block.
    Outside,
    /// In a block of ours that was edited by hand.
    EditedBlock,
}

/// Why nothing can be merged into a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DotenvMergeError {
    /// The start of a block has no end.
    #[error(
        "line {line} begins a block of init-env that has no end: add a line {END:?} after its last value, or remove line {line}"
    )]
    Unfinished {
        /// Of the start, from 1.
        line: usize,
    },
    /// Something in the file is not understood. It is not shown: it may be a secret.
    #[error("an entry is not KEY=value")]
    NotUnderstood,
}

/// A block of ours in a text.
struct Block {
    /// From the start mark to the end mark, without the line's end.
    span: Range<usize>,
    /// Between the marks.
    body: Range<usize>,
    intact: bool,
}

impl DotenvMerge {
    /// Merges values, in this order when they are new, into what a file holds; `None`: there is no file.
    pub fn of_text(
        existing: Option<&str>,
        values: &[(&str, String)],
    ) -> Result<Self, DotenvMergeError> {
        let text = existing.unwrap_or_default();
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let blocks = find_blocks(text)?;
        // A second intact one is a copy that the user made.
        let ours = blocks.iter().find(|block| block.intact);
        let edited: BTreeMap<_, _> = blocks
            .iter()
            .filter(|block| !block.intact)
            .map(|block| entries(&text[block.body.clone()]))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect();
        let around = ours.map_or(text.len()..text.len(), |block| block.span.clone());
        let (before, after) = (&text[..around.start], &text[around.end..]);
        let theirs: BTreeMap<_, _> = entries(&format!("{before}\n{after}"))?.into_iter().collect();
        let old = match ours {
            Some(block) => entries(&text[block.body.clone()])?,
            None => Vec::new(),
        };

        let mut block: Vec<(String, String)> = old.clone();
        let mut kept = Vec::new();
        for (key, value) in values {
            if let Some(their_value) = theirs.get(*key) {
                let in_block = edited.contains_key(*key);
                kept.push(KeptVariable {
                    key: (*key).to_owned(),
                    place: if in_block { KeptPlace::EditedBlock } else { KeptPlace::Outside },
                    agrees: their_value == value,
                });
            } else if let Some((_, old_value)) = block.iter_mut().find(|(old, _)| old == key) {
                old_value.clone_from(value);
            } else {
                block.push(((*key).to_owned(), value.clone()));
            }
        }
        // The last value in a file holds: ours would hide the one that the user has set since.
        block.retain(|(key, _)| !theirs.contains_key(key));
        let written =
            block.iter().filter(|entry| !old.contains(entry)).map(|(key, _)| key.clone()).collect();

        let mut merged = before.to_owned();
        if existing.is_none() {
            merged += HEAD;
        }
        if !block.is_empty() {
            if ours.is_none() && !merged.is_empty() {
                if !merged.ends_with('\n') {
                    merged += newline;
                }
                merged += newline;
            }
            merged += &block_text(&block).replace('\n', newline);
            if ours.is_none() {
                merged += newline;
            }
        }
        merged += after;
        let changed = existing != Some(&merged);
        Ok(Self { text: merged, written, kept, changed })
    }

    /// Merges values into a file, which need not be there; it is not touched yet.
    pub fn of_file(path: &Path, values: &[(&str, String)]) -> Result<Self, ConfigError> {
        let existing = match fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(path, &error)),
        };
        Self::of_text(existing.as_deref(), values).map_err(|error| unreadable(path, &error))
    }

    /// Writes the file where it differs: beside it and renamed, so that nobody reads half of it. Its owner and
    /// permissions stay; a new one is readable by us only, for it may hold a password.
    pub fn write(&self, path: &Path) -> Result<(), ConfigError> {
        if !self.changed {
            return Ok(());
        }
        replace(path, &self.text).map_err(|error| ConfigError::DotenvUnwritable {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> ConfigError {
    ConfigError::Dotenv { path: path.to_owned(), reason: error.to_string() }
}

/// Finds every block, whole lines from mark to mark.
fn find_blocks(text: &str) -> Result<Vec<Block>, DotenvMergeError> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, usize, usize, String)> = None;
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let content = line.trim_end();
        if let Some(mark) = content.strip_prefix(START) {
            if let Some((line, ..)) = open {
                return Err(DotenvMergeError::Unfinished { line });
            }
            let digest = mark.split(':').next().unwrap_or_default().to_owned();
            open = Some((index + 1, at, at + line.len(), digest));
        } else if content == END
            && let Some((_, start, body_start, digest)) = open.take()
        {
            let body = body_start..at;
            let intact = digest_of(&text[body.clone()]) == digest;
            blocks.push(Block { span: start..at + content.len(), body, intact });
        }
        at += line.len();
    }
    match open {
        Some((line, ..)) => Err(DotenvMergeError::Unfinished { line }),
        None => Ok(blocks),
    }
}

/// What dotenvy reads in a text, in order.
fn entries(text: &str) -> Result<Vec<(String, String)>, DotenvMergeError> {
    // A last line that ends in a space and nothing more is an error to it.
    let text = format!("{text}\n");
    dotenvy::from_read_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| DotenvMergeError::NotUnderstood)
}

fn block_text(entries: &[(String, String)]) -> String {
    let mut body = String::new();
    for (key, value) in entries {
        if let Some(variable) = VARIABLES.iter().find(|variable| variable.key == key) {
            body += &format!("# {}.\n", variable.doc);
        }
        body += &format!("{key}={}\n", quoted(value));
    }
    format!("{START}{}{START_ADVICE}\n{body}{END}", digest_of(&body))
}

/// The first eight digits of the SHA-256; line ends do not count, for editors and version control change them.
fn digest_of(body: &str) -> String {
    let hash = Sha256::digest(body.replace("\r\n", "\n").as_bytes());
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// A value so that dotenvy reads it back. Double quotes only: between single ones it takes a backslash before the
/// closing quote for an escape when it looks for the end of the line, and not when it reads the value.
fn quoted(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.,:/@%+[]".contains(&byte);
    if value.bytes().all(is_plain) {
        return value.to_owned();
    }
    let mut text = String::from('"');
    for character in value.chars() {
        match character {
            '\n' => text += "\\n",
            '"' | '\\' | '$' => text.extend(['\\', character]),
            _ => text.push(character),
        }
    }
    text + "\""
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let before = fs::metadata(&path).ok();
    let mut beside = path.clone().into_os_string();
    beside.push(".init-env.new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    if let Some(before) = before {
        let ours = file.metadata()?;
        if (ours.uid(), ours.gid()) != (before.uid(), before.gid()) {
            std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        file.set_permissions(before.permissions())?;
    }
    file.sync_all()?;
    fs::rename(&beside, &path)
}

#[cfg(test)]
mod tests;
