//! The scripts: one atomic step each, in files of their own beside this one.

use std::sync::LazyLock;

use crate::model::{LIMITS, Limits};

/// A script as the server knows it.
#[derive(Debug)]
pub struct Script {
    /// What is loaded.
    pub text: String,
    /// The SHA-1 of `text` in hex: what it is called by.
    pub sha: String,
}

impl Script {
    fn new(parts: &[&str]) -> Self {
        let text = parts.concat();
        let sha = redis::Script::new(&text).get_hash().to_owned();
        Self { text, sha }
    }
}

/// Every script of this engine.
#[derive(Debug)]
pub struct Scripts {
    /// `scripts/append.lua`.
    pub append: Script,
    /// `scripts/open.lua`.
    pub open: Script,
    /// `scripts/range.lua`.
    pub range: Script,
    /// `scripts/after.lua`.
    pub after: Script,
    /// `scripts/unread_late.lua`.
    pub unread_late: Script,
    /// `scripts/ack.lua`.
    pub ack: Script,
    /// `scripts/summary.lua`.
    pub summary: Script,
    /// `scripts/mine.lua`.
    pub mine: Script,
    /// `scripts/lineage.lua`.
    pub lineage: Script,
}

impl Scripts {
    fn new() -> Self {
        const CONVERSATION: &str = include_str!("scripts/conversation.lua");
        const READING: &str = include_str!("scripts/reading.lua");
        let limits = format!(
            "local PAGE_BYTES_MAX, LATE_MAX, RESUME_MAX = {}, {}, {}\n\
             local UNREAD_MAX, SCAN_MAX, ACKED_RANGES_MAX = {}, {}, {}\n",
            LIMITS.page_bytes_max,
            LIMITS.late_max,
            LIMITS.resume_max,
            LIMITS.unread_max,
            Limits::SCAN_MAX,
            LIMITS.acked_ranges_max,
        );
        let reading = |text| Script::new(&[&limits, CONVERSATION, READING, text]);
        Self {
            append: Script::new(&[CONVERSATION, include_str!("scripts/append.lua")]),
            open: reading(include_str!("scripts/open.lua")),
            range: reading(include_str!("scripts/range.lua")),
            after: reading(include_str!("scripts/after.lua")),
            unread_late: reading(include_str!("scripts/unread_late.lua")),
            ack: reading(include_str!("scripts/ack.lua")),
            summary: reading(include_str!("scripts/summary.lua")),
            mine: Script::new(&[CONVERSATION, include_str!("scripts/mine.lua")]),
            lineage: Script::new(&[include_str!("scripts/lineage.lua")]),
        }
    }

    /// All of them, to load.
    pub fn all(&self) -> [&Script; 9] {
        [
            &self.append,
            &self.open,
            &self.range,
            &self.after,
            &self.unread_late,
            &self.ack,
            &self.summary,
            &self.mine,
            &self.lineage,
        ]
    }
}

/// The scripts of this version.
pub static SCRIPTS: LazyLock<Scripts> = LazyLock::new(Scripts::new);
