//! Where values come from: flags, the environment, `.env`, defaults.
#![expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{ConfigError, VARIABLES, Variable, VariableArgs};
use crate::nearest::did_you_mean;

/// The prefixes of our names: what carries one and is not in the table is a mistake.
const PREFIXES: [&str; 2] = ["CHATCTL_", "WS_"];

/// Where a value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// On the command line.
    Flag,
    /// In the environment.
    Environment,
    /// In `.env`.
    Dotenv,
    /// In the table.
    Default,
}

impl Source {
    /// What to call it beside a value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Dotenv => ".env",
            Self::Default => "default",
        }
    }

    /// Where to look for it, for people.
    pub(super) fn describe(self, variable: &Variable) -> String {
        match self {
            Self::Flag => format!("--{}", variable.flag),
            Self::Environment => "the environment".to_owned(),
            Self::Dotenv => ".env".to_owned(),
            Self::Default => "the defaults".to_owned(),
        }
    }
}

/// Everything that was set, before any of it is judged. Plain maps: tests fill them as they like.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// By key, from the command line.
    pub flags: BTreeMap<String, String>,
    /// By key, from the environment; only what is in the table or looks as if it should be.
    pub environment: BTreeMap<String, String>,
    /// By key, from `.env`.
    pub dotenv: BTreeMap<String, String>,
}

/// Whether the user wants no colours: `NO_COLOR` is set to something (no-color.org).
pub fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

impl Sources {
    /// What this process was given: these flags, its environment, and `.env` of its working folder.
    pub fn of_process(flags: &VariableArgs) -> Result<Self, ConfigError> {
        let mut environment = BTreeMap::new();
        for (key, value) in std::env::vars_os() {
            let Ok(key) = key.into_string() else { continue };
            if is_ours(&key) || is_known(&key) {
                match value.into_string() {
                    Ok(value) => drop(environment.insert(key, value)),
                    Err(_) => return Err(ConfigError::NotUtf8 { key }),
                }
            }
        }
        let dotenv = read_dotenv(Path::new(".env"))?;
        Ok(Self { flags: flags.values().clone(), environment, dotenv })
    }

    /// The value of one of our variables, if it is set or has a default.
    pub fn value(&self, key: &str) -> Option<&str> {
        let variable = VARIABLES.iter().find(|variable| variable.key == key)?;
        self.find(variable).map(|(value, _)| value)
    }

    /// The value that holds and where it comes from. Set to nothing means not set, in the
    /// environment and in `.env`: compose files pass variables on like that.
    pub(super) fn find(&self, variable: &Variable) -> Option<(&str, Source)> {
        let layers = [
            (&self.flags, Source::Flag),
            (&self.environment, Source::Environment),
            (&self.dotenv, Source::Dotenv),
        ];
        for (map, source) in layers {
            if let Some(value) = map.get(variable.key)
                && (source == Source::Flag || !value.is_empty())
            {
                return Some((value, source));
            }
        }
        variable.default.map(|value| (value, Source::Default))
    }

    /// What was set of one variable.
    pub(super) fn only(&self, key: &str) -> Self {
        let of = |map: &BTreeMap<String, String>| {
            map.get_key_value(key)
                .map(|(key, value)| (key.clone(), value.clone()))
                .into_iter()
                .collect()
        };
        Self {
            flags: of(&self.flags),
            environment: of(&self.environment),
            dotenv: of(&self.dotenv),
        }
    }

    /// Forgets what was set of a variable; `false` where nothing was.
    pub(super) fn unset(&mut self, key: &str) -> bool {
        let layers = [&mut self.flags, &mut self.environment, &mut self.dotenv];
        layers.map(|map| map.remove(key).is_some()).contains(&true)
    }

    /// One line for each variable that looks like ours and is none.
    pub fn warnings(&self) -> Vec<String> {
        let layers = [(&self.environment, "the environment"), (&self.dotenv, ".env")];
        let mut warnings = Vec::new();
        for (map, place) in layers {
            for key in map.keys() {
                warnings.extend(unknown_variable(key, place));
            }
        }
        warnings
    }
}

/// What to say of a key that looks like ours and is none, as of a server to be started; `None`: it is known, or not ours.
pub fn unknown_variable(key: &str, place: &str) -> Option<String> {
    #[cfg(feature = "faults")]
    if key == super::variables::FAULT.key {
        return None;
    }
    let unknown = is_ours(key) && !is_known(key);
    let hint = || did_you_mean(key, VARIABLES.iter().map(|variable| variable.key));
    unknown.then(|| format!("{key} in {place} is no variable of this version{}", hint()))
}

fn is_known(key: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.key == key)
}

fn is_ours(key: &str) -> bool {
    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
        || VARIABLES.iter().any(|variable| variable.key == key)
}

fn read_dotenv(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let unreadable = |reason: String| ConfigError::Dotenv { path: path.to_owned(), reason };
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return Ok(BTreeMap::new()),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    lines
        .enumerate()
        .map(|(index, line)| {
            line.map_err(|error| match error {
                dotenvy::Error::Io(error) => unreadable(error.to_string()),
                _ => unreadable(format!("its entry {} is not KEY=value", index + 1)),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn flags_beat_the_environment_beats_dotenv_beats_defaults() {
        let ping = VARIABLES.iter().find(|variable| variable.key == "CHATCTL_PING_MS").unwrap();
        let mut sources = Sources {
            flags: map(&[("CHATCTL_PING_MS", "1")]),
            environment: map(&[("CHATCTL_PING_MS", "2")]),
            dotenv: map(&[("CHATCTL_PING_MS", "3")]),
        };
        assert_eq!(sources.find(ping), Some(("1", Source::Flag)));
        sources.flags.clear();
        assert_eq!(sources.find(ping), Some(("2", Source::Environment)));
        sources.environment = map(&[("CHATCTL_PING_MS", "")]);
        assert_eq!(sources.find(ping), Some(("3", Source::Dotenv)));
        sources.dotenv.clear();
        assert_eq!(sources.find(ping), Some(("25000", Source::Default)));
    }

    #[test]
    fn an_unknown_variable_is_warned_of_with_the_nearest() {
        let sources = Sources {
            environment: map(&[("CHATCTL_LISTN", "x"), ("CHATCTL_LISTEN", "y")]),
            dotenv: map(&[("WS_SOMETHING_ELSE_ENTIRELY", "x"), ("REDIS_URL", "x")]),
            ..Sources::default()
        };
        assert_eq!(
            sources.warnings(),
            [
                "CHATCTL_LISTN in the environment is no variable of this version; did you mean CHATCTL_LISTEN?",
                "WS_SOMETHING_ELSE_ENTIRELY in .env is no variable of this version",
            ]
        );
    }

    #[test]
    fn a_broken_dotenv_is_an_error_that_shows_no_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        assert!(read_dotenv(&path).unwrap().is_empty(), "a missing file is fine");
        std::fs::write(&path, "CHATCTL_PING_MS=5\nsecret word\n").unwrap();
        let text = read_dotenv(&path).unwrap_err().to_string();
        assert!(text.contains("entry 2") && !text.contains("secret"), "{text}");
    }
}
