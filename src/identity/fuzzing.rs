//! Tokens and keys that others made.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use tokio::runtime::{Builder, Runtime};

use super::key::Key;
use super::{TokenError, Verifier, jwks};
use crate::clock;
use crate::config::{KeySource, Secret, TokenAlgorithm, TokenConfig};
use crate::fuzzing::split_first;
use crate::model::Token;

const SECRET: &str = "a secret of the fuzzing, 32 bytes or more";

/// A byte for what it is, then the thing itself:
/// a token as somebody shows it; a header and claims with a line between, which are signed here, so that what is said is judged; the same, and
/// then the token is altered by what stands behind a second line; a key set; keys in PEM form.
pub fn token(input: &[u8]) {
    let (kind, rest) = split_first(input);
    let text = String::from_utf8_lossy(rest);
    match kind % 5 {
        0 => {
            // Nobody has the secret, and it signed nothing that is still good.
            let shown = verify(&text);
            assert!(shown.is_err(), "{text} was let in");
        }
        1 => signed(&text),
        2 => altered(&text),
        3 => {
            for takes_secrets in [false, true] {
                if let Ok(keys) = jwks::parse(&text, takes_secrets) {
                    assert!(!keys.is_empty());
                    assert!(
                        takes_secrets
                            || keys.iter().all(|key| key.algorithm() != TokenAlgorithm::Hs256),
                        "a secret where there are only public keys"
                    );
                }
            }
        }
        _ => {
            if let Ok(keys) = Key::of_pem(&text) {
                assert!(keys.iter().all(|key| key.algorithm() != TokenAlgorithm::Hs256));
            }
        }
    }
}

/// Who is let in is named by the claims, and their time has not passed.
fn signed(text: &str) {
    let (header, claims) = text.split_once('\n').unwrap_or((r#"{"alg":"HS256"}"#, text));
    // Claims that hold whenever this runs.
    let claims = with_times(claims);
    let Some(token) = sign(header, &claims) else { return };
    if let Ok(pass) = verify(&token) {
        assert!(claims.contains(pass.user.as_str()), "{pass:?} of {claims}");
        let now = clock::unix_ms();
        assert!(
            pass.end.is_some_and(|end| end.expires <= end.closes && end.closes > now),
            "{pass:?}"
        );
    }
}

/// No other text than the one that was signed is let in.
fn altered(text: &str) {
    let mut parts = text.splitn(3, '\n');
    let header = parts.next().unwrap_or_default();
    let claims = with_times(parts.next().unwrap_or_default());
    let change = parts.next().unwrap_or_default();
    let Some(token) = sign(header, &claims) else { return };
    let mut bytes = token.clone().into_bytes();
    // The first two bytes say where, the others what.
    let (at, change) = change.as_bytes().split_at(change.len().min(2));
    let at = at.iter().fold(0, |at, &byte| at << 8 | usize::from(byte)) % bytes.len();
    for (byte, change) in bytes[at..].iter_mut().zip(change) {
        *byte ^= change & 0x7f;
    }
    let altered = String::from_utf8_lossy(&bytes);
    if altered != token {
        assert!(verify(&altered).is_err(), "{altered} is let in, and what was signed is {token}");
    }
}

/// `$now` becomes the time, `$soon` a minute later, in seconds.
fn with_times(claims: &str) -> String {
    let now = clock::unix_ms() / 1_000;
    claims.replace("$now", &now.to_string()).replace("$soon", &(now + 60).to_string())
}

fn sign(header: &str, claims: &str) -> Option<String> {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).ok()?;
    Some(format!("{signed}.{signature}"))
}

/// Rules that ask for nothing special.
pub fn config(keys: KeySource, algorithms: &[TokenAlgorithm]) -> TokenConfig {
    TokenConfig {
        keys,
        algorithms: algorithms.to_vec(),
        audiences: Vec::new(),
        issuer: None,
        leeway: Duration::from_secs(2),
        life_max: Duration::from_secs(86_400),
        notice: Duration::from_secs(60),
        refresh: Duration::from_secs(300),
        pause: Duration::from_millis(100),
    }
}

fn verify(token: &str) -> Result<super::Pass, TokenError> {
    static VERIFIER: OnceLock<(Runtime, Verifier)> = OnceLock::new();
    let (runtime, verifier) = VERIFIER.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("a runtime: {error}"));
        let config = config(KeySource::Secret(Secret::new(SECRET)), &[TokenAlgorithm::Hs256]);
        let verifier = runtime.block_on(Verifier::start(config));
        (runtime, verifier.unwrap_or_else(|error| panic!("a secret is a key: {error}")))
    });
    runtime.block_on(verifier.verify(&Token::new(token.to_owned())))
}
