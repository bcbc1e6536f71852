//! Error codes: what clients branch on.

use serde::{Deserialize, Serialize};

/// Every error code of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the table of codes in the protocol document defines each")]
pub enum ErrorCode {
    BadFrame,
    UnknownMethod,
    HelloFirst,
    AlreadyHello,
    InvalidField,
    NotFound,
    Conflict,
    TsInFuture,
    BadCursor,
    AckAboveHead,
    BadToken,
    TokenExpired,
    Limit,
    NotAllowed,
    RateLimited,
    Overloaded,
    Draining,
    Unavailable,
    StorageFull,
    ReadOnly,
    Timeout,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
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
