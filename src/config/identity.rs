//! Who may come in, as it was set: whether there is authentication, by which keys, and what a token must say.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::load::Reader;
use super::{ConfigError, JwksUrl, Secret, Sources};

/// The variables that switch authentication on: exactly one of them.
const KEYS: [&str; 5] = [
    "CHATCTL_AUTH_SECRET_FILE",
    "CHATCTL_AUTH_SECRET",
    "CHATCTL_AUTH_PUBLIC_KEY_FILE",
    "CHATCTL_AUTH_JWKS_FILE",
    "CHATCTL_AUTH_JWKS_URL",
];
/// The shortest secret of HS256 (RFC 7518 §3.2): as long as its hash.
pub const SECRET_BYTES_MIN: usize = 32;

/// Whether users must prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthenticationConfig {
    /// They are who they say they are.
    Off {
        /// Also where others than this machine can reach us.
        anywhere: bool,
    },
    /// They show a token.
    On(Box<TokenConfig>),
}

/// What a token must be like, and by which keys it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConfig {
    /// Where the keys come from.
    pub keys: KeySource,
    /// The algorithms that a token may be signed by; at least one, each of which the keys can be of.
    pub algorithms: Vec<TokenAlgorithm>,
    /// One of these must be in `aud`; none: there must be no `aud`.
    pub audiences: Vec<String>,
    /// What `iss` must be, if anything.
    pub issuer: Option<String>,
    /// Added to `exp`, taken from `nbf` and `iat`.
    pub leeway: Duration,
    /// The longest `exp - iat`.
    pub life_max: Duration,
    /// How long before the end of its token a session is told.
    pub notice: Duration,
    /// How often a URL is asked for its keys.
    pub refresh: Duration,
    /// Least time between two looks for a key that is not known.
    pub pause: Duration,
}

/// Where the keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The secret of HS256 itself.
    Secret(Secret),
    /// A file that holds it.
    SecretFile(PathBuf),
    /// A file of public keys in PEM form.
    PublicKeyFile(PathBuf),
    /// A JSON Web Key Set in a file.
    JwksFile(PathBuf),
    /// A JSON Web Key Set that somebody else keeps.
    JwksUrl(JwksUrl),
}

impl KeySource {
    /// What its keys can be of, if nobody says otherwise.
    fn algorithms(&self) -> &'static [TokenAlgorithm] {
        match self {
            Self::Secret(_) | Self::SecretFile(_) => &[TokenAlgorithm::Hs256],
            Self::PublicKeyFile(_) | Self::JwksFile(_) | Self::JwksUrl(_) => {
                &[TokenAlgorithm::EdDsa, TokenAlgorithm::Rs256]
            }
        }
    }

    /// Whether its keys can be of `algorithm`. A secret that is published is none.
    fn can_hold(&self, algorithm: TokenAlgorithm) -> bool {
        self.algorithms().contains(&algorithm) || matches!(self, Self::JwksFile(_))
    }
}

/// How a token is signed; nothing else is taken, whatever its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256 and a secret that issuer and server share.
    Hs256,
    /// Ed25519.
    EdDsa,
    /// RSA (PKCS#1 v1.5) with SHA-256.
    Rs256,
}

impl TokenAlgorithm {
    /// As it stands in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of an algorithm that is taken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not HS256, EdDSA or RS256")]
pub struct TokenAlgorithmError;

impl FromStr for TokenAlgorithm {
    type Err = TokenAlgorithmError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Hs256, Self::EdDsa, Self::Rs256]
            .into_iter()
            .find(|algorithm| algorithm.name() == text)
            .ok_or(TokenAlgorithmError)
    }
}

impl AuthenticationConfig {
    /// Judges what was set: each value, and whether they go together.
    pub(super) fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let reader = Reader { sources };
        let anywhere = reader.choice("CHATCTL_INSECURE_NO_AUTH")? == "yes";
        let set: Vec<_> = KEYS.into_iter().filter(|key| sources.value(key).is_some()).collect();
        let key = match set[..] {
            [] => {
                for needs_key in
                    ["CHATCTL_AUTH_ALGORITHMS", "CHATCTL_AUTH_AUDIENCE", "CHATCTL_AUTH_ISSUER"]
                {
                    if sources.value(needs_key).is_some() {
                        return Err(ConfigError::together(format!(
                            "{needs_key} is set and no key to check tokens with; set one of {}",
                            KEYS.join(", ")
                        )));
                    }
                }
                return Ok(Self::Off { anywhere });
            }
            [key] => key,
            [key, other, ..] => {
                return Err(ConfigError::together(format!(
                    "{key} and {other} are both set; keep the one whose keys count (a file of CHATCTL_AUTH_JWKS_FILE holds keys of several kinds)"
                )));
            }
        };
        if anywhere {
            return Err(ConfigError::together(format!(
                "{key} and CHATCTL_INSECURE_NO_AUTH=yes are both set; take one of them away"
            )));
        }
        TokenConfig::load(&reader, key).map(|tokens| Self::On(Box::new(tokens)))
    }

    /// Users that need not prove who they are must be of this machine, unless somebody said that it may be otherwise.
    pub(super) fn check_listen(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        let is_refused =
            matches!(self, Self::Off { anywhere: false }) && !listen.ip().is_loopback();
        if !is_refused {
            return Ok(());
        }
        Err(ConfigError::together(format!(
            "CHATCTL_LISTEN={listen} is no loopback address and there is no authentication, so everybody could be anybody; set one of {}, or listen on 127.0.0.1, or set CHATCTL_INSECURE_NO_AUTH=yes (--insecure-no-auth yes)",
            KEYS.join(", ")
        )))
    }
}

