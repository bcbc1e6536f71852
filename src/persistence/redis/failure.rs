//! What an error of the server or of the connection means: certainly not done, or perhaps done.

use redis::{ErrorKind, RedisError};

use crate::persistence::EngineError;

/// What became of one call that was sent.
#[derive(Debug)]
pub enum Failure {
    /// The server does not have the script: certainly not done; load it and send again.
    NoScript,
    /// The caller's answer.
    Answer(EngineError),
}

/// Judges an error that came back for a call that was sent.
///
/// A script's first write is refused as a whole where the server takes no writes (`OOM`, `READONLY`, `MISCONF`,
/// `NOREPLICAS`): after a first write it runs to its end. The engine's scripts do nothing before their first write that could
/// fail otherwise. An error in the middle of one is a defect, and indefinite.
pub fn of(error: &RedisError) -> Failure {
    let text = format!("redis: {error}");
    let Some(code) = error.code().filter(|_| !is_transport(error)) else {
        return Failure::Answer(EngineError::Timeout(text));
    };
    Failure::Answer(match code {
        "NOSCRIPT" => return Failure::NoScript,
        "OOM" => EngineError::StorageFull(format!(
            "{text}; raise maxmemory of the server or remove data"
        )),
        "READONLY" | "MISCONF" | "NOREPLICAS" => EngineError::ReadOnly(text),
        "LOADING" | "MASTERDOWN" | "BUSY" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK"
        | "CROSSSLOT" | "NOAUTH" | "NOPERM" | "WRONGPASS" => EngineError::Unavailable(text),
        _ => EngineError::Internal(text),
    })
}

/// The connection failed, not the call.
fn is_transport(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse | ErrorKind::Client)
}

/// Whether the server takes no such call any more because another one does: a connection that is made now may lead there. `TRYAGAIN` is none
/// of these: a slot is on its way, and this server has it still.
pub fn leads_elsewhere(error: &RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MOVED" | "ASK" | "CLUSTERDOWN"))
}

/// The link is known to be down: nothing was sent.
pub fn down(reason: &str) -> EngineError {
    EngineError::Unavailable(format!("redis: not connected: {reason}"))
}

/// It was sent, and no answer came.
pub fn unanswered() -> EngineError {
    EngineError::Timeout("redis: no answer in time".to_owned())
}

/// The engine was closed.
pub fn closed() -> EngineError {
    EngineError::Unavailable("redis: the engine is closed".to_owned())
}
