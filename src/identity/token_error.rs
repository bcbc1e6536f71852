//! Why a token is refused.

use std::time::Duration;

/// Why a token is refused. The texts are for the client's people; none holds anything of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TokenError {
    #[error("the token is longer than {0} bytes")]
    TooLong(usize),
    #[error("the token is no JWT: three parts in URL-safe base64 with dots between")]
    NoJwt,
    #[error("the token's header is not as a JWT's must be")]
    Header,
    #[error("the token's header demands something (crit) that is not understood here")]
    Critical,
    #[error("the token's alg is not allowed here; use {0}")]
    Algorithm(String),
    #[error("no key of the token's alg and kid is known here")]
    UnknownKey,
    #[error("the token's signature is of no key that is known here")]
    Signature,
    #[error("the token's claims are not as a JWT's must be")]
    Claims,
    #[error("the token has no {0}")]
    Missing(&'static str),
    #[error("the token's {0} is no time in seconds since 1970")]
    NoTime(&'static str),
    #[error("the token has expired; get a new one")]
    Expired,
    #[error("the token is not good yet (nbf)")]
    NotYet,
    #[error("the token was issued in the future (iat): the clocks of issuer and server differ")]
    IssuedLater,
    #[error("the token lives longer than {} s (from iat to exp)", .0.as_secs())]
    TooLongLived(Duration),
    #[error("the token is of another issuer (iss)")]
    Issuer,
    #[error("the token is for somebody else (aud)")]
    Audience,
    #[error("the token's sub is no user name: it must be {0}")]
    Subject(&'static str),
    #[error("the token's jti must be {0}")]
    TokenId(&'static str),
    #[error("the token was revoked")]
    Revoked,
    #[error("the token is of another user than the session")]
    OtherUser,
    /// Nobody can tell now: the only one that is temporary.
    #[error("the keys that tokens are checked with cannot be had now")]
    KeysAway {
        /// When to try again.
        retry_after: Duration,
    },
}
