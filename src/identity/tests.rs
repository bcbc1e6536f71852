//! Good tokens, bad tokens, and the exact answer to each.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::fixtures::*;
use super::key::Key;
use super::{Pass, TokenError, Verifier, claims, jwks};
use crate::config::{KeySource, TokenAlgorithm, TokenConfig};
use crate::model::{Token, TokenId, UserName};

const HS256: TokenAlgorithm = TokenAlgorithm::Hs256;
const ED_DSA: TokenAlgorithm = TokenAlgorithm::EdDsa;
const RS256: TokenAlgorithm = TokenAlgorithm::Rs256;

async fn verify(config: TokenConfig, token: &Token) -> Result<Pass, TokenError> {
    Verifier::start(config).await.unwrap().verify(token).await
}

/// Claims that are good but for what is changed; `null` takes one away.
fn good(changes: &Value) -> Value {
    let mut claims = json!({"sub": "ann", "iat": now() - 10, "exp": now() + 60});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn hs256(claims: &Value) -> Token {
    token(&json!({"alg": "HS256"}), claims, By::Secret(SECRET.as_bytes()))
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        // Renamed into its place, as whoever changes a key does.
        fs::write(self.0.path().join("beside"), text).unwrap();
        fs::rename(self.0.path().join("beside"), &path).unwrap();
        path
    }
}

fn set(jwks: &[&str]) -> String {
    format!("{{\"keys\":[{}]}}", jwks.join(","))
}

#[tokio::test]
async fn a_good_token_says_who_it_is_and_until_when() {
    let claims = good(&json!({"jti": "t-1", "iat": now() as f64 - 9.5, "exp": now() + 60}));
    let pass = verify(by_secret(), &hs256(&claims)).await.unwrap();
    let end = pass.end.unwrap();
    assert_eq!(pass.user, UserName::new("ann").unwrap());
    assert_eq!(pass.token_id, Some(TokenId::new("t-1").unwrap()));
    assert_eq!(end.expires, claims["exp"].as_u64().unwrap() * 1_000);
    assert_eq!(end.closes, end.expires + 2_000);
    assert_eq!(pass.issued % 1_000, 500, "a fraction of a second counts");
}

#[rstest]
#[case::ed("keys.pem", ED_PUBLIC, "EdDSA", By::Ed(ED_PRIVATE))]
#[case::rsa("keys.pem", RSA_PUBLIC, "RS256", By::Rsa(RSA_PRIVATE))]
#[case::both("keys.pem", &format!("{ED_PUBLIC}{RSA_PUBLIC}"), "RS256", By::Rsa(RSA_PRIVATE))]
#[case::jwk_ed("keys.json", &set(&[ED_JWK, RSA_JWK]), "EdDSA", By::Ed(ED_PRIVATE))]
#[case::jwk_rsa("keys.json", &set(&[ED_JWK, RSA_JWK]), "RS256", By::Rsa(RSA_PRIVATE))]
#[tokio::test]
async fn public_keys_from_a_file(
    #[case] file: &str,
    #[case] text: &str,
    #[case] alg: &str,
    #[case] by: By,
) {
    let files = Files::new();
    let path = files.write(file, text);
    let keys = match file {
        "keys.pem" => KeySource::PublicKeyFile(path),
        _ => KeySource::JwksFile(path),
    };
    let token = token(&json!({"alg": alg}), &good(&json!({})), by);
    let pass = verify(config(keys, &[ED_DSA, RS256]), &token).await.unwrap();
    assert_eq!(pass.user.as_str(), "ann");
}

