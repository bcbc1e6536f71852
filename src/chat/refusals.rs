//! The errors that the chat itself gives: one wording for each, wherever it is given.

use std::time::Duration;

use crate::identity::TokenError;
use crate::persistence::EngineError;
use crate::protocol::{ErrorBody, ErrorCode};

/// When a client may try again after `overloaded` and the like.
pub(super) const RETRY_AFTER_MS: u64 = 250;

/// A session says `hello` once.
pub(super) fn already_hello() -> ErrorBody {
    ErrorBody::new(ErrorCode::AlreadyHello, "this session has said hello")
}

/// The user has as many sessions on this node as one may have.
pub(super) fn too_many_sessions() -> ErrorBody {
    ErrorBody::new(ErrorCode::Limit, "this user has as many connections here as one may have")
}

/// A `hello` that shows what is not asked for here.
pub(super) fn wrong_credential(field: &str, expected: &str) -> ErrorBody {
    ErrorBody::invalid_field(field, expected)
}

/// A token that is refused. Its own text says why, and holds nothing of it.
pub(super) fn token_error(error: TokenError) -> ErrorBody {
    let code = match &error {
        TokenError::Expired => ErrorCode::TokenExpired,
        TokenError::KeysAway { retry_after } => {
            let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
            return ErrorBody::new(ErrorCode::Unavailable, error.to_string())
                .retry_after_ms(retry_after_ms.max(RETRY_AFTER_MS));
        }
        _ => ErrorCode::BadToken,
    };
    ErrorBody::new(code, error.to_string())
}

/// `refresh` where there are no tokens.
pub(super) fn no_refresh() -> ErrorBody {
    let message = "there is no method \"refresh\" here: authentication is off";
    ErrorBody::new(ErrorCode::UnknownMethod, message)
}

/// The node is shutting down; another, or this one restarted, takes the command in a moment.
pub(super) fn draining() -> ErrorBody {
    ErrorBody::new(ErrorCode::Draining, "this server is shutting down; connect again")
        .retry_after_ms(1_000)
}

/// More is asked of this node than its engine does in time: not done.
pub(super) fn turned_away(retry_after: Duration) -> ErrorBody {
    let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX).max(1);
    ErrorBody::new(ErrorCode::Overloaded, "this server has too much to do; come again later")
        .retry_after_ms(retry_after_ms)
}

/// The engine did not answer in time: nobody knows.
pub(super) fn timed_out() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Timeout,
        "no answer from the engine in time; it may have happened: repeat it, a send with the same cid",
    )
}

/// The store came back with less than it had, after the conversation was opened: nobody can tell whether it is still done.
pub(super) fn other_life() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Timeout,
        "the message store has another epoch; open again and repeat it, a send with the same cid",
    )
}

/// An engine's error as clients see it. The details are for operators: they go to the log.
pub(super) fn engine_error(error: EngineError) -> ErrorBody {
    let (code, message) = match &error {
        EngineError::Unavailable(_) => {
            (ErrorCode::Unavailable, "the message store is not available")
        }
        EngineError::Overloaded(_) => {
            (ErrorCode::Overloaded, "the message store has too much to do")
        }
        EngineError::StorageFull(_) => (ErrorCode::StorageFull, "the message store is full"),
        EngineError::ReadOnly(_) => (ErrorCode::ReadOnly, "the message store takes no writes now"),
        EngineError::Timeout(_) => return timed_out(),
        EngineError::Internal(_) => {
            (ErrorCode::Internal, "the message store failed; it may have happened")
        }
    };
    tracing::debug!(%error, ?code, "the engine refused a command");
    metrics::counter!("chatctl_engine_errors_total", "code" => message).increment(1);
    ErrorBody::new(code, message).retry_after_ms(RETRY_AFTER_MS)
}
