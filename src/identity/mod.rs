//! Who somebody is: tokens (JWT, RFC 7519), the keys that they are checked with, and what was revoked.
//!
//! A [`Verifier`] makes a [`Pass`] of a token, or says why not; it knows no session and no frame. Its keys ([`keys`]) come from a
//! secret, from PEM or from a JSON Web Key Set, and follow their source while it works. [`RevokedSet`] is what this node knows to be
//! revoked; who keeps it for all nodes is `registry/revocations/`. A [`Signer`] makes tokens, for tests and for the harness.

mod claims;
mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod jwks;
mod key;
mod keys;
mod pass;
mod revoked_set;
mod signer;
mod source;
mod token_error;
mod token_parts;
mod verifier;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

pub use pass::{Pass, PassEnd};
pub use revoked_set::RevokedSet;
pub use signer::{Grant, Signer, SignerError};
pub use token_error::TokenError;
pub use verifier::{StartError, Verifier};
