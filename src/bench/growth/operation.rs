//! What is measured at each size.

use super::axis::Axis;

/// What is measured at each size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Asks for nothing: what the way to the server and the machine have taken.
    Ping,
    /// From sending to the durable answer. Its CPU time holds that of the delivery.
    Send,
    /// From sending to the receiver's socket.
    Delivery,
    /// Opening the conversation, with its newest page.
    Open,
    /// The newest page alone.
    Read,
    /// A page that ends at a random time between the oldest and the newest message.
    RandomRead,
    /// The conversations of a user who has few.
    List,
    /// The conversations of a user who has many.
    ListMany,
}

impl Operation {
    /// What there is to measure while `axis` grows.
    pub fn of(axis: Axis) -> Vec<Self> {
        let mut operations = vec![
            Self::Ping,
            Self::Send,
            Self::Delivery,
            Self::Open,
            Self::Read,
            Self::RandomRead,
            Self::List,
        ];
        if axis == Axis::Conversations {
            operations.push(Self::ListMany);
        }
        operations
    }

    /// As in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Send => "send",
            Self::Delivery => "delivery",
            Self::Open => "open",
            Self::Read => "read",
            Self::RandomRead => "random_read",
            Self::List => "list",
            Self::ListMany => "list_many",
        }
    }
}