impl TokenConfig {
    fn load(reader: &Reader<'_>, key: &'static str) -> Result<Self, ConfigError> {
        let keys = match key {
            "CHATCTL_AUTH_SECRET" => KeySource::Secret(reader.required(key, secret)?),
            "CHATCTL_AUTH_SECRET_FILE" => KeySource::SecretFile(reader.text(key)?.into()),
            "CHATCTL_AUTH_PUBLIC_KEY_FILE" => KeySource::PublicKeyFile(reader.text(key)?.into()),
            "CHATCTL_AUTH_JWKS_FILE" => KeySource::JwksFile(reader.text(key)?.into()),
            _ => KeySource::JwksUrl(reader.required(key, |text| text.parse().ok())?),
        };
        let algorithms = reader
            .parsed("CHATCTL_AUTH_ALGORITHMS", parse_algorithms)?
            .unwrap_or_else(|| keys.algorithms().to_vec());
        if let Some(strange) = algorithms.iter().find(|algorithm| !keys.can_hold(**algorithm)) {
            return Err(ConfigError::together(format!(
                "CHATCTL_AUTH_ALGORITHMS has {strange}, of which {key} holds no keys; take it away or set the keys of it"
            )));
        }
        let audiences = reader.parsed("CHATCTL_AUTH_AUDIENCE", parse_names)?.unwrap_or_default();
        if audiences.is_empty() && matches!(keys, KeySource::JwksUrl(_)) {
            return Err(ConfigError::together(
                "CHATCTL_AUTH_JWKS_URL is set and CHATCTL_AUTH_AUDIENCE is not: what the provider issues for other services would be good here too; set it to what stands in aud"
                    .to_owned(),
            ));
        }
        Ok(Self {
            keys,
            algorithms,
            audiences,
            issuer: reader.optional("CHATCTL_AUTH_ISSUER")?.map(str::to_owned),
            leeway: reader.duration("CHATCTL_AUTH_LEEWAY_MS")?,
            life_max: reader.duration("CHATCTL_AUTH_TOKEN_LIFE_MS_MAX")?,
            notice: reader.duration("CHATCTL_AUTH_NOTICE_MS")?,
            refresh: reader.duration("CHATCTL_AUTH_JWKS_REFRESH_MS")?,
            pause: reader.duration("CHATCTL_AUTH_JWKS_PAUSE_MS")?,
        })
    }
}

/// What tokens of our own making are signed with and say, for the commands that make some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningConfig {
    /// The secret of HS256, or the file of it, if any.
    pub secret: Option<KeySource>,
    /// What stands in `aud`.
    pub audience: Option<String>,
    /// What stands in `iss`.
    pub issuer: Option<String>,
}

impl SigningConfig {
    /// Reads the same variables as a server does.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let reader = Reader { sources };
        let file = reader.optional("CHATCTL_AUTH_SECRET_FILE")?;
        let secret = match file {
            Some(path) => Some(KeySource::SecretFile(path.into())),
            None => reader.parsed("CHATCTL_AUTH_SECRET", secret)?.map(KeySource::Secret),
        };
        let audiences = reader.parsed("CHATCTL_AUTH_AUDIENCE", parse_names)?.unwrap_or_default();
        Ok(Self {
            secret,
            audience: audiences.into_iter().next(),
            issuer: reader.optional("CHATCTL_AUTH_ISSUER")?.map(str::to_owned),
        })
    }
}

fn secret(text: &str) -> Option<Secret> {
    (text.len() >= SECRET_BYTES_MIN).then(|| Secret::new(text))
}

/// What operators show: short enough for a header, long enough not to be guessed.
pub(super) fn admin_token(text: &str) -> Option<Secret> {
    let is_long = (16..=200).contains(&text.len());
    (is_long && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Secret::new(text))
}

fn parse_algorithms(text: &str) -> Option<Vec<TokenAlgorithm>> {
    text.split(',').map(|name| name.trim().parse().ok()).collect()
}

