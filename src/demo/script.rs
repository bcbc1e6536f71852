//! What is said and read, again and again.

use std::time::Duration;

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Ann,
    Bob,
}

/// Where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// The direct chat of the two.
    Direct,
    /// The channel that everybody may open.
    Lobby,
}

/// One thing that somebody does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Say(Who, Place, &'static str),
    /// Was written this long ago and is sent only now.
    SayLate(Who, Place, Duration, &'static str),
    /// Acknowledges everything that has come there.
    Read(Who, Place),
}

/// The name of the channel.
pub(super) const CHANNEL: &str = "lobby";

impl Who {
    pub(super) const BOTH: [Self; 2] = [Self::Ann, Self::Bob];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ann => "ann",
            Self::Bob => "bob",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Ann => Self::Bob,
            Self::Bob => Self::Ann,
        }
    }
}

/// One round: each of the two has unread messages for a while, and each place gets a late one.
pub(super) const ROUND: &[Act] = &[
    Act::Say(Who::Ann, Place::Direct, "Hi Bob, how far is the deploy?"),
    Act::Read(Who::Bob, Place::Direct),
    Act::Say(Who::Bob, Place::Direct, "Almost done. Two nodes to go."),
    Act::Say(Who::Ann, Place::Lobby, "The deploy is under way, two nodes to go."),
    Act::Read(Who::Ann, Place::Direct),
    Act::SayLate(
        Who::Bob,
        Place::Lobby,
        Duration::from_secs(90),
        "I am on a train, so this may come late.",
    ),
    Act::Say(Who::Ann, Place::Lobby, "It did: look above, at its own time."),
    Act::Say(Who::Ann, Place::Direct, "Are you there?"),
    Act::Say(Who::Ann, Place::Direct, "The third node is slow."),
    Act::SayLate(
        Who::Bob,
        Place::Direct,
        Duration::from_secs(40),
        "In a tunnel now. I wrote this before you asked.",
    ),
    Act::Say(Who::Ann, Place::Direct, "Shall I wait for it?"),
    Act::Read(Who::Bob, Place::Direct),
    Act::Say(Who::Bob, Place::Direct, "Wait five minutes, it only warms up."),
    Act::Read(Who::Ann, Place::Direct),
    Act::Read(Who::Bob, Place::Lobby),
    Act::Say(Who::Ann, Place::Lobby, "All nodes are up."),
    Act::Say(Who::Bob, Place::Lobby, "Thank you!"),
    Act::Read(Who::Bob, Place::Lobby),
    Act::Read(Who::Ann, Place::Lobby),
];
