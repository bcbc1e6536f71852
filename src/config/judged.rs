//! Everything that is wrong with what was set, not only the first of it.

use super::{Config, ConfigError, Sources, VARIABLES};

/// What was set, judged as a whole.
#[derive(Debug)]
pub struct Judged {
    /// What holds when the values that are refused are left out; `None` where that is no configuration either.
    pub config: Option<Config>,
    /// What is refused, each by the name of its variable.
    pub errors: Vec<ConfigError>,
}

impl Judged {
    /// Judges what was set.
    pub fn of(sources: &Sources) -> Self {
        let (mut rest, mut errors) = (sources.clone(), Vec::new());
        // Each by itself first: what does not go together would hide what comes after it.
        for key in VARIABLES.iter().map(|variable| variable.key) {
            if let Err(error @ ConfigError::Invalid { .. }) = Config::load(&sources.only(key))
                && rest.unset(key)
            {
                errors.push(error);
            }
        }
        loop {
            let error = match Config::load(&rest) {
                Ok(config) => return Self { config: Some(config), errors },
                Err(error) => error,
            };
            match error {
                ConfigError::Invalid { key, .. } if rest.unset(key) => errors.push(error),
                // Values may fail to go together only because one of them was left out.
                _ if !errors.is_empty() => return Self { config: None, errors },
                _ => return Self { config: None, errors: vec![error] },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(entries: &[(&str, &str)]) -> (bool, Vec<String>) {
        let environment =
            entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let judged = Judged::of(&Sources { environment, ..Sources::default() });
        let errors = judged.errors.iter().map(ToString::to_string).collect();
        (judged.config.is_some(), errors)
    }

    #[test]
    fn each_value_that_is_refused_is_named() {
        let wrong =
            [("CHATCTL_PING_MS", "soon"), ("CHATCTL_LISTEN", "x"), ("REDIS_URL", "ftp://a")];
        let (rest_holds, errors) = judged(&wrong);
        assert!(rest_holds);
        assert_eq!(errors.len(), 3, "{errors:?}");
        for (key, _) in wrong {
            assert!(errors.iter().any(|error| error.contains(key)), "{key}: {errors:?}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_told_unless_it_follows_from_another_error() {
        let (holds, errors) = judged(&[("CHATCTL_TLS_CERT", "a.pem")]);
        assert!(!holds && errors.len() == 1 && errors[0].contains("CHATCTL_TLS_KEY"), "{errors:?}");
        let user = ("CHATCTL_CASSANDRA_USER", "chat");
        let (holds, errors) = judged(&[user, ("CHATCTL_PING_MS", "soon")]);
        assert!(!holds && errors.len() == 1 && errors[0].contains("CHATCTL_PING"), "{errors:?}");
        assert_eq!(judged(&[]), (true, Vec::new()));
    }
}