fn parse_names(text: &str) -> Option<Vec<String>> {
    let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    text.split(',').map(|text| name(text.trim())).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::Config;

    const SECRET: (&str, &str) = ("CHATCTL_AUTH_SECRET", "0123456789abcdef0123456789abcdef");
    const URL: (&str, &str) = ("CHATCTL_AUTH_JWKS_URL", "https://id.example/jwks");
    const ANYWHERE: (&str, &str) = ("CHATCTL_LISTEN", "0.0.0.0:8080");

    fn load(entries: &[(&str, &str)]) -> Result<Config, String> {
        let environment =
            entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Config::load(&Sources { environment, ..Sources::default() })
            .map_err(|error| error.to_string())
    }

    fn tokens(entries: &[(&str, &str)]) -> TokenConfig {
        match load(entries).unwrap().authentication {
            AuthenticationConfig::On(tokens) => *tokens,
            AuthenticationConfig::Off { .. } => panic!("it is off"),
        }
    }

    #[test]
    fn without_keys_it_is_off() {
        let off = AuthenticationConfig::Off { anywhere: false };
        assert_eq!(load(&[]).unwrap().authentication, off);
    }

    #[test]
    fn algorithms_follow_the_keys() {
        use TokenAlgorithm::{EdDsa, Hs256, Rs256};
        assert_eq!(tokens(&[SECRET]).algorithms, [Hs256]);
        let file = ("CHATCTL_AUTH_JWKS_FILE", "keys.json");
        assert_eq!(tokens(&[file]).algorithms, [EdDsa, Rs256], "a secret must be asked for");
        let all = ("CHATCTL_AUTH_ALGORITHMS", "RS256, HS256");
        assert_eq!(tokens(&[file, all]).algorithms, [Rs256, Hs256]);
    }

    #[test]
    fn what_a_token_must_be_like() {
        let tokens = tokens(&[
            URL,
            ("CHATCTL_AUTH_AUDIENCE", "chat, chat-test"),
            ("CHATCTL_AUTH_ISSUER", "https://id.example/"),
            ("CHATCTL_AUTH_LEEWAY_MS", "0"),
        ]);
        assert_eq!(tokens.audiences, ["chat", "chat-test"]);
        assert_eq!(tokens.issuer.as_deref(), Some("https://id.example/"));
        assert_eq!((tokens.leeway, tokens.notice), (Duration::ZERO, Duration::from_secs(60)));
    }

    #[rstest]
    #[case(&[SECRET, URL], "CHATCTL_AUTH_SECRET and CHATCTL_AUTH_JWKS_URL are both set")]
    #[case(&[("CHATCTL_AUTH_SECRET", "short")], "CHATCTL_AUTH_SECRET from the environment is not allowed; use 32 bytes")]
    #[case(&[URL], "CHATCTL_AUTH_AUDIENCE is not")]
    #[case(&[SECRET, ("CHATCTL_AUTH_ALGORITHMS", "RS256")], "has RS256, of which CHATCTL_AUTH_SECRET holds no keys")]
    #[case(&[URL, ("CHATCTL_AUTH_ALGORITHMS", "HS256")], "has HS256, of which CHATCTL_AUTH_JWKS_URL holds no keys")]
    #[case(&[SECRET, ("CHATCTL_AUTH_ALGORITHMS", "none")], "use HS256, EdDSA and RS256")]
    #[case(&[SECRET, ("CHATCTL_AUTH_AUDIENCE", "a,,b")], "use names with commas")]
    #[case(&[SECRET, ("CHATCTL_AUTH_LEEWAY_MS", "4001")], "an integer from 0 to 4000")]
    #[case(&[("CHATCTL_AUTH_AUDIENCE", "chat")], "no key to check tokens with")]
    #[case(&[("CHATCTL_AUTH_JWKS_URL", "ftp://id.example/jwks")], "use https://host")]
    #[case(&[SECRET, ("CHATCTL_INSECURE_NO_AUTH", "yes")], "CHATCTL_INSECURE_NO_AUTH=yes are both set")]
    #[case(&[ANYWHERE], "CHATCTL_INSECURE_NO_AUTH=yes (--insecure-no-auth yes)")]
    #[case(&[("CHATCTL_LISTEN", "[::]:0")], "no loopback address")]
    #[case(&[("CHATCTL_ADMIN_TOKEN", "short")], "CHATCTL_ADMIN_TOKEN from the environment is not allowed; use 16")]
    fn what_does_not_go_together_is_an_error_that_says_what_to_do(
        #[case] entries: &[(&str, &str)],
        #[case] expected: &str,
    ) {
        let text = load(entries).unwrap_err();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains(SECRET.1), "{text}");
    }

    #[test]
    fn who_has_keys_or_says_so_may_listen_anywhere() {
        assert!(load(&[ANYWHERE, SECRET]).is_ok());
        let config = load(&[ANYWHERE, ("CHATCTL_INSECURE_NO_AUTH", "yes")]).unwrap();
        assert_eq!(config.authentication, AuthenticationConfig::Off { anywhere: true });
        assert!(!format!("{:?}", load(&[SECRET]).unwrap()).contains(SECRET.1));
    }
}
