//! The scripts: one atomic step each, in files of their own beside this one.

use std::sync::LazyLock;

use crate::model::{LIMITS, Limits};

/// What stands in a script between a line that has an effect and the name of the effect.
#[cfg(test)]
const EFFECT: &str = " -- effect: ";

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
    /// `scripts/regroup.lua`.
    pub regroup: Script,
    /// `scripts/roster.lua`.
    pub roster: Script,
    /// `scripts/restore_member.lua`.
    pub restore_member: Script,
    /// `scripts/restore_roster.lua`.
    pub restore_roster: Script,
    /// `scripts/lineage.lua`.
    pub lineage: Script,
}

/// The files: what each is called, and what it says.
const FILES: [(&str, &str); 15] = [
    ("conversation", include_str!("scripts/conversation.lua")),
    ("reading", include_str!("scripts/reading.lua")),
    ("append", include_str!("scripts/append.lua")),
    ("open", include_str!("scripts/open.lua")),
    ("range", include_str!("scripts/range.lua")),
    ("after", include_str!("scripts/after.lua")),
    ("unread_late", include_str!("scripts/unread_late.lua")),
    ("ack", include_str!("scripts/ack.lua")),
    ("summary", include_str!("scripts/summary.lua")),
    ("mine", include_str!("scripts/mine.lua")),
    ("regroup", include_str!("scripts/regroup.lua")),
    ("roster", include_str!("scripts/roster.lua")),
    ("restore_member", include_str!("scripts/restore_member.lua")),
    ("restore_roster", include_str!("scripts/restore_roster.lua")),
    ("lineage", include_str!("scripts/lineage.lua")),
];

impl Scripts {
    fn new(files: &[(&str, String)]) -> Self {
        let file = |name: &str| {
            let found = files.iter().find(|(file, _)| *file == name);
            found.map_or("", |(_, text)| text.as_str())
        };
        let conversation = file("conversation");
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
        let reading = |name| Script::new(&[&limits, conversation, file("reading"), file(name)]);
        Self {
            append: Script::new(&[conversation, file("append")]),
            open: reading("open"),
            range: reading("range"),
            after: reading("after"),
            unread_late: reading("unread_late"),
            ack: reading("ack"),
            summary: reading("summary"),
            mine: Script::new(&[conversation, file("mine")]),
            regroup: Script::new(&[conversation, file("regroup")]),
            roster: Script::new(&[conversation, file("roster")]),
            restore_member: Script::new(&[conversation, file("restore_member")]),
            restore_roster: Script::new(&[conversation, file("restore_roster")]),
            lineage: Script::new(&[file("lineage")]),
        }
    }

    /// Every line that has an effect: its file, and the name that its comment gives it.
    #[cfg(test)]
    pub fn effects() -> Vec<(&'static str, &'static str)> {
        let of_file = |(file, text): (&'static str, &'static str)| {
            let names = text.lines().filter_map(|line| line.split_once(EFFECT));
            names.map(move |(_, name)| (file, name))
        };
        FILES.into_iter().flat_map(of_file).collect()
    }

    /// All scripts, but one line has no effect.
    #[cfg(test)]
    pub fn without(file: &str, effect: &str) -> Self {
        let has_effect =
            |line: &&str| line.split_once(EFFECT).is_some_and(|(_, name)| name == effect);
        let files = FILES.map(|(name, text)| {
            let kept = text.lines().filter(|line| name != file || !has_effect(line));
            (name, kept.collect::<Vec<_>>().join("\n") + "\n")
        });
        Self::new(&files)
    }

    /// All of them, to load.
    pub fn all(&self) -> [&Script; 13] {
        [
            &self.append,
            &self.open,
            &self.range,
            &self.after,
            &self.unread_late,
            &self.ack,
            &self.summary,
            &self.mine,
            &self.regroup,
            &self.roster,
            &self.restore_member,
            &self.restore_roster,
            &self.lineage,
        ]
    }
}

/// The scripts of this version.
pub static SCRIPTS: LazyLock<Scripts> =
    LazyLock::new(|| Scripts::new(&FILES.map(|(name, text)| (name, text.to_owned()))));
