//! How much of a history was told, and what was not.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::{Asked, ReadAsked, ReadKind, Seen};
use crate::model::Seq;

/// How much of a history was told, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Appends, of whatever end.
    pub appends: u64,
    /// Those of unknown outcome.
    pub unknown: u64,
    /// Those that failed.
    pub failed: u64,
    /// Sends that are part of an append which began before them.
    pub repeated: u64,
    /// Reads of a whole list.
    pub reads: u64,
    /// Operations (of paged reads: pages) and lines that were left out, by kind.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Answers named more than one life of the store.
    pub several_epochs: bool,
}

impl Summary {
    pub(super) fn leave_out(&mut self, kind: &'static str) {
        *self.left_out.entry(kind).or_default() += 1;
    }
}

/// What an operation is that is left out.
pub(super) fn kind_of(asked: &Asked) -> &'static str {
    match asked {
        Asked::Send { .. } => "sends to no conversation",
        Asked::Read(ReadAsked { kind, .. }) => match kind {
            ReadKind::Range { .. } => "pages by time",
            ReadKind::Late {} => "pages of late messages",
            ReadKind::After { after_seq: Seq::ZERO } => "pages of reads without an end",
            ReadKind::After { .. } => "pages after a number",
        },
        Asked::Open { .. } => "opens",
        Asked::Ack { .. } => "acknowledgements",
        Asked::List { .. } => "lists",
        Asked::Leave {} => "leaves",
        Asked::Create {} | Asked::Invite { .. } | Asked::Remove { .. } | Asked::Quit {} => {
            "changes of groups"
        }
    }
}

/// What a line is that is no operation; `None`: it ends one.
pub(super) fn kind_of_line(seen: &Seen) -> Option<&'static str> {
    match seen {
        Seen::Recv { .. } => Some("pushes"),
        Seen::Reset { .. } => Some("resets of streams"),
        Seen::Removed {} => Some("ends of memberships"),
        Seen::Connect { .. } | Seen::Close { .. } => Some("connects and closes"),
        Seen::Nemesis { .. } | Seen::Unreachable { .. } | Seen::Counted { .. } => {
            Some("lines of the nemesis and of the servers")
        }
        Seen::Send { .. }
        | Seen::Read { .. }
        | Seen::Open(_)
        | Seen::Ack { .. }
        | Seen::List { .. }
        | Seen::Leave {}
        | Seen::Create { .. }
        | Seen::Invite {}
        | Seen::Remove {}
        | Seen::Quit {} => None,
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { appends, unknown, failed, repeated, reads, left_out, several_epochs } = self;
        write!(out, "told: {appends} appends ({failed} failed, {unknown} of unknown outcome, ")?;
        writeln!(out, "{repeated} repeated sends are part of others), {reads} whole reads")?;
        if *several_epochs {
            writeln!(
                out,
                "note: the store began a new life meanwhile, which this form cannot tell"
            )?;
        }
        if left_out.is_empty() {
            return Ok(());
        }
        let kinds = left_out.iter().map(|(kind, count)| format!("{count} {kind}"));
        writeln!(out, "left out: {}", kinds.collect::<Vec<_>>().join(", "))
    }
}
