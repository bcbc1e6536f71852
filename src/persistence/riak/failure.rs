//! What callers are told when something fails.

use crate::persistence::EngineError;
use crate::riak_link::CallError;

impl From<CallError> for EngineError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotSent(text) => Self::Unavailable(format!("riak: {text}")),
            CallError::Crowded(text) => Self::Overloaded(format!("riak: {text}")),
            CallError::Doubt(text) => Self::Timeout(format!("riak: {text}")),
            CallError::Unreadable(_) => Self::Internal(format!("riak: {error}")),
        }
    }
}

/// Too much is waiting.
pub fn crowded(reason: &str) -> EngineError {
    EngineError::Overloaded(format!("riak: {reason}"))
}

/// What is stored is not what this version writes.
pub fn unreadable(what: &str) -> EngineError {
    EngineError::Internal(format!("riak: the store holds {what} that this version cannot read"))
}

/// What failed before anything was written was certainly not done.
pub fn before_anything(error: EngineError) -> EngineError {
    match error {
        EngineError::Timeout(text) | EngineError::Internal(text) => EngineError::Unavailable(text),
        other => other,
    }
}
