//! Error codes: what clients branch on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every error code of the protocol: what it means, then what to do. `docs/errors.md` and the schemas are made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON, not an object, no method or two, nested too deep, or an `id` that cannot be read (then the answer has none). So many of them in a minute as `bad_frames_max` says close the connection with 4500.
    ///
    /// Correct the client.
    BadFrame,
    /// There is no such method.
    ///
    /// Correct the client, or use a newer server.
    UnknownMethod,
    /// The first frame is no `hello`; the connection is then closed with 4500.
    ///
    /// Say `hello` first.
    HelloFirst,
    /// This session has said `hello`; nothing changes.
    ///
    /// Go on, or connect again to be somebody else.
    AlreadyHello,
    /// A field is missing, of a wrong type or outside its limit; `field` names it by its dotted path.
    ///
    /// Correct what `field` names; limits stand in `hello.limits`.
    InvalidField,
    /// The conversation is missing, forbidden, or not open in this session: the three cannot be told apart.
    ///
    /// Open the conversation in this session; if that is the answer to `open`, there is nothing for this user.
    NotFound,
    /// The `cid` is taken by a message of this sender with another `type` or `content`.
    ///
    /// Use a new `cid` for a new message; the first one is stored.
    Conflict,
    /// `ts` is further ahead of the server than `future_skew_ms_max`.
    ///
    /// Set the clock, or send without `ts`.
    TsInFuture,
    /// The cursor is none that a server made for this request.
    ///
    /// Begin again without a cursor, and repeat the same request with the `next` that it gives.
    BadCursor,
    /// It would acknowledge above the newest message; nothing changes.
    ///
    /// Acknowledge only what was shown.
    AckAboveHead,
    /// The token is not good, or was revoked; the connection is closed with 4501.
    ///
    /// Get another token and connect again.
    BadToken,
    /// The token has expired; the connection is closed with 4501.
    ///
    /// Get another token and connect again; `refresh` in time avoids it.
    TokenExpired,
    /// More open conversations, merged ranges, members or sessions than the limit says; nothing changes.
    ///
    /// Leave conversations, acknowledge by `up_to`, remove members, or close sessions.
    Limit,
    /// You are a member of the group, but this takes its owner.
    ///
    /// Ask the owner (`roster`).
    NotAllowed,
    /// The session asks for more than it may in a second; not done.
    ///
    /// Repeat it after `retry_after_ms`; who does not wait is closed with 4029.
    RateLimited,
    /// The server or its engine has too much to do; not done.
    ///
    /// Repeat it after `retry_after_ms`.
    Overloaded,
    /// The server is about to shut down; not done.
    ///
    /// Connect again, to another server if there is one, and repeat it.
    Draining,
    /// The engine cannot be reached; certainly not done.
    ///
    /// Repeat it after `retry_after_ms`.
    Unavailable,
    /// The engine has no space left for writes; certainly not done. Reads go on.
    ///
    /// Repeat it after `retry_after_ms`; operators must make space.
    StorageFull,
    /// The engine takes no writes now; certainly not done. Reads go on.
    ///
    /// Repeat it after `retry_after_ms`.
    ReadOnly,
    /// Nobody knows whether it was done: no answer in time, or the store has another epoch than the conversation was opened in.
    ///
    /// Send again with the same `cid`; repeat reads and acknowledgements. Where the conversation was reset, open it first.
    Timeout,
    /// The server or its engine failed; it may have happened or not.
    ///
    /// Send again with the same `cid`; repeat reads and acknowledgements.
    Internal,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::BadFrame,
        Self::UnknownMethod,
        Self::HelloFirst,
        Self::AlreadyHello,
        Self::InvalidField,
        Self::NotFound,
        Self::Conflict,
        Self::TsInFuture,
        Self::BadCursor,
        Self::AckAboveHead,
        Self::BadToken,
        Self::TokenExpired,
        Self::Limit,
        Self::NotAllowed,
        Self::RateLimited,
        Self::Overloaded,
        Self::Draining,
        Self::Unavailable,
        Self::StorageFull,
        Self::ReadOnly,
        Self::Timeout,
        Self::Internal,
    ];

    /// As it stands in frames, in snake case.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => format!("{self:?}"),
        }
    }

    /// The same request may succeed later.
    pub fn is_temporary(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::Overloaded
                | Self::Draining
                | Self::Unavailable
                | Self::StorageFull
                | Self::ReadOnly
                | Self::Timeout
                | Self::Internal
        )
    }

    /// It certainly did not and will not happen.
    pub fn is_definite(self) -> bool {
        !matches!(self, Self::Timeout | Self::Internal)
    }
}

/// The body of an error reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct ErrorBody {
    /// What clients branch on.
    pub code: ErrorCode,
    /// For people: what, and what to do.
    pub message: String,
    /// The same request may succeed later.
    pub temporary: bool,
    /// It certainly did not and will not happen.
    pub definite: bool,
    /// The field at fault, as a dotted path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Not before this, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorBody {
    /// An error of `code` with a text for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            temporary: code.is_temporary(),
            definite: code.is_definite(),
            field: None,
            retry_after_ms: None,
        }
    }

    /// `invalid_field` for the dotted path `field`, which must be `expected`.
    pub fn invalid_field(field: impl Into<String>, expected: &str) -> Self {
        let field = field.into();
        let message = format!("{field} must be {expected}");
        Self { field: Some(field), ..Self::new(ErrorCode::InvalidField, message) }
    }

    /// `not_found`, in the one wording that tells nothing apart.
    pub fn not_found() -> Self {
        Self::new(ErrorCode::NotFound, "no such conversation is open in this session")
    }

    /// The same with a time to wait before trying again.
    #[must_use]
    pub fn retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_left_out() {
        // The parser says what it would have taken.
        let known = serde_json::from_str::<ErrorCode>("\"?\"").unwrap_err().to_string();
        let known: Vec<_> = known.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        assert_eq!(ErrorCode::ALL.map(ErrorCode::name).to_vec(), known);
    }
}
