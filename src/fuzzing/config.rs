//! What a server is told: the text of `.env`, and the values of variables.

use std::collections::BTreeMap;

use crate::config::{Config, DotenvMerge, Sources, VARIABLES};

/// Where it stands in a secret value it must not come out again.
const CANARY: &str = "c4nary";

/// The text of a `.env`; after a line of `---` there may be one that comes from the environment.
pub fn config(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (dotenv, environment) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let sources =
        Sources { dotenv: read(dotenv), environment: read(environment), ..Sources::default() };
    load(&sources);
    merge(dotenv, &sources);
}

/// What dotenvy makes of a text, line by line, so that a line that is wrong hides no other.
fn read(text: &str) -> BTreeMap<String, String> {
    let whole: Result<BTreeMap<_, _>, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
    whole.unwrap_or_else(|_| {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    })
}

/// A configuration or an error that names its variable; neither shows a secret.
fn load(sources: &Sources) {
    let hidden = VARIABLES.iter().filter(|variable| variable.secret).any(|variable| {
        let value = |map: &BTreeMap<String, String>| {
            map.get(variable.key).is_some_and(|value| value.contains(CANARY))
        };
        value(&sources.dotenv) || value(&sources.environment)
    });
    let shown_elsewhere = VARIABLES
        .iter()
        .filter(|variable| !variable.secret)
        .any(|variable| sources.value(variable.key).is_some_and(|value| value.contains(CANARY)));
    let said = match Config::load(sources) {
        Ok(config) => format!("{config:?}"),
        Err(error) => {
            let text = error.to_string();
            assert!(
                VARIABLES.iter().any(|variable| text.contains(variable.key)),
                "an error names its variable: {text}"
            );
            text
        }
    };
    // The address of a service is no secret: it stands behind the last `@`.
    let in_address = VARIABLES.iter().filter(|variable| variable.secret).any(|variable| {
        let value = sources.value(variable.key).unwrap_or_default();
        value.rsplit('@').next().unwrap_or_default().contains(CANARY) && value.contains("://")
    });
    if hidden && !shown_elsewhere && !in_address {
        assert!(!said.contains(CANARY), "a secret is shown: {said}");
    }
    let _ = sources.warnings();
    let _ = Config::admin(sources);
}

/// Ours goes in beside theirs, comes back as it was, and goes in once.
fn merge(text: &str, sources: &Sources) {
    let value = sources.value("REDIS_URL").unwrap_or_default().to_owned();
    let values = [("REDIS_URL", value), ("KAFKA_BROKERS", "127.0.0.1:1".to_owned())];
    let Ok(merge) = DotenvMerge::of_text(Some(text), &values) else { return };
    let again = DotenvMerge::of_text(Some(&merge.text), &values);
    assert!(
        again.as_ref().is_ok_and(|again| !again.changed),
        "merged twice it changes again: {:?}, then {again:?}",
        merge.text
    );
    let lines = |text: &str| -> Vec<(String, String)> {
        dotenvy::from_read_iter(format!("{text}\n").as_bytes()).filter_map(Result::ok).collect()
    };
    let merged = lines(&merge.text);
    for (key, value) in &values {
        let kept = merge.kept.iter().any(|kept| kept.key == *key);
        let found = merged.iter().rfind(|(found, _)| found == key);
        assert!(
            kept || found.is_some_and(|(_, found)| found == value),
            "{key} is {value:?} and reads as {found:?}"
        );
    }
}