/// Whatever a header says, a key is used by its own algorithm only.
#[rstest]
#[case::public_key_as_secret("HS256", By::Secret(RSA_PUBLIC.as_bytes()), "the token's alg is not allowed here; use EdDSA, RS256")]
#[case::none("none", By::Nobody, "the token's alg is not allowed here; use EdDSA, RS256")]
#[case::none_in_capitals(
    "NONE",
    By::Nobody,
    "the token's alg is not allowed here; use EdDSA, RS256"
)]
#[case::not_ours(
    "RS512",
    By::Rsa(RSA_PRIVATE),
    "the token's alg is not allowed here; use EdDSA, RS256"
)]
#[case::no_signature("RS256", By::Nobody, "the token's signature is of no key that is known here")]
#[case::other_kind(
    "RS256",
    By::Ed(ED_PRIVATE),
    "the token's signature is of no key that is known here"
)]
#[case::other_key(
    "EdDSA",
    By::Ed(ED_OTHER_PRIVATE),
    "the token's signature is of no key that is known here"
)]
#[tokio::test]
async fn no_confusion_of_keys_works(#[case] alg: &str, #[case] by: By, #[case] answer: &str) {
    let files = Files::new();
    let path = files.write("keys.pem", &format!("{ED_PUBLIC}{RSA_PUBLIC}"));
    let config = config(KeySource::PublicKeyFile(path), &[ED_DSA, RS256]);
    let token = token(&json!({"alg": alg}), &good(&json!({})), by);
    assert_eq!(verify(config, &token).await.unwrap_err().to_string(), answer);
}

