//! What callers are told when something fails.

use crate::persistence::EngineError;

/// There is no session: nothing was sent.
pub fn down(reason: &str) -> EngineError {
    EngineError::Unavailable(format!("cassandra: not connected: {reason}"))
}

/// It was sent, and no node could say what became of it in time.
pub fn unanswered(reason: &str) -> EngineError {
    EngineError::Timeout(format!("cassandra: no answer in time: {reason}"))
}

/// The engine was closed.
pub fn closed() -> EngineError {
    EngineError::Unavailable("cassandra: the engine is closed".to_owned())
}

/// Too much is waiting.
pub fn crowded(reason: &str) -> EngineError {
    EngineError::Overloaded(format!("cassandra: {reason}"))
}

/// What is stored is not what this version writes.
pub fn unreadable(what: &str) -> EngineError {
    EngineError::Internal(format!(
        "cassandra: the store holds {what} that this version cannot read"
    ))
}
