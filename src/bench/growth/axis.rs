//! What grows.

use serde::Serialize;

/// What grows; everything else stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Messages in the conversation that is measured.
    Messages,
    /// Conversations in the store, each with a message. Ten are the measured reader's; the first thousand of the rest (what `list` reaches)
    /// are one other user's, whose list is measured too; all others are of users who have few.
    Conversations,
    /// Other connections, which said `hello` and nothing more.
    Connections,
    /// Servers, on engines that they share. Who sends is on the first, who receives and reads on the last.
    Nodes,
}

impl Axis {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Messages, Self::Conversations, Self::Connections, Self::Nodes];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Conversations => "conversations",
            Self::Connections => "connections",
            Self::Nodes => "nodes",
        }
    }

    /// What the workload is called in results: runs of different axes are of different workloads.
    pub fn workload(self) -> &'static str {
        match self {
            Self::Messages => "growth-messages",
            Self::Conversations => "growth-conversations",
            Self::Connections => "growth-connections",
            Self::Nodes => "growth-nodes",
        }
    }
}
