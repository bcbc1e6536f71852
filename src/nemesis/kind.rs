//! What a nemesis may do.

use std::fmt;
use std::str::FromStr;

use crate::nearest::did_you_mean;

/// A kind of trouble, by the name that `--nemesis` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A server of ours ends at once (`SIGKILL`), and is started again later.
    Kill,
    /// A server of ours is asked to end (`SIGTERM`), drains, and is started again; they take turns. It must end in time and well.
    Restart,
    /// A server of ours does nothing for a while (`SIGSTOP`), and goes on.
    Pause,
    /// The connections of a link end, or one direction of them.
    Cut,
    /// Nothing passes a link for a while, both ways or one.
    Partition,
    /// A link is slow, narrow or brings single bytes for a while.
    Latency,
    /// A node of a service is killed, and started again later.
    RestartEngine,
    /// A node of a service does nothing for a while.
    PauseEngine,
    /// A server of ours is started again with a clock that is wrong, and later with one that is right.
    Clock,
}

impl Kind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Kill,
        Self::Restart,
        Self::Pause,
        Self::Cut,
        Self::Partition,
        Self::Latency,
        Self::RestartEngine,
        Self::PauseEngine,
        Self::Clock,
    ];

    /// Whether it is done to a link.
    pub fn is_of_link(self) -> bool {
        matches!(self, Self::Cut | Self::Partition | Self::Latency)
    }

    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Cut => "cut",
            Self::Partition => "partition",
            Self::Latency => "latency",
            Self::RestartEngine => "restart-engine",
            Self::PauseEngine => "pause-engine",
            Self::Clock => "clock",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let meant = did_you_mean(text, names.into_iter());
            format!("{text:?} is none of {}{meant}", names.join(", "))
        })
    }
}
