//! Conversations from one engine to another: a file of lines, hash-chained, that `export` writes and `import` puts back.
//!
//! Numbers, times, names and lateness of messages stay what they were; so do acknowledgements, rosters and the order of everybody's list. The
//! life of the store does not: a client that resumes a stream of the old store is given a fresh page by the new one.
//!
//! **Consistent.** Of each conversation the file has a prefix that the store had at one moment, and what was acknowledged of
//! it; nothing is promised between conversations, as nowhere else. **Resumable.** Both take up where they were stopped when the same command is run
//! again: `export` behind the last whole conversation of the file, `import` behind the last message that the engine has.

mod chain;
mod conversation;
mod error;
mod export;
mod import;
mod line;
mod reader;
mod restore;
#[cfg(test)]
mod tests;

pub use error::TransferError;
pub use export::{Exported, export};
pub use import::{Imported, import};
