//! What was set, for people: without what nobody must see.

use serde::Serialize;

use super::{JwksUrl, RedisUrl, Source, Sources, VARIABLES, Variable};

/// What stands in the place of a secret.
const MASK: &str = "…";

/// One variable as it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its name in the environment and in `.env`.
    pub key: &'static str,
    /// Its flag, without the dashes.
    pub flag: &'static str,
    /// Its value, masked where it is secret; `None`: it has none.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Option<Source>,
    /// What of it must not be seen is masked.
    pub secret: bool,
}

impl Shown {
    /// All variables, in the order of the table.
    pub fn all(sources: &Sources) -> Vec<Self> {
        VARIABLES.iter().map(|variable| Self::of(sources, variable)).collect()
    }

    fn of(sources: &Sources, variable: &Variable) -> Self {
        let found = sources.find(variable);
        Self {
            key: variable.key,
            flag: variable.flag,
            value: found.map(|(value, _)| masked(variable, value)),
            source: found.map(|(_, source)| source),
            secret: variable.secret,
        }
    }
}

/// A value with nothing in it that is secret.
fn masked(variable: &Variable, value: &str) -> String {
    if !variable.secret {
        return without_passwords(value);
    }
    // Of an address only a part is secret.
    match variable.key {
        "RIAK_URL" => Some(without_passwords(value)),
        "REDIS_URL" => value.parse::<RedisUrl>().ok().map(|url| url.to_string()),
        "CHATCTL_AUTH_JWKS_URL" => value.parse::<JwksUrl>().ok().map(|url| {
            let has_query = value.contains('?');
            if has_query { format!("{url}?{MASK}") } else { url.to_string() }
        }),
        _ => None,
    }
    .unwrap_or_else(|| MASK.to_owned())
}

/// The text with what stands between `://` and `@` of its URLs masked: no variable wants a password there, so it is a mistake.
fn without_passwords(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', ',', ' ']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => authority.to_owned(),
    };
    format!("{scheme}://{authority}{}", without_passwords(after))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn shown(key: &str, value: &str) -> Shown {
        let environment = [(key.to_owned(), value.to_owned())].into();
        let all = Shown::all(&Sources { environment, ..Sources::default() });
        all.into_iter().find(|shown| shown.key == key).unwrap()
    }

    #[rstest]
    #[case("REDIS_URL", "rediss://ann:hunter2@r.example/3", "rediss://…@r.example/3")]
    #[case("REDIS_URL", "http://ann:hunter2@r.example", "…")]
    #[case("RIAK_URL", "http://riak-1:8098", "http://riak-1:8098")]
    #[case("RIAK_URL", "http://ann:hunter2@riak-1:8098", "http://…@riak-1:8098")]
    #[case("CHATCTL_CASSANDRA_PASSWORD", "hunter2", "…")]
    #[case("CHATCTL_AUTH_SECRET", "hunter2", "…")]
    #[case("CHATCTL_ADMIN_TOKEN", "hunter2", "…")]
    #[case(
        "CHATCTL_AUTH_JWKS_URL",
        "https://id.example/jwks?key=hunter2",
        "https://id.example/jwks?…"
    )]
    #[case("CHATCTL_AUTH_JWKS_URL", "https://ann:hunter2@id.example/jwks", "…")]
    #[case(
        "CHATCTL_ALLOWED_ORIGINS",
        "https://a.example,https://ann:hunter2@b.example",
        "https://a.example,https://…@b.example"
    )]
    #[case("KAFKA_BROKERS", "sasl://ann:hunter2@a:9092", "sasl://…@a:9092")]
    #[case("CHATCTL_LISTEN", "127.0.0.1:1", "127.0.0.1:1")]
    fn nothing_secret_is_shown(#[case] key: &str, #[case] value: &str, #[case] expected: &str) {
        let shown = shown(key, value);
        assert_eq!(shown.value.as_deref(), Some(expected));
        assert_eq!(shown.source, Some(Source::Environment));
    }

    #[test]
    fn what_is_not_set_has_no_source() {
        let token = shown("CHATCTL_ADMIN_TOKEN", "");
        assert_eq!((token.value, token.source, token.secret), (None, None, true));
        assert_eq!(shown("CHATCTL_PING_MS", "").source, Some(Source::Default));
    }

    /// Whoever adds a variable decides here whether it is secret.
    #[test]
    fn what_sounds_secret_is_marked() {
        let words = ["_SECRET", "_PASSWORD", "_TOKEN", "_URL", "_KEY"];
        // The path of a file, a time, a name.
        let harmless = [
            "CHATCTL_TLS_KEY",
            "CHATCTL_KAFKA_TLS_KEY",
            "CHATCTL_AUTH_TOKEN_LIFE_MS_MAX",
            "CASSANDRA_KEYSPACE",
        ];
        for variable in VARIABLES {
            let sounds = words.iter().any(|word| variable.key.contains(word));
            let is_harmless = variable.key.ends_with("_FILE") || harmless.contains(&variable.key);
            assert_eq!(variable.secret, sounds && !is_harmless, "{}", variable.key);
        }
    }
}