/// The same where HS256 is allowed beside them, with a secret of its own.
#[tokio::test]
async fn a_public_key_is_no_secret_beside_one() {
    let files = Files::new();
    let oct = format!("{{\"kty\":\"oct\",\"k\":\"{}\"}}", "QUFB".repeat(11));
    let path = files.write("keys.json", &set(&[RSA_JWK, &oct]));
    let config = config(KeySource::JwksFile(path), &[HS256, RS256]);
    let verifier = Verifier::start(config).await.unwrap();
    let by = |secret| token(&json!({"alg": "HS256"}), &good(&json!({})), By::Secret(secret));
    assert!(verifier.verify(&by(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")).await.is_ok());
    for secret in [RSA_PUBLIC.as_bytes(), RSA_JWK.as_bytes(), b"", &[0; 33]] {
        let answer = verifier.verify(&by(secret)).await;
        assert_eq!(answer, Err(TokenError::Signature));
    }
}

#[rstest]
#[case(json!({"exp": now() - 1}), None, "good within the leeway")]
#[case(json!({"exp": now() - 3}), Some(TokenError::Expired), "")]
#[case(json!({"exp": null}), Some(TokenError::Missing("exp")), "the token has no exp")]
#[case(json!({"exp": "soon"}), Some(TokenError::NoTime("exp")), "the token's exp is no time in seconds since 1970")]
#[case(json!({"exp": -1}), Some(TokenError::NoTime("exp")), "")]
#[case(json!({"iat": null}), Some(TokenError::Missing("iat")), "the token has no iat")]
#[case(json!({"iat": now() + 1}), None, "good within the leeway")]
#[case(json!({"iat": now() + 9}), Some(TokenError::IssuedLater), "the token was issued in the future (iat): the clocks of issuer and server differ")]
#[case(json!({"exp": now() + 86_400}), Some(TokenError::TooLongLived(Duration::from_secs(86_400))), "the token lives longer than 86400 s (from iat to exp)")]
#[case(json!({"exp": 1e300}), Some(TokenError::TooLongLived(Duration::from_secs(86_400))), "")]
#[case(json!({"nbf": now() + 1}), None, "good within the leeway")]
#[case(json!({"nbf": now() + 9}), Some(TokenError::NotYet), "the token is not good yet (nbf)")]
#[case(json!({"nbf": []}), Some(TokenError::NoTime("nbf")), "")]
#[case(json!({"sub": null}), Some(TokenError::Missing("sub")), "the token has no sub")]
#[case(json!({"sub": "a b"}), Some(TokenError::Subject("1 to 64 characters of A-Z a-z 0-9 . _ @ + -")), "the token's sub is no user name: it must be 1 to 64 characters of A-Z a-z 0-9 . _ @ + -")]
#[case(json!({"sub": 7}), Some(TokenError::Subject("a string")), "")]
#[case(json!({"jti": ""}), Some(TokenError::TokenId("1 to 128 visible ASCII characters")), "the token's jti must be 1 to 128 visible ASCII characters")]
#[case(json!({"jti": 7}), Some(TokenError::TokenId("a string")), "")]
#[case(json!({"aud": "chat"}), Some(TokenError::Audience), "the token is for somebody else (aud)")]
#[case(json!({"iss": "anybody"}), None, "good where no issuer is asked for")]
#[tokio::test]
async fn each_claim_is_judged(
    #[case] changes: Value,
    #[case] expected: Option<TokenError>,
    #[case] text: &str,
) {
    let answer = verify(by_secret(), &hs256(&good(&changes))).await;
    assert_eq!(answer.as_ref().err(), expected.as_ref(), "{changes}");
    if let (Some(error), false) = (expected, text.is_empty()) {
        assert_eq!(error.to_string(), text);
    }
}

#[rstest]
#[case(json!({}), Some(TokenError::Missing("iss")))]
#[case(json!({"iss": "id"}), Some(TokenError::Missing("aud")))]
#[case(json!({"iss": "ID", "aud": "chat"}), Some(TokenError::Issuer))]
#[case(json!({"iss": ["id"], "aud": "chat"}), Some(TokenError::Issuer))]
#[case(json!({"iss": "id", "aud": "mail"}), Some(TokenError::Audience))]
#[case(json!({"iss": "id", "aud": ["mail", 7]}), Some(TokenError::Audience))]
#[case(json!({"iss": "id", "aud": ["mail", "chat"]}), None)]
#[case(json!({"iss": "id", "aud": "chat-test"}), None)]
#[tokio::test]
async fn issuer_and_audience_where_they_are_asked_for(
    #[case] changes: Value,
    #[case] expected: Option<TokenError>,
) {
    let audiences = ["chat", "chat-test"].map(str::to_owned).to_vec();
    let config = TokenConfig { issuer: Some("id".to_owned()), audiences, ..by_secret() };
    let answer = verify(config, &hs256(&good(&changes))).await;
    assert_eq!(answer.err(), expected, "{changes}");
}

#[rstest]
#[case::empty("", TokenError::NoJwt)]
#[case::words("let me in", TokenError::NoJwt)]
#[case::two_parts("e30.e30", TokenError::NoJwt)]
#[case::four_parts("e30.e30.e30.e30", TokenError::NoJwt)]
#[case::padding("e30=.e30.e30", TokenError::NoJwt)]
#[case::no_header("..", TokenError::Header)]
#[case::header_is_no_json("bm8.e30.e30", TokenError::Header)]
#[case::header_without_alg("e30.e30.e30", TokenError::Header)]
#[tokio::test]
async fn what_is_no_token(#[case] text: &str, #[case] expected: TokenError) {
    let answer = verify(by_secret(), &Token::new(text.to_owned())).await;
    assert_eq!(answer, Err(expected));
}

#[tokio::test]
async fn what_is_a_token_of_another_kind() {
    let by = By::Secret(SECRET.as_bytes());
    let verifier = Verifier::start(by_secret()).await.unwrap();
    let judge = async |header: &str, claims: &str| {
        verifier.verify(&raw_token(header, claims, by)).await.unwrap_err()
    };
    let claims = good(&json!({})).to_string();
    assert_eq!(judge(r#"{"alg":"HS256","crit":["b64"]}"#, &claims).await, TokenError::Critical);
    assert_eq!(judge(r#"{"alg":"HS256","alg":"HS256"}"#, &claims).await, TokenError::Header);
    assert_eq!(judge(r#"{"alg":"HS256","kid":7}"#, &claims).await, TokenError::Header);
    for claims in ["", "[]", "no", r#"{"sub":"ann","sub":"bob"}"#] {
        assert_eq!(judge(r#"{"alg":"HS256"}"#, claims).await, TokenError::Claims, "{claims}");
    }
    let long = good(&json!({"name": "x".repeat(8_192)})).to_string();
    assert_eq!(
        judge(r#"{"alg":"HS256"}"#, &long).await.to_string(),
        "the token is longer than 8192 bytes"
    );
}

#[tokio::test]
async fn a_file_is_followed_and_an_unknown_key_is_looked_for() {
    let files = Files::new();
    let (old, new) = (ED_JWK, include_str!("../../tests/keys/ed25519-two.jwk"));
    let path = files.write("keys.json", &set(&[old]));
    let config = config(KeySource::JwksFile(path), &[ED_DSA]);
    let verifier = Verifier::start(config).await.unwrap();
    let by = |kid: &str, by| token(&json!({"alg": "EdDSA", "kid": kid}), &good(&json!({})), by);
    let (by_old, by_new) =
        (by("ed-one", By::Ed(ED_PRIVATE)), by("ed-two", By::Ed(ED_OTHER_PRIVATE)));
    assert!(verifier.verify(&by_old).await.is_ok());
    assert_eq!(verifier.verify(&by_new).await, Err(TokenError::UnknownKey));
    files.write("keys.json", &set(&[new]));
    assert!(verifier.verify(&by_new).await.is_ok(), "at once, because its name was not known");
    assert_eq!(
        verifier.verify(&by_old).await,
        Err(TokenError::UnknownKey),
        "and the old one is gone"
    );
    files.write("keys.json", "{");
    let begun = Instant::now();
    assert!(matches!(verifier.verify(&by_old).await, Err(TokenError::KeysAway { .. })));
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert!(verifier.verify(&by_new).await.is_ok(), "what cannot be read changes nothing");
    files.write("keys.json", &set(&[old]));
    let following = tokio::time::timeout(Duration::from_secs(10), async {
        tokio::select! {
            never = verifier.follow_keys() => match never {},
            () = async { while verifier.verify(&by("ed-one", By::Ed(ED_PRIVATE))).await.is_err() {} } => {}
        }
    });
    following.await.unwrap();
}

#[tokio::test]
async fn unknown_keys_make_it_look_once_in_a_pause() {
    let files = Files::new();
    let path = files.write("keys.json", &set(&[ED_JWK]));
    let pause = Duration::from_secs(60);
    let config = TokenConfig { pause, ..config(KeySource::JwksFile(path), &[ED_DSA]) };
    let verifier = Verifier::start(config).await.unwrap();
    let header = json!({"alg": "EdDSA", "kid": "nobody's"});
    let begun = Instant::now();
    for _ in 0..100 {
        let answer = verifier.verify(&token(&header, &good(&json!({})), By::Ed(ED_PRIVATE))).await;
        let Err(TokenError::KeysAway { retry_after }) = answer else { panic!("{answer:?}") };
        assert!(retry_after > pause / 2, "nobody can tell before the next look");
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "and nobody waits for it in vain");
}

#[rstest]
#[case("", "it holds no key in PEM form (-----BEGIN PUBLIC KEY-----)")]
#[case(ED_PRIVATE, "it holds a private key; give the public one here")]
#[case(RSA_SHORT_PUBLIC, "it holds an RSA key of less than 2048 bits")]
#[case(EC_PUBLIC, "it holds a key that is neither Ed25519 nor RSA")]
#[case(include_str!("../../tests/keys/tls.crt.pem"), "it holds a CERTIFICATE; give a PUBLIC KEY")]
#[case("-----BEGIN PUBLIC KEY-----\nAAAA", "PUBLIC KEY has no end")]
#[case(
    "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    "it holds a key that is neither Ed25519 nor RSA"
)]
fn pem_that_is_no_public_key_of_ours(#[case] text: &str, #[case] reason: &str) {
    assert_eq!(Key::of_pem(text).unwrap_err(), reason);
}

#[rstest]
#[case("[]", "it is no JSON Web Key Set")]
#[case(r#"{"keys":[]}"#, "all are of other kinds or for other uses")]
#[case(r#"{"keys":[7]}"#, "a key is not as RFC 7517 has it")]
#[case(r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#, "of other kinds")]
#[case(r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#, "a key of RSA has less than 2048 bits")]
#[case(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#, "a key of Ed25519 has not 32 bytes")]
#[case(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"!"}]}"#, "not in URL-safe base64")]
#[case(r#"{"keys":[{"kty":"oct","k":"QUFB"}]}"#, "a secret has less than 32 bytes")]
#[case(&set(&[&RSA_JWK.replace("\"sig\"", "\"enc\"")]), "for other uses")]
#[case(&set(&[&RSA_JWK.replace("RS256", "RS512")]), "of other kinds")]
fn sets_without_a_key_of_ours(#[case] text: &str, #[case] reason: &str) {
    let error = jwks::parse(text, true).unwrap_err();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn a_secret_in_a_set_counts_only_where_it_may() {
    let oct = format!("{{\"kty\":\"oct\",\"k\":\"{}\"}}", "QUFB".repeat(11));
    let text = set(&[&oct, RSA_JWK]);
    assert_eq!(jwks::parse(&text, false).unwrap().len(), 1);
    assert_eq!(jwks::parse(&text, true).unwrap().len(), 2);
}

#[tokio::test]
async fn a_node_without_keys_does_not_start() {
    let files = Files::new();
    let short = files.write("secret", "too short\n");
    let missing = files.0.path().join("missing");
    let start = async |keys, algorithms: &[TokenAlgorithm]| {
        Verifier::start(config(keys, algorithms)).await.err().unwrap().to_string()
    };
    let error = start(KeySource::SecretFile(short), &[HS256]).await;
    assert!(
        error.contains("CHATCTL_AUTH_SECRET_FILE=") && error.contains("it has 9 bytes"),
        "{error}"
    );
    assert!(!error.contains("too short"), "{error}");
    let error = start(KeySource::JwksFile(missing), &[RS256]).await;
    assert!(error.contains("CHATCTL_AUTH_JWKS_FILE=") && error.contains("No such file"), "{error}");
    let pem = files.write("keys.pem", ED_PUBLIC);
    let error = start(KeySource::PublicKeyFile(pem), &[RS256]).await;
    assert!(error.contains("it holds no key of RS256"), "{error}");
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let value = leaf
        .prop_recursive(2, 8, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Value::from));
    let name = prop_oneof![
        Just("alg".to_owned()),
        Just("kid".to_owned()),
        Just("crit".to_owned()),
        Just("exp".to_owned()),
        Just("nbf".to_owned()),
        Just("iat".to_owned()),
        Just("iss".to_owned()),
        Just("aud".to_owned()),
        Just("sub".to_owned()),
        Just("jti".to_owned()),
        "[a-z]{1,4}",
    ];
    prop::collection::vec((name, value), 0..8)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()).to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_is_a_token_by_chance_and_none_makes_it_panic(
        text in prop_oneof![".{0,200}", "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}"],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(verify(by_secret(), &Token::new(text.clone())));
        let error = answer.unwrap_err().to_string();
        prop_assert!(text.len() < 8 || !error.contains(&text));
    }

    #[test]
    fn any_signed_claims_are_judged_without_a_panic(claims in json_text(), now in any::<u64>()) {
        let audiences = vec!["chat".to_owned()];
        let rules = TokenConfig { audiences, issuer: Some("id".to_owned()), ..by_secret() };
        let _ = claims::judge(claims.as_bytes(), &rules, now);
    }

    #[test]
    fn any_header_is_judged_without_a_panic(header in json_text()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = raw_token(&header, "{}", By::Secret(SECRET.as_bytes()));
        prop_assert!(runtime.block_on(verify(by_secret(), &token)).is_err());
    }

    #[test]
    fn a_token_that_was_changed_anywhere_is_refused(at in 0..1_000usize, byte in "[A-Za-z0-9_.-]") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = hs256(&good(&json!({})));
        let mut text = token.expose().to_owned();
        let at = at % text.len();
        text.replace_range(at..=at, &byte);
        let answer = runtime.block_on(verify(by_secret(), &Token::new(text.clone())));
        prop_assert_eq!(answer.is_ok(), text == token.expose());
    }
}
