//! Which version of each service: one file, shared with docker mode.

/// The file, as it was when this binary was built.
const FILE: &str = include_str!("../../docker/versions.env");

/// The pinned version under a key of `docker/versions.env`.
///
/// # Panics
/// When the key is not in the file, which a test rules out.
pub fn version(key: &str) -> &'static str {
    entries()
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .unwrap_or_else(|| unreachable!("{key} is not in docker/versions.env"))
}

fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_that_native_mode_asks_for_is_there() {
        for key in ["VALKEY_VERSION", "KAFKA_VERSION", "KAFKA_LOG4J_VERSION", "CASSANDRA_VERSION"] {
            assert!(version(key).starts_with(|first: char| first.is_ascii_digit()), "{key}");
        }
    }
}
